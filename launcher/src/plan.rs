//! A config becomes the command that starts its ranks. Pure: the same config on the same machine gives the same plan.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use common::topology::WorldSize;

use crate::backend::Placement;

/// One command that starts all ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchPlan {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables in addition to the launcher's own environment.
    pub environment: Vec<(&'static str, String)>,
    /// Whether mpirun starts them, and so tags their output.
    pub is_tagged: bool,
}

impl LaunchPlan {
    /// Plans the ranks at `placement` on this machine, whose `cores` hardware threads this process may use.
    ///
    /// `job` is what is started: an executable and its arguments. One rank is the executable itself; several are started by
    /// `mpirun`, which must then be given.
    pub fn local(placement: &Placement, cores: u32, mut job: Vec<OsString>, mpirun: Option<&Path>) -> Self {
        let (program, arguments) = match mpirun {
            None => (PathBuf::from(job.remove(0)), job),
            Some(mpirun) => {
                let mut arguments = mpirun_arguments(placement, cores);
                arguments.extend(job);
                (mpirun.to_owned(), arguments)
            }
        };
        let threads = placement.threads_per_rank.to_string();
        LaunchPlan {
            program,
            arguments,
            environment: ["OMP_NUM_THREADS", "MKL_NUM_THREADS"].map(|name| (name, threads.clone())).into(),
            is_tagged: mpirun.is_some(),
        }
    }
}

/// As one would type it in a shell.
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

/// `text` as one word of a shell.
pub fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    let is_word = !text.is_empty() && text.chars().all(is_plain);
    if is_word { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The threads of each of `ranks` ranks on a machine with `cores` hardware threads, where `given` does not say.
pub fn threads_per_rank(given: u32, ranks: WorldSize, cores: u32) -> u32 {
    if given == 0 { (cores / ranks.get()).max(1) } else { given }
}

fn mpirun_arguments(placement: &Placement, cores: u32) -> Vec<OsString> {
    let Placement { world_size, threads_per_rank, .. } = *placement;
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

    fn plan(ranks: u32, given: u32, cores: u32) -> LaunchPlan {
        let world_size = WorldSize::new(ranks).unwrap();
        let placement = Placement { world_size, threads_per_rank: threads_per_rank(given, world_size, cores) };
        let job = ["/opt/convoy/worker", "train", "--from-launcher"].map(OsString::from).into();
        LaunchPlan::local(&placement, cores, job, (ranks > 1).then_some(Path::new("/usr/bin/mpirun")))
    }

    #[test]
    fn one_rank_is_the_worker_itself_with_every_core() {
        assert_eq!(
            plan(1, 0, 8).to_string(),
            "OMP_NUM_THREADS=8 MKL_NUM_THREADS=8 /opt/convoy/worker train --from-launcher"
        );
    }

    #[test]
    fn ranks_that_fit_are_bound_to_their_share_of_the_cores() {
        assert_eq!(
            plan(2, 0, 9).to_string(),
            "OMP_NUM_THREADS=4 MKL_NUM_THREADS=4 /usr/bin/mpirun -n 2 --tag-output --allow-run-as-root --mca btl_vader_single_copy_mechanism none \
             --use-hwthread-cpus --map-by slot:PE=4 --bind-to hwthread /opt/convoy/worker train --from-launcher"
        );
    }

    #[test]
    fn ranks_that_do_not_fit_share_the_cores_and_yield_when_idle() {
        for (ranks, threads) in [(3, 0), (2, 2)] {
            let line = plan(ranks, threads, 2).to_string();
            assert!(line.contains("--bind-to none --oversubscribe --mca mpi_yield_when_idle 1"), "{line}");
            assert!(!line.contains("slot:PE"), "{line}");
        }
        assert!(plan(3, 0, 2).to_string().starts_with("OMP_NUM_THREADS=1 "));
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
