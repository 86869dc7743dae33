//! A cluster of processes on this machine, which stands in for Kubernetes and the MPI operator where a test runs the launcher
//! itself. All of it is `cluster.py` beside this file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::Running;

/// Longest time that starting takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A cluster, which ends with all its pods when it is dropped.
pub struct Cluster {
    folder: tempfile::TempDir,
    running: Running,
}

impl Cluster {
    /// Starts a cluster with pods that run the program `launcher`, with `environment` and little else.
    pub fn start(launcher: &Path, environment: &[(String, String)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut command = Command::new("python3");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cluster.py")).arg(folder.path()).arg(launcher);
        command.env_clear().envs(environment.iter().cloned());
        for name in ["PATH", "HOME", "LD_LIBRARY_PATH"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        let mut running = Running::start(command);
        let kubeconfig = folder.path().join("kubeconfig");
        running.wait_until("the cluster could be reached", DEADLINE, |_| kubeconfig.exists().then_some(()));
        Cluster { folder, running }
    }

    /// Returns the value of `KUBECONFIG` with which to reach the cluster.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Returns the cluster's processes that run a program called `name`, regardless of their parents.
    pub fn processes(&self, name: &str) -> Vec<i32> {
        self.running.processes(name)
    }

    /// Returns the first process of a pod with `word` among its arguments.
    ///
    /// # Panics
    /// Panics if there is none.
    pub fn process_with(&self, word: &str) -> i32 {
        let has_word = |pid: &i32| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.split(|byte| *byte == 0).any(|one| one == word.as_bytes())
        };
        let mut found = self.processes("launcher").into_iter().filter(has_word);
        found.next().unwrap_or_else(|| panic!("no pod runs {word:?}; the cluster said:\n{}", self.printed()))
    }

    /// Returns what the cluster has printed about trouble.
    pub fn printed(&self) -> String {
        self.running.printed()
    }
}
