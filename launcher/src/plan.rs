//! A config becomes the command that starts its ranks. Pure: the same config on the same machine gives the same plan.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use common::config::LaunchConfig;
use common::topology::WorldSize;

/// One command that starts all ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchPlan {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables in addition to the launcher's own environment.
    pub environment: Vec<(&'static str, String)>,
    /// How many ranks it starts.
    pub world_size: WorldSize,
    /// Compute threads of each.
    pub threads_per_rank: u32,
    /// Whether mpirun starts them, and so tags their output.
    pub is_mpirun: bool,
}

impl LaunchPlan {
    /// Plans the ranks of `launch` on a machine whose `cores` hardware threads this process may use.
    ///
    /// `job` makes of the number of threads what `executable` is started with. One rank is the executable itself; several
    /// are started by `mpirun`, which must then be given.
    pub fn local(
        launch: &LaunchConfig,
        cores: u32,
        executable: &Path,
        job: impl FnOnce(u32) -> Vec<OsString>,
        mpirun: Option<&Path>,
    ) -> Self {
        let world_size = WorldSize::new(launch.ranks).unwrap_or(WorldSize::ONE);
        let threads_per_rank = match launch.threads_per_rank {
            0 => (cores / world_size.get()).max(1),
            given => given,
        };
        let job = job(threads_per_rank);
        let (program, arguments) = match mpirun {
            None => (executable, job),
            Some(mpirun) => {
                let mut arguments = mpirun_arguments(world_size, threads_per_rank, cores);
                arguments.push(executable.into());
                arguments.extend(job);
                (mpirun, arguments)
            }
        };
        LaunchPlan {
            program: program.to_owned(),
            arguments,
            environment: ["OMP_NUM_THREADS", "MKL_NUM_THREADS"].map(|name| (name, threads_per_rank.to_string())).into(),
            world_size,
            threads_per_rank,
            is_mpirun: mpirun.is_some(),
        }
    }
}

fn mpirun_arguments(world_size: WorldSize, threads_per_rank: u32, cores: u32) -> Vec<OsString> {
    let ranks = world_size.get().to_string();
    // A line of output carries its rank; containers forbid the single-copy mechanism; root is normal in them.
    let mut arguments: Vec<String> =
        ["-n", &ranks, "--tag-output", "--allow-run-as-root", "--mca", "btl_vader_single_copy_mechanism", "none"]
            .map(str::to_owned)
            .into();
    // mpirun by itself pins each of up to two ranks to one core, whatever its number of threads.
    if u64::from(world_size.get()) * u64::from(threads_per_rank) <= u64::from(cores) {
        // Hardware threads, because that is what `cores` counts.
        arguments.extend(["--use-hwthread-cpus", "--map-by"].map(str::to_owned));
        arguments.push(format!("slot:PE={threads_per_rank}"));
        arguments.extend(["--bind-to", "hwthread"].map(str::to_owned));
    } else {
        // A rank that waits for another must then let go of the core that the other needs.
        arguments
            .extend(["--bind-to", "none", "--oversubscribe", "--mca", "mpi_yield_when_idle", "1"].map(str::to_owned));
    }
    arguments.into_iter().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::config::Backend;

    fn plan(ranks: u32, threads_per_rank: u32, cores: u32) -> LaunchPlan {
        let launch = LaunchConfig {
            backend: Backend::Local,
            ranks,
            threads_per_rank,
            max_restarts: 3,
            stall_timeout_s: 900,
            grace_s: 120,
            claim_expiry_s: 60,
        };
        let mpirun = (ranks > 1).then_some(Path::new("/usr/bin/mpirun"));
        let job = |_| vec!["train".into(), "--from-launcher".into()];
        LaunchPlan::local(&launch, cores, Path::new("/opt/convoy/worker"), job, mpirun)
    }

    fn line(plan: &LaunchPlan) -> String {
        let words: Vec<_> = plan.arguments.iter().map(|word| word.to_string_lossy()).collect();
        format!("{} {}", plan.program.display(), words.join(" "))
    }

    #[test]
    fn one_rank_is_the_worker_itself_with_every_core() {
        let plan = plan(1, 0, 8);
        assert_eq!(line(&plan), "/opt/convoy/worker train --from-launcher");
        assert_eq!(plan.environment, [("OMP_NUM_THREADS", "8".to_owned()), ("MKL_NUM_THREADS", "8".to_owned())]);
    }

    #[test]
    fn ranks_that_fit_are_bound_to_their_share_of_the_cores() {
        let plan = plan(2, 0, 9);
        assert_eq!(
            line(&plan),
            "/usr/bin/mpirun -n 2 --tag-output --allow-run-as-root --mca btl_vader_single_copy_mechanism none \
             --use-hwthread-cpus --map-by slot:PE=4 --bind-to hwthread /opt/convoy/worker train --from-launcher"
        );
        assert_eq!(plan.threads_per_rank, 4);
    }

    #[test]
    fn ranks_that_do_not_fit_share_the_cores_and_yield_when_idle() {
        for (ranks, threads) in [(3, 0), (2, 2)] {
            let line = line(&plan(ranks, threads, 2));
            assert!(line.contains("--bind-to none --oversubscribe --mca mpi_yield_when_idle 1"), "{line}");
            assert!(!line.contains("slot:PE"), "{line}");
        }
        assert_eq!(plan(3, 0, 2).threads_per_rank, 1);
    }
}
