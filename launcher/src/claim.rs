//! Claiming an attempt: `attempts/NNNN.json` in the run folder, create-only, so that no two launches share a number.
//!
//! Not here yet: `NNNN.alive` and the fencing of an older attempt that still runs elsewhere.

use bytes::Bytes;
use common::storage::{Folder, StorageError};
use serde::{Deserialize, Serialize};

use crate::error::LaunchError;
use crate::{journal, random};

/// What `attempts/NNNN.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The attempt, from 1.
    pub attempt: u32,
    /// Where the launcher runs.
    pub host: String,
    /// The launcher's process there.
    pub pid: u32,
    /// Random, so that a create whose answer got lost is told from a competitor's.
    pub id: String,
    /// When it was claimed, RFC 3339.
    pub time: String,
    /// How many ranks it starts.
    pub ranks: u32,
    /// Version of Convoy.
    pub version: String,
}

impl Claim {
    /// Claims the next free number of the run folder `run` for `ranks` ranks.
    pub fn next(run: &Folder, ranks: u32) -> Result<Self, LaunchError> {
        let folder = run.folder("attempts");
        let taken = folder.list()?;
        let highest = taken.iter().filter_map(|o| o.name.strip_suffix(".json")?.parse::<u32>().ok()).max();
        let mut claim = Claim {
            attempt: highest.unwrap_or(0) + 1,
            host: nix::unistd::gethostname().map_or_else(|_| "unknown".into(), |name| name.to_string_lossy().into()),
            pid: std::process::id(),
            id: random::token().map_err(LaunchError::system("read /dev/urandom"))?,
            time: journal::now(),
            ranks,
            version: env!("CARGO_PKG_VERSION").into(),
        };
        loop {
            let content = serde_json::to_vec(&claim).unwrap_or_else(|e| unreachable!("a claim is JSON: {e}"));
            match folder.create(&format!("{:04}.json", claim.attempt), Bytes::from(content)) {
                Ok(()) => return Ok(claim),
                // Somebody else was faster.
                Err(StorageError::AlreadyExists { .. }) => claim.attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::config::StorageConfig;

    #[test]
    fn numbers_are_claimed_once_each_and_follow_the_highest() {
        let run = Folder::open("memory://claims", &StorageConfig::default()).unwrap();
        let first = Claim::next(&run, 2).unwrap();
        assert_eq!(first.attempt, 1);
        let claims: Vec<u32> = std::thread::scope(|scope| {
            let claim = || scope.spawn(|| Claim::next(&run, 2).unwrap().attempt);
            let threads: Vec<_> = (0..8).map(|_| claim()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut sorted = claims.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (2..=9).collect::<Vec<u32>>());
        let stored: Claim = serde_json::from_slice(&run.get("attempts/0001.json").unwrap()).unwrap();
        assert_eq!(stored, first);
        run.put("attempts/0041.json", Bytes::from_static(b"{}")).unwrap();
        assert_eq!(Claim::next(&run, 2).unwrap().attempt, 42);
    }
}
