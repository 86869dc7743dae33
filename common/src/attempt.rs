//! Attempts: one launch of a run each, numbered from 1.
//!
//! Whoever starts a run's processes claims the next number by a create-only put of `attempts/NNNN.json`: the launcher,
//! or rank 0 where there is none. The number marks checkpoints, metrics and events, and orders those of several attempts.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::storage::{Folder, StorageError};

/// Folder of the claims in a run's folder.
const ATTEMPTS_FOLDER: &str = "attempts";

/// What a claim says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The number, from 1.
    pub attempt: u32,
    /// Random: tells a claim from every other, also of the same host and process number.
    pub id: String,
    /// Seconds since 1970 when it was claimed.
    pub claimed_at_unix_s: u64,
    /// The claimant's host.
    pub host: String,
    /// The claimant's process on it.
    pub pid: u32,
    /// How many ranks were started.
    pub ranks: u32,
    /// Convoy's version.
    pub version: String,
}

/// Claims the next attempt of `run`. Of several claimants at once each gets a number of its own.
pub fn claim(run: &Folder, ranks: u32) -> Result<Attempt, StorageError> {
    let folder = run.folder(ATTEMPTS_FOLDER);
    let newest = folder.list()?.iter().filter_map(|object| number(&object.name)).max().unwrap_or(0);
    let mut attempt = Attempt {
        attempt: newest,
        id: random_hex(),
        claimed_at_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        host: host_name(),
        pid: std::process::id(),
        ranks,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    loop {
        attempt.attempt += 1;
        let json = serde_json::to_vec_pretty(&attempt).unwrap_or_else(|e| unreachable!("a claim is JSON: {e}"));
        match folder.create(&format!("{:04}.json", attempt.attempt), Bytes::from(json)) {
            Ok(()) => return Ok(attempt),
            Err(StorageError::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The attempt that a claim's object name stands for.
fn number(name: &str) -> Option<u32> {
    name.strip_suffix(".json")?.parse().ok()
}

/// This host's name, for people.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "unknown".to_owned() } else { name.trim().to_owned() }
}

/// 64 random bits in hex, different in every call of every process. Not a secret.
pub fn random_hex() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // The standard library keys every RandomState from the operating system's randomness.
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StorageConfig;

    #[test]
    fn every_claimant_gets_a_number_of_its_own() {
        let run = Folder::open("memory://attempts", &StorageConfig::default()).unwrap();
        let claimants: Vec<_> = (0..8)
            .map(|_| {
                let run = run.clone();
                std::thread::spawn(move || claim(&run, 2).unwrap().attempt)
            })
            .collect();
        let mut numbers: Vec<_> = claimants.into_iter().map(|t| t.join().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
        assert_eq!(claim(&run, 2).unwrap().attempt, 9);
    }

    #[test]
    fn random_ids_differ() {
        assert_ne!(random_hex(), random_hex());
    }
}
