//! Goes back on purpose: an attempt that continues an earlier checkpoint, or nothing, and ends at once.
//!
//! A run continues what its newest attempt has begun with. The attempts that follow therefore need no further information,
//! however often they are started: they take the newest checkpoint that counts, as always, and all later ones are void.

use super::acquire::acquire_in;
use super::claim::{Attempt, Claimant};
use super::error::AttemptError;
use super::history::begin;
use super::holder::Keeper;
use super::surroundings::blocking;
use crate::checkpoint_layout::CheckpointName;
use crate::storage::Folder;

/// Makes `run` continue from `to`, or from the beginning if that is `None`, by an attempt of its own, once nobody else holds
/// the run. Later checkpoints are void from then on.
///
/// Calls `keeps_waiting` while another claim may still live, as [`acquire`](super::acquire()) does. If that returns false,
/// returns `None` without having changed anything.
pub fn rewind(
    run: &Folder,
    claimant: &Claimant,
    to: Option<&CheckpointName>,
    keeps_waiting: &mut dyn FnMut(&str) -> bool,
) -> Result<Option<Attempt>, AttemptError> {
    blocking(async {
        let Some(attempt) = acquire_in(run, claimant, keeps_waiting).await? else { return Ok(None) };
        let begun = begin(run, &attempt.claim(), to).await;
        // Also after a failure, so that nobody has to wait for this claim.
        Keeper::new(run.clone(), attempt.clone()).refresh(true).await?;
        begun?;
        Ok(Some(attempt))
    })
}
