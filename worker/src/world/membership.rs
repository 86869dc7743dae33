//! Membership in the world of ranks: starts MPI, keeps it up, and leaves it in good order.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::failure;
use crate::collectives::Collectives;
use crate::collectives::mpi::{self, Mpi};
use crate::collectives::single::Single;
use crate::error::JobError;

/// Time that ranks may need to find each other, before the config says how long a collective may take.
const START_TIMEOUT: Duration = Duration::from_secs(300);

/// The collectives, kept so that MPI stays up while an error is on its way to [`fail`](super::fail): ending MPI in
/// good order waits for all ranks, and the others wait for this one.
static COLLECTIVES: Mutex<Option<Arc<dyn Collectives>>> = Mutex::new(None);

/// Starts MPI if this process is one of several, or else a world of one rank. It is up until [`leave`] or
/// [`fail`](super::fail).
pub fn start_collectives() -> Result<Arc<dyn Collectives>, JobError> {
    let collectives: Arc<dyn Collectives> = match mpi::is_launched_by_mpi() {
        true => Arc::new(Mpi::start(START_TIMEOUT)?),
        false => Arc::new(Single::default()),
    };
    failure::speak_as(collectives.rank());
    keep(&collectives);
    Ok(collectives)
}

/// Keeps `collectives` up until [`leave`].
pub(super) fn keep(collectives: &Arc<dyn Collectives>) {
    *COLLECTIVES.lock().unwrap_or_else(PoisonError::into_inner) = Some(collectives.clone());
}

/// Ends MPI in good order, once nothing holds the collectives any more. Does not return on any rank until every rank
/// has called it.
pub fn leave() {
    drop(COLLECTIVES.lock().unwrap_or_else(PoisonError::into_inner).take());
}
