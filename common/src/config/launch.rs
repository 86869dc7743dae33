//! `[launch]`: how processes are started, watched and restarted. Command-line flags of the launcher override it.

use serde::{Deserialize, Serialize};

use super::section::Section;

/// `[launch]`; free to change on resume.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LaunchConfig {
    /// What starts the ranks. Default `local`, the only one today: this machine, by mpirun where there are several.
    pub backend: Backend,
    /// Number of ranks. Default 1.
    pub ranks: u32,
    /// Compute threads of each rank; 0 shares the cores of the machine evenly. Default 0.
    pub threads_per_rank: u32,
    /// Restarts in a row without progress before giving up. Default 3.
    pub max_restarts: u32,
    /// A run whose ranks all stand still this long is killed and restarted; a rank that has lost the launcher this
    /// long ends itself. Default 900.
    pub stall_timeout_s: u64,
    /// How long a stop may take before the ranks are killed. Default 120.
    pub grace_s: u64,
    /// How long an attempt holds a run after its last sign of life; a start waits that long for one that may be dead.
    /// Default 60.
    pub claim_expiry_s: u64,
}

/// `launch.backend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// This machine.
    Local,
    /// A Kubernetes cluster with the MPI operator.
    Kubernetes,
}

impl LaunchConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let launch = LaunchConfig {
            backend: section.or("backend", Backend::Local),
            ranks: section.or("ranks", 1),
            threads_per_rank: section.or("threads_per_rank", 0),
            max_restarts: section.or("max_restarts", 3),
            stall_timeout_s: section.or("stall_timeout_s", 900),
            grace_s: section.or("grace_s", 120),
            claim_expiry_s: section.or("claim_expiry_s", 60),
        };
        section.require(launch.ranks > 0, "ranks", launch.ranks, "must be at least 1");
        // Without a launcher, ranks wait for each other at most 300 s while rank 0 waits for a claim to expire.
        let expiry_s = launch.claim_expiry_s;
        section.require((1..=240).contains(&expiry_s), "claim_expiry_s", expiry_s, "must be from 1 to 240");
        section.require(launch.stall_timeout_s > 0, "stall_timeout_s", 0, "must be at least 1");
        launch
    }
}
