//! Turns a config into the command that starts its ranks. Pure: one config on one machine always gives one plan.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use common::config::LaunchConfig;
use common::shell::quoted;

use super::open_mpi::{OpenMpi, Series};
use super::placement::Placement;
use super::remote::{MARK_PARAMETER, MARK_VARIABLE, RemoteShell, SESSION_FOLDER};

/// A command that starts all ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchPlan {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables in addition to the launcher's own environment.
    pub environment: Vec<(&'static str, String)>,
    /// Series of the mpirun that starts the ranks, and so tags their output; `None` for a single rank.
    pub series: Option<Series>,
    /// Folder of what mpirun and the ranks share on this host, removed when they have ended: killed ones leave it behind.
    pub session_folder: Option<PathBuf>,
}

/// The mpirun program, and the mark of an attempt's processes.
pub struct Marked<'a> {
    /// Open MPI of this machine.
    pub open_mpi: &'a OpenMpi,
    /// Mark of the attempt's processes.
    pub mark: &'a str,
}

/// Variables that ranks on other hosts get from the launcher's environment where they are set. A final `*` stands for any
/// ending. Only names appear in the command line.
const FORWARDED: [&str; 14] = [
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "AWS_*",
    "GOOGLE_*",
    "AZURE_*",
    "NCCL_*",
    "CONVOY_*",
];

impl LaunchPlan {
    /// Plans a single rank on this machine, started as `program` without mpirun.
    pub fn alone(placement: &Placement, mark: &str, mut program: Vec<OsString>) -> Self {
        let mut environment = thread_variables(placement);
        environment.push((MARK_VARIABLE, mark.to_owned()));
        LaunchPlan {
            program: PathBuf::from(program.remove(0)),
            arguments: program,
            environment,
            series: None,
            session_folder: None,
        }
    }

    /// Plans several ranks of `program` on this machine.
    pub fn local(placement: &Placement, marked: &Marked<'_>, program: Vec<OsString>) -> Self {
        let (mut arguments, mut environment) = (Vec::new(), thread_variables(placement));
        match marked.open_mpi.series {
            Series::Four => {
                arguments.extend(common_arguments(placement, marked.mark));
                arguments.extend(mca("plm", NO_SCHEDULERS_DAEMONS));
                arguments.extend(mca("ras", NO_ALLOCATION));
                // The machine's own hostfile would name other hosts, too.
                arguments.extend(mca("orte_default_hostfile", "none"));
                arguments.extend(binding_arguments(placement));
            }
            Series::Five => {
                arguments.extend(series_5_arguments(placement, marked.mark));
                // mpirun hands on no parameter that it does not know, and all of its environment.
                environment.push((MARK_VARIABLE, marked.mark.to_owned()));
            }
        }
        LaunchPlan {
            program: marked.open_mpi.mpirun.clone(),
            arguments: with_program(arguments, program),
            environment,
            series: Some(marked.open_mpi.series),
            session_folder: Some(session_folder(marked.mark)),
        }
    }

    /// Plans ranks of `program` on the hosts of `placement`; `set` has the names of the variables in the launcher's
    /// environment.
    pub fn over_hosts(
        launch: &LaunchConfig,
        placement: &Placement,
        (marked, shell): (&Marked<'_>, &RemoteShell),
        set: &BTreeSet<String>,
        program: Vec<OsString>,
    ) -> Self {
        let mut environment = thread_variables(placement);
        let is_name = !launch.interface.is_empty() && !launch.interface.contains('/');
        if is_name && !set.contains("NCCL_SOCKET_IFNAME") {
            environment.push(("NCCL_SOCKET_IFNAME", launch.interface.clone()));
        }
        let mut arguments = common_arguments(placement, marked.mark);
        arguments.extend(binding_arguments(placement));
        let hosts: Vec<String> = placement.hosts.iter().map(|on| format!("{}:{}", on.host, on.ranks)).collect();
        arguments.extend(["--host".to_owned(), hosts.join(",")]);
        arguments.extend(network_arguments(launch));
        arguments.extend(shell_arguments(shell));
        let mut names: BTreeSet<&str> = environment.iter().map(|(name, _)| *name).collect();
        names.extend(set.iter().map(String::as_str).filter(|name| is_forwarded(name, &launch.forward_environment)));
        arguments.extend(names.into_iter().flat_map(|name| ["-x".to_owned(), name.to_owned()]));
        LaunchPlan {
            program: marked.open_mpi.mpirun.clone(),
            arguments: with_program(arguments, program),
            environment,
            series: Some(Series::Four),
            session_folder: Some(session_folder(marked.mark)),
        }
    }
}

fn with_program(arguments: Vec<String>, program: Vec<OsString>) -> Vec<OsString> {
    arguments.into_iter().map(OsString::from).chain(program).collect()
}

fn thread_variables(placement: &Placement) -> Vec<(&'static str, String)> {
    let threads = placement.threads_per_rank.to_string();
    ["OMP_NUM_THREADS", "MKL_NUM_THREADS"].map(|name| (name, threads.clone())).into()
}

fn is_forwarded(name: &str, more: &[String]) -> bool {
    let is_same = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        // Programs read the variables of proxies in both cases.
        None => name.eq_ignore_ascii_case(pattern),
    };
    FORWARDED.iter().any(|pattern| is_same(pattern)) || more.iter().any(|given| given == name)
}

/// Writes the plan as one would type it in a shell.
impl fmt::Display for LaunchPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{name}={} ", quoted(value))?;
        }
        write!(f, "{}", quoted(&self.program.to_string_lossy()))?;
        for argument in &self.arguments {
            write!(f, " {}", quoted(&argument.to_string_lossy()))?;
        }
        Ok(())
    }
}

/// Keeps mpirun from asking a scheduler, in whose allocation the launcher may run, which hosts there are. Open MPI calls this
/// its "resource allocation subsystem".
const NO_ALLOCATION: &str = "^alps,gridengine,lsf,slurm,tm";
/// Keeps mpirun from having a scheduler start its daemons ("process launch module").
const NO_SCHEDULERS_DAEMONS: &str = "^alps,lsf,slurm,tm";

fn mca(name: &str, value: &str) -> [String; 3] {
    ["--mca", name, value].map(str::to_owned)
}

/// Returns the folder, in memory, of what mpirun, its daemons and the ranks of an attempt share on a host.
fn session_folder(mark: &str) -> PathBuf {
    PathBuf::from(format!("{SESSION_FOLDER}{mark}"))
}

/// Returns the arguments that every mpirun gets.
fn common_arguments(placement: &Placement, mark: &str) -> Vec<String> {
    let ranks = placement.world_size.to_string();
    // A line of output carries its rank; root is normal in containers.
    let mut arguments: Vec<String> = ["-n", &ranks, "--tag-output", "--allow-run-as-root"].map(str::to_owned).into();
    let folder = session_folder(mark).display().to_string();
    arguments.extend(mca("orte_tmpdir_base", &folder));
    arguments.extend(mca("btl_vader_backing_directory", &folder));
    arguments.extend(mca(MARK_PARAMETER, mark));
    arguments
}

fn binding_arguments(placement: &Placement) -> Vec<String> {
    if placement.is_bound {
        // By itself, mpirun pins each of up to two ranks to one core, regardless of its threads. Units are hardware threads,
        // because those have been counted. They are neighbours, so that a rank stays in one NUMA domain where it can.
        let slot = format!("slot:PE={}", placement.threads_per_rank);
        return ["--use-hwthread-cpus", "--map-by", &slot, "--bind-to", "hwthread"].map(str::to_owned).into();
    }
    // There are more threads than cores: a waiting rank must let go of the core that another needs.
    let mut arguments: Vec<String> = ["--bind-to", "none", "--oversubscribe"].map(str::to_owned).into();
    arguments.extend(mca("mpi_yield_when_idle", "1"));
    arguments
}

/// Returns the arguments of an mpirun of series 5, which starts ranks on this machine only.
fn series_5_arguments(placement: &Placement, mark: &str) -> Vec<String> {
    let ranks = placement.world_size.to_string();
    let mut arguments: Vec<String> = ["-n", &ranks, "--output", "tag", "--allow-run-as-root"].map(str::to_owned).into();
    let folder = session_folder(mark).display().to_string();
    let prte = |name: &str, value: &str| ["--prtemca", name, value].map(str::to_owned);
    arguments.extend(prte("prte_tmpdir_base", &folder));
    arguments.extend(mca("btl_sm_backing_directory", &folder));
    arguments.extend(prte("plm", "ssh"));
    arguments.extend(prte("ras", "^slurm,lsf,pbs,gridengine"));
    arguments.extend(prte("prte_default_hostfile", "none"));
    if placement.is_bound {
        let slot = format!("slot:PE={}:HWTCPUS", placement.threads_per_rank);
        arguments.extend(["--map-by", &slot, "--bind-to", "hwthread"].map(str::to_owned));
    } else {
        arguments.extend(["--map-by", ":OVERSUBSCRIBE", "--bind-to", "none"].map(str::to_owned));
        arguments.extend(mca("mpi_yield_when_idle", "1"));
    }
    arguments
}

/// Returns the arguments that choose the network of mpirun's daemons and the ranks, and let daemons notice when it has gone.
fn network_arguments(launch: &LaunchConfig) -> Vec<String> {
    let mut arguments: Vec<String> = mca("pml", "ob1").into();
    arguments.extend(mca("btl", "tcp,self,vader"));
    if !launch.interface.is_empty() {
        arguments.extend(mca("btl_tcp_if_include", &launch.interface));
        arguments.extend(mca("oob_tcp_if_include", &launch.interface));
    }
    // Names stay as they are given: `node-1.rack-2` and `node-1.rack-3` are two hosts.
    arguments.extend(mca("orte_keep_fqdn_hostnames", "1"));
    // Values are in seconds: a daemon that is cut off from mpirun ends itself and its ranks after about a minute.
    for (name, value) in [("time", "30"), ("intvl", "10"), ("probes", "3")] {
        arguments.extend(mca(&format!("oob_tcp_keepalive_{name}"), value));
    }
    arguments
}

/// Returns the arguments by which mpirun reaches the hosts: all from this machine, whose user has the keys.
fn shell_arguments(shell: &RemoteShell) -> Vec<String> {
    let mut arguments: Vec<String> = mca("plm", shell.daemons()).into();
    if let Some(daemon) = shell.daemon() {
        arguments.extend(mca("orte_launch_agent", daemon));
    }
    if shell.daemons() != "rsh" {
        return arguments;
    }
    arguments.extend(mca("ras", NO_ALLOCATION));
    arguments.extend(mca("plm_rsh_agent", shell.program()));
    if !shell.arguments().is_empty() {
        arguments.extend(mca("plm_rsh_args", &shell.arguments().join(" ")));
    }
    arguments.extend(mca("plm_rsh_no_tree_spawn", "1"));
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::placement::tests::{answers, launch};
    use crate::backend::placement::{place, place_here};

    fn program() -> Vec<OsString> {
        ["/opt/convoy/worker", "train", "--from-launcher"].map(OsString::from).into()
    }

    fn open_mpi(series: Series) -> OpenMpi {
        OpenMpi { mpirun: "/usr/bin/mpirun".into(), version: String::new(), series }
    }

    fn here_by(series: Series, ranks: u32, threads: u32, cores: u32) -> String {
        let placement = place_here(&launch(&format!("ranks = {ranks}\nthreads_per_rank = {threads}")), cores);
        match ranks {
            1 => LaunchPlan::alone(&placement, "abc-0001-def", program()).to_string(),
            _ => {
                let marked = Marked { open_mpi: &open_mpi(series), mark: "abc-0001-def" };
                LaunchPlan::local(&placement, &marked, program()).to_string()
            }
        }
    }

    fn here(ranks: u32, threads: u32, cores: u32) -> String {
        here_by(Series::Four, ranks, threads, cores)
    }

    #[test]
    fn one_rank_is_the_worker_itself_with_every_core() {
        let line = "OMP_NUM_THREADS=8 MKL_NUM_THREADS=8 OMPI_MCA_convoy_attempt=abc-0001-def /opt/convoy/worker train --from-launcher";
        assert_eq!(here(1, 0, 8), line);
    }

    #[test]
    fn ranks_that_fit_are_bound_to_their_share_of_the_cores() {
        assert_eq!(
            here(2, 0, 9),
            "OMP_NUM_THREADS=4 MKL_NUM_THREADS=4 /usr/bin/mpirun -n 2 --tag-output --allow-run-as-root --mca \
             orte_tmpdir_base /dev/shm/convoy-abc-0001-def --mca btl_vader_backing_directory \
             /dev/shm/convoy-abc-0001-def --mca convoy_attempt abc-0001-def --mca plm '^alps,lsf,slurm,tm' --mca \
             ras '^alps,gridengine,lsf,slurm,tm' --mca orte_default_hostfile none --use-hwthread-cpus --map-by slot:PE=4 \
             --bind-to hwthread /opt/convoy/worker train --from-launcher"
        );
    }

    #[test]
    fn ranks_that_do_not_fit_share_the_cores_and_yield_when_idle() {
        for (ranks, threads) in [(3, 0), (2, 2)] {
            let line = here(ranks, threads, 2);
            assert!(line.contains("--bind-to none --oversubscribe --mca mpi_yield_when_idle 1"), "{line}");
            assert!(!line.contains("slot:PE"), "{line}");
        }
        assert!(here(3, 0, 2).starts_with("OMP_NUM_THREADS=1 "));
    }

    #[test]
    fn a_command_over_hosts_names_variables_and_never_their_values() {
        let keys = "backend = \"mpirun\"\nhosts = [\"a:1\", \"b:1\"]\nthreads_per_rank = 2\ninterface = \"eth1\"\n\
                    ssh_arguments = [\"-i\", \"keys/id\"]\nforward_environment = [\"SITE\"]";
        let launch = launch(keys);
        let placement = place(&launch, &answers(&[("a:1", Some(2)), ("b:1", Some(2))])).unwrap();
        let set = ["AWS_SECRET_ACCESS_KEY", "HOME", "SITE", "https_proxy", "CONVOY_X"].map(str::to_owned).into();
        let shell = RemoteShell::new(&launch);
        let marked = Marked { open_mpi: &open_mpi(Series::Four), mark: "abc-0001-def" };
        let plan = LaunchPlan::over_hosts(&launch, &placement, (&marked, &shell), &set, program());
        assert_eq!(
            plan.to_string(),
            "OMP_NUM_THREADS=2 MKL_NUM_THREADS=2 NCCL_SOCKET_IFNAME=eth1 /usr/bin/mpirun -n 2 --tag-output \
             --allow-run-as-root --mca orte_tmpdir_base \
             /dev/shm/convoy-abc-0001-def --mca btl_vader_backing_directory /dev/shm/convoy-abc-0001-def --mca \
             convoy_attempt abc-0001-def --use-hwthread-cpus --map-by slot:PE=2 --bind-to hwthread --host a:1,b:1 --mca \
             pml ob1 --mca btl tcp,self,vader --mca btl_tcp_if_include eth1 --mca \
             oob_tcp_if_include eth1 --mca orte_keep_fqdn_hostnames 1 --mca oob_tcp_keepalive_time 30 --mca \
             oob_tcp_keepalive_intvl 10 --mca oob_tcp_keepalive_probes 3 --mca plm rsh --mca ras \
             '^alps,gridengine,lsf,slurm,tm' --mca plm_rsh_agent ssh --mca plm_rsh_args \
             '-o BatchMode=yes -o ConnectTimeout=5 -i keys/id' --mca plm_rsh_no_tree_spawn 1 \
             -x AWS_SECRET_ACCESS_KEY -x CONVOY_X -x MKL_NUM_THREADS -x NCCL_SOCKET_IFNAME -x \
             OMP_NUM_THREADS -x SITE -x https_proxy /opt/convoy/worker train --from-launcher"
        );
    }
}
