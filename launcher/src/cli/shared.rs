//! Arguments of several commands: which config or run, how many ranks and where.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Longest wait, in seconds: a year.
pub const YEAR_S: u64 = 366 * 24 * 60 * 60;

/// Arguments that choose what a command is about: a config, or the folder of a run.
#[derive(Debug, Clone, Default, Args)]
pub struct TargetArgs {
    /// Config (a TOML file), or run folder (a path or a storage URL), which has the config that the run was last started
    /// with.
    #[arg(value_name = "CONFIG|RUN", required_unless_present = "config")]
    pub target: Option<String>,
    /// Config, as the argument takes it, too.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Overrides a value of the config; may be repeated, and the last one wins. A value is TOML or plain text.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Flags for the number of ranks and where they run, shared by every command that starts some.
#[derive(Debug, Clone, Default, Args)]
pub struct LaunchArgs {
    /// Backend that starts the ranks (launch.backend).
    #[arg(long, value_enum)]
    pub backend: Option<BackendName>,
    /// Number of ranks (launch.ranks).
    #[arg(long, value_name = "N")]
    pub ranks: Option<u32>,
    /// Hosts for the ranks, each with its number of ranks: a:8,b:8 (launch.hosts).
    #[arg(long, value_name = "HOST:N,...", conflicts_with = "hostfile")]
    pub hosts: Option<String>,
    /// File that lists the hosts, one a line: node-1 slots=8 (launch.hostfile).
    #[arg(long, value_name = "FILE")]
    pub hostfile: Option<PathBuf>,
    /// Ranks on each host for which the list gives no number (launch.ranks_per_node).
    #[arg(long, value_name = "N")]
    pub ranks_per_node: Option<u32>,
    /// Compute threads of each rank; 0 shares the cores evenly (launch.threads_per_rank).
    #[arg(long, value_name = "N")]
    pub threads_per_rank: Option<u32>,
}

/// Values of `--backend`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum BackendName {
    /// This machine: mpirun for several ranks.
    Local,
    /// Many hosts: mpirun over ssh.
    Mpirun,
    /// A Kubernetes cluster with the MPI operator: an MPIJob for each attempt.
    Kubernetes,
    /// Slurm: submits itself as a batch job outside an allocation; inside one, its nodes are the hosts.
    Slurm,
}
