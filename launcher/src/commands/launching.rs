//! What every command shares that starts ranks: the flags, and the backend that the config names.

use std::path::PathBuf;

use common::attempt::random_hex;
use common::config::{Backend as Kind, LaunchConfig};

use crate::backend::local::Local;
use crate::backend::mpirun::Mpirun;
use crate::backend::{Backend, RankProgram, cores};
use crate::cli::{BackendName, LaunchArgs};
use crate::error::LaunchError;
use crate::plan::place_here;
use crate::programs;

/// The flags, as overrides of the config.
pub fn overrides(args: &LaunchArgs) -> Vec<String> {
    // A JSON string is a TOML string.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let backend = args.backend.map(|name| {
        let name = match name {
            BackendName::Local => "local",
            BackendName::Mpirun => "mpirun",
            BackendName::Kubernetes => "kubernetes",
        };
        format!("launch.backend={}", quoted(name))
    });
    let ranks = args.ranks.map(|n| format!("launch.ranks={n}"));
    let hosts = args.hosts.as_deref().map(|hosts| {
        let hosts: Vec<String> = hosts.split(',').map(quoted).collect();
        format!("launch.hosts=[{}]", hosts.join(", "))
    });
    let hostfile =
        args.hostfile.as_ref().map(|path| format!("launch.hostfile={}", quoted(&path.display().to_string())));
    let ranks_per_node = args.ranks_per_node.map(|n| format!("launch.ranks_per_node={n}"));
    let threads = args.threads_per_rank.map(|n| format!("launch.threads_per_rank={n}"));
    [backend, ranks, hosts, hostfile, ranks_per_node, threads].into_iter().flatten().collect()
}

/// The backend of `launch`, for ranks of `program`. Processes of `job` on other hosts, and nobody else's, may be killed
/// before an attempt starts; `None` where others may be at the same job.
pub fn backend(
    launch: &LaunchConfig,
    program: RankProgram,
    job: Option<&str>,
) -> Result<Box<dyn Backend>, LaunchError> {
    match launch.backend {
        Kind::Local => {
            let placement = place_here(launch, cores());
            let mpirun = if launch.ranks > 1 { Some(programs::mpirun(launch.ranks)?) } else { None };
            Ok(Box::new(Local { placement, program, mpirun }))
        }
        Kind::Kubernetes => Err(LaunchError::Usage(
            "launch.backend = \"kubernetes\" is for `launcher train`: a cluster's hosts are seen by the pods in it"
                .into(),
        )),
        Kind::Mpirun => {
            let mark = job.map_or_else(random_hex, mark_of);
            Ok(Box::new(Mpirun::new(launch, mpirun()?, program, mark)))
        }
    }
}

fn mpirun() -> Result<PathBuf, LaunchError> {
    programs::mpirun(2)
}

/// What a job is called in the command lines of its processes: the same each time, and no URL.
fn mark_of(job: &str) -> String {
    common::token_shard::hex_sha256(job.as_bytes()).chars().take(16).collect()
}
