//! Checks whether a host's `/dev/shm` has room for what its ranks share. Open MPI keeps it there; where it cannot, mpirun may
//! hang without a message, or a rank may be lost that could not say why.

use common::figures::counted;
use common::host_name::host_name;
use common::preflight::shared_memory_wanted;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::error::BackendError;
use super::placement::Placement;
use crate::error::LaunchError;

const FOLDER: &str = "/dev/shm";
/// Bytes that Open MPI fills before ranks have exchanged anything: for a host, and for each of its ranks.
const FREE_BYTES_MIN: [u64; 2] = [16 << 20, 8 << 20];

/// Script that prints a host's hardware threads, and the state of its `/dev/shm`.
pub const LOOK: &str = "nproc 2>/dev/null || getconf _NPROCESSORS_ONLN
df -Pk /dev/shm 2>/dev/null | tail -n 1
if [ -w /dev/shm ]; then echo writable; fi
";

/// State of `/dev/shm` on one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedMemory {
    is_writable: bool,
    /// Total and free size in bytes; `None` where the host does not say.
    sizes: Option<[u64; 2]>,
}

impl SharedMemory {
    /// Looks at `/dev/shm` of this machine.
    pub fn here() -> Self {
        let sizes = statvfs(FOLDER).ok();
        SharedMemory {
            is_writable: access(FOLDER, AccessFlags::W_OK).is_ok(),
            sizes: sizes.map(|shm| [shm.blocks(), shm.blocks_available()].map(|n| n * shm.fragment_size())),
        }
    }

    /// Returns whether `ranks` ranks can share what they need there.
    pub fn has_room_for(&self, ranks: u32) -> bool {
        self.judge("", ranks).is_ok()
    }

    /// Reads what [`LOOK`] has printed after the hardware threads.
    fn parse<'l>(mut lines: impl Iterator<Item = &'l str>) -> Self {
        let first = lines.next().unwrap_or_default();
        let fields: Vec<&str> = first.split_whitespace().collect();
        let kilobytes = |i: usize| fields.get(i)?.parse::<u64>().ok();
        let sizes = kilobytes(1).zip(kilobytes(3)).map(|(all, free)| [all, free].map(|n| n.saturating_mul(1024)));
        SharedMemory { is_writable: first == "writable" || lines.any(|line| line == "writable"), sizes }
    }

    /// An error where `ranks` ranks of `host` cannot share what they need there.
    fn judge(&self, host: &str, ranks: u32) -> Result<(), LaunchError> {
        if !self.is_writable {
            return Err(BackendError::NoSharedMemory { host: host.to_owned(), folder: FOLDER }.into());
        }
        let Some([all, free]) = self.sizes else { return Ok(()) };
        if let Some(why) = shared_memory_wanted(host, ranks as usize, all) {
            return Err(BackendError::SmallSharedMemory(why).into());
        }
        let [of_host, of_rank] = FREE_BYTES_MIN;
        let needed = of_host + u64::from(ranks) * of_rank;
        if free < needed {
            // Others may have filled the folder, and may free it again.
            return Err(LaunchError::Hosts(format!(
                "{host}: {} MiB are free in {FOLDER} for {}, expected at least {}; remove what lies there",
                free >> 20,
                counted(ranks.into(), "rank"),
                needed >> 20
            )));
        }
        Ok(())
    }
}

/// Reads what a host has printed for [`LOOK`]: its hardware threads, and its shared memory.
pub fn parse(printed: &str) -> Result<(u32, SharedMemory), String> {
    let mut lines = printed.lines().map(str::trim);
    let cores = lines.next().and_then(|line| line.parse().ok());
    let cores = cores.ok_or_else(|| format!("its shell printed {printed:?}, expected the number of its cores"))?;
    Ok((cores, SharedMemory::parse(lines)))
}

/// Returns an error where the ranks of `placement` on one of its hosts cannot share what they need. `found` returns the state
/// of each host. Without hosts, this machine is checked.
pub fn check(placement: &Placement, found: impl Fn(&str) -> Option<SharedMemory>) -> Result<(), LaunchError> {
    if placement.hosts.is_empty() {
        return SharedMemory::here().judge(&host_name(), placement.world_size.get());
    }
    placement.hosts.iter().try_for_each(|on| found(&on.host).map_or(Ok(()), |shm| shm.judge(&on.host, on.ranks)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hosts_say_of_their_shared_memory_is_understood_and_judged() {
        let of =
            |printed: &str| parse(printed).map(|(cores, shm)| (cores, shm.judge("a", 2).map_err(|e| e.to_string())));
        let line = |all: u64, free: u64| format!("8\ntmpfs {all} 0 {free} 1% /dev/shm\nwritable\n");
        assert_eq!(of(&line(1 << 20, 1 << 20)), Ok((8, Ok(()))));
        assert_eq!(of("8\nwritable\n"), Ok((8, Ok(()))), "one that does not tell");
        let says = |printed: &str, words: &str| {
            let text = of(printed).unwrap().1.unwrap_err();
            assert!(text.starts_with("a: ") && text.contains(words), "{text}");
        };
        says(&line(64 << 10, 64 << 10), "0.1 GiB for 2 ranks");
        says(&line(1 << 20, 31 << 10), "31 MiB are free in /dev/shm for 2 ranks, expected at least 32");
        says("8\ntmpfs 1048576 0 1048576 1% /dev/shm\n", "cannot be written");
        says("8\n", "is not there");
        assert!(of("bash: nproc: no\n").unwrap_err().contains("expected the number of its cores"));
    }

    #[test]
    fn this_machine_answers_as_it_sees_itself() {
        let printed = std::process::Command::new("sh").args(["-c", LOOK]).output().unwrap();
        let (cores, there) = parse(&String::from_utf8(printed.stdout).unwrap()).unwrap();
        let here = SharedMemory::here();
        assert!(printed.status.success() && cores > 0);
        assert_eq!((there.is_writable, there.sizes.map(|s| s[0])), (here.is_writable, here.sizes.map(|s| s[0])));
    }
}
