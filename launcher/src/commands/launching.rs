//! Shared by all commands that start ranks: the flags, and the backend that the config names.

use common::attempt::Claim;
use common::config::{Backend as Kind, LaunchConfig};
use common::exit_code::ExitCode;
use common::random::random_hex;

use super::error::CommandError;
use super::target::Target;
use crate::backend::error::BackendError;
use crate::backend::kubernetes::manifests::{ATTEMPT_VARIABLE, CLAIM_VARIABLE};
use crate::backend::local::Local;
use crate::backend::mpirun::Mpirun;
use crate::backend::open_mpi::OpenMpi;
use crate::backend::placement::place_here;
use crate::backend::{Backend, RankProgram, cores, slurm};
use crate::cli::shared::TargetArgs;
use crate::error::LaunchError;
use crate::programs;
use crate::view::terminal::{to_stderr, to_stdout};

/// Creates the backend of `launch` for ranks of `program`. Processes of `job`, and nobody else's, may be killed before an
/// attempt starts; with `None` none are killed, since others may be at the job.
pub fn backend(
    launch: &LaunchConfig,
    program: RankProgram,
    job: Option<&str>,
) -> Result<Box<dyn Backend>, LaunchError> {
    let mark = job.map_or_else(random_hex, mark_of);
    match launch.backend {
        Kind::Local => {
            let placement = place_here(launch, cores());
            let open_mpi = if launch.ranks > 1 { Some(programs::open_mpi(launch.ranks)?) } else { None };
            Ok(Box::new(Local { placement, program, open_mpi, mark }))
        }
        Kind::Kubernetes => Err(BackendError::InCluster.into()),
        Kind::Mpirun => Ok(Box::new(Mpirun::new(launch, open_mpi_for_hosts()?, program, mark))),
        Kind::Slurm => {
            let nodes = slurm::allocation(launch)?.ok_or(BackendError::NoAllocation)?;
            Ok(Box::new(Mpirun::new(launch, open_mpi_for_hosts()?, program, mark).in_allocation(nodes)))
        }
    }
}

/// Refuses `--detach`, where it `is_given`, unless a cluster would start the ranks of `launch`.
pub fn check_detach(is_given: bool, launch: &LaunchConfig) -> Result<(), CommandError> {
    match launch.backend {
        Kind::Local | Kind::Mpirun | Kind::Slurm if is_given => Err(CommandError::DetachedHere),
        Kind::Local | Kind::Mpirun | Kind::Slurm | Kind::Kubernetes => Ok(()),
    }
}

/// Returns the attempt that a launcher elsewhere has this one run. Its claim has no id where there is none.
pub fn handed() -> Result<Option<Claim>, CommandError> {
    let Some(given) = std::env::var_os(ATTEMPT_VARIABLE) else { return Ok(None) };
    let number = given.to_str().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
    let number = number.ok_or(CommandError::NotAnAttempt { variable: ATTEMPT_VARIABLE, given })?;
    Ok(Some(Claim { number, id: std::env::var(CLAIM_VARIABLE).unwrap_or_default() }))
}

/// Returns the batch script that runs the launcher's `command` on `config` with the arguments `more`; `None` unless `launch` leaves the ranks to Slurm
/// and this process is not in an allocation yet.
pub fn batch_script(
    launch: &LaunchConfig,
    name: &str,
    command: &str,
    config: Option<&TargetArgs>,
    more: &[String],
) -> Result<Option<String>, LaunchError> {
    if launch.backend != Kind::Slurm || slurm::allocation(launch)?.is_some() {
        return Ok(None);
    }
    let this = std::env::current_exe().map_err(LaunchError::system("find the launcher's own executable"))?;
    let mut words = vec![this.display().to_string(), command.to_owned()];
    if let Some(config) = config {
        // The job also begins in this folder, where the nodes have it.
        let target = Target::of(config)?.absolute().map_err(LaunchError::system("find the current folder"))?;
        words.extend(target.words());
        words.extend(config.overrides.iter().map(|given| format!("--set={given}")));
    }
    words.extend_from_slice(more);
    slurm::script(launch, name, &words).map(Some)
}

/// Submits `script`, and prints the job's number.
pub fn submit(script: &str) -> Result<ExitCode, LaunchError> {
    let job = slurm::submit(script)?;
    to_stderr(&format!(
        "submitted as Slurm job {job}; `squeue --job {job}` shows it, `scancel --batch --signal=TERM {job}` has it save and stop"
    ));
    to_stdout(&job);
    Ok(ExitCode::Done)
}

fn open_mpi_for_hosts() -> Result<OpenMpi, LaunchError> {
    Ok(programs::open_mpi(2)?.for_hosts()?)
}

/// Returns the mark of `job` in the command lines of its processes: stable, and not a URL. Runs at one URL of two different
/// stores count as one job.
fn mark_of(job: &str) -> String {
    common::sha256::hex_sha256(job.as_bytes()).chars().take(16).collect()
}
