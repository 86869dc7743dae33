//! Attempts: one launch of a run each, numbered from 1. At most one holds the run, and only that one commits to it.
//!
//! Whoever starts a run's processes is the claimant: the launcher, or rank 0 where there is none.
//!
//! ```text
//! attempts/0003.json               the claim, created once: the highest number holds the run
//! attempts/0003.alive              refreshed by its claimant for as long as it lives, and told when it ends
//! attempts/0003.5c0e9d7b.from      what it continues, created once before it commits; the tag is the claim's
//! attempts/0003.5c0e9d7b.kept      which checkpoint stays, replaced before it deletes others
//! ```
//!
//! A claim is made once the holder's has ended or expired, so that a second run is refused by one that lives. One that
//! only seemed dead, because it was suspended or cut off, is *fenced* by the newer claim; one whose run folder was deleted, or
//! begun anew, finds that its claim has *vanished*. Both look before each commit and each deletion, and end. What they still
//! commit between looking and putting is *void*: it belongs to no attempt that the newest one continues.
//!
//! - [`acquire()`]: waits for the run, or is refused, and claims it. [`current`]: who holds it. [`run_id`]: which run it is.
//! - [`Attempt`], [`Claim`]: what a claim says. `claims`: claims by name, and the fence.
//! - [`holder`]: keeps a claim, and hears what is asked of a run from elsewhere.
//! - [`handed`]: what reaches an attempt that runs elsewhere than its claimant.
//! - [`history`]: which checkpoints the newest attempt continues, and which are void.
//! - [`rewind()`]: an attempt that goes back to an earlier checkpoint, and no further.
//! - `process`: whether a process of this machine still lives.
//! - `surroundings`: the store and the clocks, which a simulation replaces.

mod acquire;
mod claim;
mod claims;
mod error;
pub mod handed;
pub mod history;
pub mod holder;
pub(crate) mod process;
mod rewind;
#[cfg(test)]
mod simulation;
pub(crate) mod surroundings;
#[cfg(test)]
mod tests;

pub(crate) use acquire::refuse_while_one_begins;
pub use acquire::{Holding, acquire, current, run_id};
pub use claim::{Attempt, Claim, Claimant};
pub(crate) use claims::fence;
pub use claims::{check_fence, claim_of};
pub use error::AttemptError;
pub(crate) use history::keep;
pub use history::{History, record_start};
pub use holder::{Holder, News, Request, ask};
pub use rewind::rewind;
