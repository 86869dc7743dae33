//! What every command shares that starts ranks: the flags, and the backend that the config names.

use std::ffi::OsString;
use std::path::Path;

use common::config::LaunchConfig;
use common::topology::WorldSize;

use crate::backend::local::Local;
use crate::backend::{Backend, Placement};
use crate::cli::{BackendName, LaunchArgs};
use crate::error::LaunchError;
use crate::plan::{LaunchPlan, threads_per_rank};
use crate::programs;

/// The flags, as overrides of the config.
pub fn overrides(args: &LaunchArgs) -> Vec<String> {
    let backend = args.backend.map(|backend| {
        let name = match backend {
            BackendName::Local => "local",
            BackendName::Kubernetes => "kubernetes",
        };
        format!("launch.backend=\"{name}\"")
    });
    let ranks = args.ranks.map(|n| format!("launch.ranks={n}"));
    let threads = args.threads_per_rank.map(|n| format!("launch.threads_per_rank={n}"));
    [backend, ranks, threads].into_iter().flatten().collect()
}

/// The backend of `launch`, for ranks of `executable`; `job` makes of the number of threads what each is started with.
pub fn backend(
    launch: &LaunchConfig,
    executable: &Path,
    job: impl FnOnce(u32) -> Vec<OsString>,
) -> Result<Box<dyn Backend>, LaunchError> {
    let cores = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
    let world_size = WorldSize::new(launch.ranks).unwrap_or(WorldSize::ONE);
    let placement =
        Placement { world_size, threads_per_rank: threads_per_rank(launch.threads_per_rank, world_size, cores) };
    let mpirun = if launch.ranks > 1 { Some(programs::mpirun(launch.ranks)?) } else { None };
    let mut words = vec![executable.into()];
    words.extend(job(placement.threads_per_rank));
    let plan = LaunchPlan::local(&placement, cores, words, mpirun.as_deref());
    Ok(Box::new(Local { plan, placement }))
}
