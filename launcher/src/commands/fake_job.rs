//! A job on a fake cluster, followed by what its ranks print: for tests of the commands that have such jobs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::config::LaunchConfig;
use common::exit_code::ExitCode;
use common::worker_contract::StartLine;
use serde_json::Value;

use super::following::{Listener, follow};
use crate::backend::kubernetes::Kubernetes;
use crate::backend::kubernetes::fake_cluster::{Act, FakeCluster};
use crate::backend::kubernetes::work::Work;
use crate::interrupts::Interrupts;

/// A job on a fake cluster, with what a person sees of it.
pub struct FakeJob<L> {
    pub cluster: FakeCluster,
    pub backend: Kubernetes,
    pub shown: L,
    launch: LaunchConfig,
    start_line: Option<StartLine>,
}

impl<L: Listener> FakeJob<L> {
    /// Creates the job of `work`, whose MPIJobs act as `script` says, one after another. Ranks get `start_line`, if there is one.
    pub fn new(script: &[Act], work: Work, start_line: Option<StartLine>, shown: L) -> Self {
        let (cluster, launch) = (FakeCluster::new(script), work.launch().clone());
        let backend = cluster.backend(work);
        FakeJob { cluster, backend, shown, launch, start_line }
    }

    /// Follows the job to its end, after which no MPIJob is left.
    pub fn follow(&mut self) -> ExitCode {
        let code = self.follow_among_others();
        self.assert_nothing_is_left();
        code
    }

    /// Follows the job to its end in a cluster that has MPIJobs of others.
    pub fn follow_among_others(&mut self) -> ExitCode {
        self.follow_with(Interrupts::install().unwrap())
    }

    /// Follows the job, and asks it to stop when its three pods are there. No MPIJob is left then.
    pub fn follow_and_stop(&mut self) -> ExitCode {
        let interrupts = Interrupts::install().unwrap();
        let (cluster, stop) = (self.cluster.clone(), interrupts.asked_to_stop());
        let code = std::thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..1000 {
                    if cluster.names("Pod").len() == 3 {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                stop.store(true, Ordering::SeqCst);
            });
            self.follow_with(interrupts)
        });
        self.assert_nothing_is_left();
        code
    }

    fn follow_with(&mut self, mut interrupts: Interrupts) -> ExitCode {
        follow(&self.backend, &self.launch, self.start_line.as_ref(), &mut interrupts, &mut self.shown).unwrap()
    }

    fn assert_nothing_is_left(&self) {
        assert_eq!(self.cluster.names("MPIJob"), [""; 0], "an MPIJob is left");
    }

    /// Returns the names of the MPIJobs that were applied.
    pub fn jobs(&self) -> Vec<String> {
        let state = self.cluster.state();
        let jobs = state.applied.iter().filter(|object| object["kind"] == "MPIJob");
        jobs.map(|job| name_of(job).to_owned()).collect()
    }

    /// Returns what the names of these MPIJobs end in: the numbers of their attempts.
    pub fn attempts(&self) -> Vec<String> {
        self.jobs().iter().filter_map(|job| job.rsplit('-').next().map(str::to_owned)).collect()
    }
}

/// Returns the name of an object.
pub fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}
