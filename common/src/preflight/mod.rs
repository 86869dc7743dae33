//! What is looked at before a run is paid for: facts, and what follows from them. Pure.
//!
//! `worker check` gathers a [`RankFacts`] of every rank and prints a [`WorldFacts`]; [`WorldFacts::judge`] makes the lines
//! that `launcher check` shows of it. Ranks that are about to train look, too, and refuse what does not [`fit`].
//!
//! - `facts`: what ranks find on their hosts.
//! - [`Finding`]: a line of a preflight, also of what the launcher looks at itself.
//! - `judge`: facts become findings; `gpus`: those about GPUs.
//!
//! The looking is in `preflight` of worker and launcher.
//!
//! [`fit`]: WorldFacts::fit

mod facts;
mod finding;
mod gpus;
mod judge;
#[cfg(test)]
mod tests;

pub use facts::{Exchange, FACTS_MARK, GpuFacts, RankFacts, SHARED_GPU_VARIABLE, WorldFacts};
pub use finding::{Finding, Verdict};
pub use judge::shared_memory_wanted;
