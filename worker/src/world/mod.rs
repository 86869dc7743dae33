//! A rank's place in the world: entering it, with all that a job works with.
//!
//! - `start`: the start of a job, which rank 0 reads from the launcher or a file and sends to the other ranks.
//! - `claim`: the attempt's claim, which rank 0 makes and keeps if there is no launcher.
//! - `membership`: starts MPI, keeps it up, and leaves it in good order.
//! - `equipment`: a rank's device and collectives. `threads`: its number of compute threads.
//! - `failure`: ending everyone when one rank fails.
//! - [`error`]: why a rank cannot enter.

mod claim;
mod equipment;
pub mod error;
mod failure;
mod membership;
mod start;
mod threads;

use std::sync::Arc;
use std::time::Duration;

use common::attempt::{Claim, Holder};
use common::config::{RawConfig, RunConfig};
use tch::Device;

use crate::collectives::Collectives;
use crate::control::{Control, LauncherAddress, Requests};
use crate::error::JobError;
pub use equipment::Equipment;
use error::WorldError;
pub use failure::{abort_on_panic, announce_failure, fail};
pub use membership::{leave, start_collectives};
pub use start::Origin;
use start::Start;
pub use threads::set_threads;

/// All that a job on this rank works with.
pub struct World {
    /// Config, identical on all ranks.
    pub config: RunConfig,
    /// Claim of this attempt.
    pub claim: Claim,
    /// Keys of the config that may differ from the checkpoint's.
    pub accepted_changes: Vec<String>,
    /// Keeper of the claim, on rank 0 if there is no launcher; otherwise `None`.
    pub holder: Option<Holder>,
    /// Collectives over all ranks.
    pub collectives: Arc<dyn Collectives>,
    /// Device that this rank computes on.
    pub device: Device,
    /// Why `run.device = "auto"` chose the CPU; `None` where it did not.
    pub without_gpu: Option<String>,
    /// Number of hosts over all ranks.
    pub hosts: usize,
    /// Connection to the launcher, if there is one.
    pub control: Control,
    /// Requests to this job.
    pub requests: Requests,
}

impl World {
    /// Starts MPI if this process is one of several, shares rank 0's config, and connects to the launcher.
    pub fn enter(origin: &Origin) -> Result<Self, JobError> {
        let requests = Requests::from_signals().map_err(WorldError::Signals)?;
        let collectives = start_collectives()?;
        let mut claim = None;
        let start = collectives.share("a start", || {
            let (start, claimed) = Start::read(origin, collectives.world_size().get())?;
            claim = claimed;
            Ok::<_, JobError>(start)
        })?;
        let config = RawConfig::parse("from rank 0", &start.config, &[])?.run()?;
        equipment::check_collectives(&config, collectives.as_ref())?;
        collectives.set_timeout(Duration::from_secs(config.parallel.timeout_s));

        let control = match &start.control {
            Some((address, token)) => {
                let lost_timeout = Duration::from_secs(config.launch.stall_timeout_s);
                let launcher = LauncherAddress { address, token, lost_timeout };
                let me = (collectives.rank(), collectives.world_size());
                let in_flight = collectives.in_flight().clone();
                let on_lost = |error: JobError| fail(&error.to_string(), error.exit_code());
                Control::connect(&launcher, me, in_flight, &requests, on_lost)?
            }
            None => Control::default(),
        };
        failure::tell_over(&control);
        let Equipment { device, without_gpu, hosts, collectives } = Equipment::choose(&config, collectives)?;
        let holder = claim.map(|claim| claim::hold(&config, claim, &requests)).transpose()?;
        let Start { claim, accepted_changes, .. } = start;
        Ok(World {
            config,
            claim,
            accepted_changes,
            holder,
            collectives,
            device,
            without_gpu,
            hosts,
            control,
            requests,
        })
    }
}
