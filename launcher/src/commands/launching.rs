//! What every command shares that starts ranks: the flags, and the plan for this machine.

use std::ffi::OsString;
use std::path::Path;

use common::config::LaunchConfig;

use crate::cli::{BackendName, LaunchArgs};
use crate::error::LaunchError;
use crate::plan::LaunchPlan;
use crate::programs;

/// The flags, as overrides of the config.
pub fn overrides(args: &LaunchArgs) -> Vec<String> {
    let backend = args.backend.map(|BackendName::Local| "launch.backend=\"local\"".to_owned());
    let ranks = args.ranks.map(|n| format!("launch.ranks={n}"));
    let threads = args.threads_per_rank.map(|n| format!("launch.threads_per_rank={n}"));
    [backend, ranks, threads].into_iter().flatten().collect()
}

/// Plans the ranks of `executable` on this machine.
pub fn plan(
    launch: &LaunchConfig,
    executable: &Path,
    job: impl FnOnce(u32) -> Vec<OsString>,
) -> Result<LaunchPlan, LaunchError> {
    let mpirun = if launch.ranks > 1 { Some(programs::mpirun(launch.ranks)?) } else { None };
    let cores = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
    Ok(LaunchPlan::local(launch, cores, executable, job, mpirun.as_deref()))
}
