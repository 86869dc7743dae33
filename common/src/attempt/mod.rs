//! Attempts: the launches of a run, numbered from 1. At most one attempt holds the run, and only that one commits to it.
//!
//! The claimant is the process that starts a run's processes: the launcher, or rank 0 where there is none.
//!
//! ```text
//! attempts/0003.json               the claim, created once: the highest number holds the run
//! attempts/0003.alive              refreshed by its claimant for as long as it lives; also records its end
//! attempts/0003.5c0e9d7b.from      what it continues, created once before it commits; the tag is the claim's
//! attempts/0003.5c0e9d7b.kept      which checkpoint stays, replaced before it deletes others
//! ```
//!
//! A claim is made once the holder's has ended or expired; while the holder lives, a second claimant is refused. A holder
//! that only seemed dead, because it was suspended or cut off, is *fenced* by the newer claim. A holder whose run folder was
//! deleted, or begun anew, finds that its claim has *vanished*. Both check before each commit and each deletion, and end.
//! Anything that they commit between checking and putting is *void*: it belongs to no attempt that the newest one continues.
//!
//! - [`acquire()`]: claims a run, or waits for it, or is refused; [`current`]: who holds a run; [`run_id`]: the identity of
//!   a run.
//! - [`Attempt`], [`Claim`]: contents of a claim; `claims`: claims by name, and the fence.
//! - [`holder`]: keeps a claim, and hears requests from elsewhere.
//! - [`handed`]: requests to an attempt that runs elsewhere than its claimant.
//! - [`history`]: which checkpoints the newest attempt continues, and which are void.
//! - [`rewind()`]: an attempt that goes back to an earlier checkpoint, and ends.
//! - `process`: tells whether a process of this machine lives.
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
