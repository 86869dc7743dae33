//! Flags that several commands have: which config, which run, how many ranks and where.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The longest wait, in seconds: a year.
pub const YEAR_S: u64 = 366 * 24 * 60 * 60;

/// Which config, shared by every command that reads one.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The config, a TOML file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Overrides a value of the config, as often as needed; the last one wins.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Which run, for commands that only look at its folder.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The run folder, a storage URL or a path, where no config is given.
    #[arg(value_name = "RUN_URL", required_unless_present = "config", conflicts_with = "config")]
    pub run: Option<String>,
    /// The config of the run.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Overrides a value of the config, as often as needed; the last one wins.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", requires = "config")]
    pub overrides: Vec<String>,
}

/// How many ranks and where, shared by every command that starts some.
#[derive(Debug, Clone, Default, Args)]
pub struct LaunchArgs {
    /// What starts the ranks (launch.backend).
    #[arg(long, value_enum)]
    pub backend: Option<BackendName>,
    /// Number of ranks (launch.ranks).
    #[arg(long, value_name = "N")]
    pub ranks: Option<u32>,
    /// Hosts for the ranks, each with how many it has room for: a:8,b:8 (launch.hosts).
    #[arg(long, value_name = "HOST:N,...", conflicts_with = "hostfile")]
    pub hosts: Option<String>,
    /// A file with the hosts, a line each: node-1 slots=8 (launch.hostfile).
    #[arg(long, value_name = "FILE")]
    pub hostfile: Option<PathBuf>,
    /// Ranks on each host where the host does not say (launch.ranks_per_node).
    #[arg(long, value_name = "N")]
    pub ranks_per_node: Option<u32>,
    /// Compute threads of each rank, 0 to share the cores evenly (launch.threads_per_rank).
    #[arg(long, value_name = "N")]
    pub threads_per_rank: Option<u32>,
}

/// `--backend`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum BackendName {
    /// This machine: mpirun where there are several ranks.
    Local,
    /// Many hosts: mpirun over ssh.
    Mpirun,
    /// A Kubernetes cluster with the MPI operator: an MPIJob for each attempt.
    Kubernetes,
    /// Slurm: outside an allocation, submits a batch job of the same command; inside, its nodes are the hosts.
    Slurm,
}
