//! Whether the processes of the stage `extract` fit into the memory of this rank.
//!
//! Each may take `webtext.extract.memory_bytes`, though few pages need it. So what may not fit is a warning: the system kills
//! processes only once they do take it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use common::preflight::available_memory;

/// Memory that a rank needs beside `prepare.memory_bytes` and its extracting processes.
const RANK_BYTES: u64 = 200 << 20;
/// Where the system shows groups of processes with their limits.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Memory of a rank, which its extracting processes take one after another.
#[derive(Debug)]
pub struct Room {
    /// Memory available to this rank; `None` where the system does not say.
    bytes: Option<u64>,
    /// `webtext.extract.memory_bytes`.
    each_bytes: u64,
    /// `prepare.memory_bytes`.
    prepare_bytes: u64,
    processes: AtomicU64,
}

impl Room {
    /// Looks at the memory of this host and of the groups that this process belongs to. Ranks of a host share it.
    pub fn of_this_rank(each_bytes: u64, prepare_bytes: u64) -> Self {
        let local_ranks = std::env::var("OMPI_COMM_WORLD_LOCAL_SIZE").ok().and_then(|n| n.parse::<u64>().ok());
        let bytes = memory_of_host().map(|bytes| bytes / local_ranks.unwrap_or(1).max(1));
        Room::new(bytes, each_bytes, prepare_bytes)
    }

    fn new(bytes: Option<u64>, each_bytes: u64, prepare_bytes: u64) -> Self {
        Room { bytes, each_bytes, prepare_bytes, processes: AtomicU64::new(0) }
    }

    /// Counts a process that may be started, and warns of the first one that may not fit.
    pub fn enter(&self) {
        if let Some(warning) = self.warning(self.processes.fetch_add(1, Ordering::Relaxed)) {
            tracing::warn!("{warning}");
        }
    }

    /// Returns the warning if the next process is the first that may not fit, with `before` others.
    fn warning(&self, before: u64) -> Option<String> {
        let bytes = self.bytes?;
        let fit = bytes.saturating_sub(self.prepare_bytes.saturating_add(RANK_BYTES)) / self.each_bytes.max(1);
        let mib = |bytes: u64| bytes >> 20;
        (fit == before).then(|| {
            format!(
                "the stage extract may run out of memory: this rank has {} MiB, which is enough for {fit} extracting processes of \
                 webtext.extract.memory_bytes ({} MiB) beside prepare.memory_bytes ({} MiB) and {} MiB, and it starts more, one \
                 for each thread; the system may kill one, which ends the job: lower these keys, give fewer ranks or \
                 --threads-per-rank, or allow more memory",
                mib(bytes),
                mib(self.each_bytes),
                mib(self.prepare_bytes),
                mib(RANK_BYTES)
            )
        })
    }
}

/// Returns the memory that is available to this process and to others of its groups; `None` where the system does not say.
fn memory_of_host() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let read = |file: PathBuf| limit(&std::fs::read_to_string(file).ok()?);
    let limits = limit_files(&groups).into_iter().filter_map(read);
    limits.chain(Some(available_memory()).filter(|bytes| *bytes > 0)).min()
}

/// Returns the files that may hold a limit of memory of the `groups` of a process, as `/proc/self/cgroup` lists them: of each
/// group, and of all around it.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let of_line = |line: &str| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        let (root, file) = match controllers {
            // Version 2, which has one tree for all.
            "" => (PathBuf::from(CGROUPS), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (Path::new(CGROUPS).join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let ancestors = Path::new(group.trim_start_matches('/')).ancestors();
        Some(ancestors.map(|group| root.join(group).join(file)).collect::<Vec<_>>())
    };
    groups.lines().filter_map(of_line).flatten().collect()
}

/// Returns the limit in the text of such a file; `None` for `max`.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_process_that_may_not_fit_is_warned_of_with_both_keys() {
        let room = Room::new(Some(4 << 30), 1 << 30, 512 << 20);
        let warned: Vec<u64> = (0..6).filter(|before| room.warning(*before).is_some()).collect();
        assert_eq!(warned, [3]);
        let warning = room.warning(3).unwrap();
        for part in ["webtext.extract.memory_bytes (1024 MiB)", "prepare.memory_bytes (512 MiB)", "4096 MiB", "for 3 "]
        {
            assert!(warning.contains(part), "{warning}");
        }
    }

    #[test]
    fn memory_that_is_not_known_is_not_warned_of() {
        let room = Room::new(None, 1 << 30, 512 << 20);
        assert!((0..100).all(|before| room.warning(before).is_none()));
        let full = Room::new(Some(1), 1 << 30, 512 << 20);
        assert!(full.warning(0).is_some() && full.warning(1).is_none());
    }

    #[test]
    fn limits_are_of_a_group_and_of_all_around_it() {
        let files = limit_files("4:memory:/job/step\n3:cpuset:/job\n0::/a/b\nnonsense\n");
        let expected = [
            "/sys/fs/cgroup/memory/job/step/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/job/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/a/b/memory.max",
            "/sys/fs/cgroup/a/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
    }

    #[test]
    fn a_limit_is_a_number_of_bytes() {
        assert_eq!((limit("1073741824\n"), limit("max\n"), limit("")), (Some(1 << 30), None, None));
    }
}
