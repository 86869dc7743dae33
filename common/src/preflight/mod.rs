//! Checks before a run is paid for: facts, and findings from them. Pure.
//!
//! `worker check` gathers [`RankFacts`] of every rank and prints [`WorldFacts`]. [`WorldFacts::judge`] makes the lines that
//! `launcher check` shows from these. Ranks that are about to train check, too, and refuse what does not [`fit`].
//!
//! - `facts`: what ranks gather on their hosts.
//! - [`Finding`]: a line of a preflight, also for the launcher's own checks.
//! - `judge`: findings from facts; `devices`: those about devices, `gpus`: about GPUs and their memory.
//! - [`outlook`](mod@outlook): findings about what a run is going to do, from its config and the size of its data.
//!
//! The facts are gathered in `preflight` of the worker and the launcher.
//!
//! [`fit`]: WorldFacts::fit

mod devices;
mod facts;
mod finding;
mod gpus;
mod judge;
mod outlook;
#[cfg(test)]
mod tests;

pub use facts::{Exchange, FACTS_MARK, GpuFacts, RankFacts, SHARED_GPU_VARIABLE, WorldFacts, available_memory};
pub use finding::{Finding, Verdict};
pub use judge::shared_memory_wanted;
pub use outlook::{DataSize, outlook};
