//! Going back on purpose: an attempt that continues an earlier checkpoint, or nothing, and ends at once.
//!
//! What a run goes on with is what its newest attempt has begun with. So nothing has to be told to the attempts that follow, however
//! often they are started again: they take the newest checkpoint that counts, as ever, and all later ones are void.

use super::acquire::acquire_in;
use super::claim::{Attempt, Claimant};
use super::error::AttemptError;
use super::history::begin;
use super::holder::Keeper;
use super::surroundings::blocking;
use crate::checkpoint_layout::CheckpointName;
use crate::storage::Folder;

/// Has `run` go on from `to`, or from the beginning where that is `None`: an attempt of its own, once nobody else holds the run.
/// Later checkpoints are void from then on.
///
/// `keeps_waiting` is asked while another claim may still live, as in [`acquire`](super::acquire()); where it says no, the answer is
/// `None`, and nothing has changed.
pub fn rewind(
    run: &Folder,
    claimant: &Claimant,
    to: Option<&CheckpointName>,
    keeps_waiting: &mut dyn FnMut(&str) -> bool,
) -> Result<Option<Attempt>, AttemptError> {
    blocking(async {
        let Some(attempt) = acquire_in(run, claimant, keeps_waiting).await? else { return Ok(None) };
        let begun = begin(run, &attempt.claim(), to).await;
        // Also where that failed, so that nobody has to wait for this claim.
        Keeper::new(run.clone(), attempt.clone()).refresh(true).await?;
        begun?;
        Ok(Some(attempt))
    })
}
