//! Attempts: one launch of a run each, numbered from 1. At most one holds the run, and only that one commits to it.
//!
//! Whoever starts a run's processes is the claimant: the launcher, or rank 0 where there is none.
//!
//! ```text
//! attempts/0003.json               the claim, created once: the highest number holds the run
//! attempts/0003.alive              refreshed by its claimant for as long as it lives, and told when it ends
//! attempts/0003.from.step-...      the checkpoint that it started from, in the name; `nothing` where there was none
//! ```
//!
//! A claim is made once the holder's has ended or expired, so that a second run is refused by one that lives. One that
//! only seemed dead, because it was suspended or cut off, is *fenced* by the newer claim: it looks before each commit, and
//! ends. What it still commits between looking and putting is *void* where it lies above what the newer one started from.
//!
//! - [`acquire`]: waits for the run, or is refused, and claims it. [`current`]: who holds it. [`run_id`]: which run it is.
//! - [`holder`]: keeps a claim, and hears what is asked of a run from elsewhere.
//! - [`handed`]: what reaches an attempt that runs elsewhere than its claimant.
//! - [`history`]: what the names in `attempts/` say: who is newest, and what is void.
//! - `process`: whether a process of this machine still lives.

mod acquire;
pub mod handed;
pub mod history;
pub mod holder;
mod process;

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::storage::StorageError;
use crate::worker_contract::ExitCode;
pub use acquire::{Claimant, Holding, acquire, current, run_id};
pub use history::{History, check_fence, record_start};
pub use holder::{Holder, News, Request, ask};
use process::ProcessId;

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
    /// The same, told apart from every other process that ever was.
    #[serde(default)]
    process: Option<ProcessId>,
    /// How many ranks were started.
    pub ranks: u32,
    /// Convoy's version.
    pub version: String,
}

impl Attempt {
    fn new(attempt: u32, ranks: u32) -> Self {
        Attempt {
            attempt,
            id: random_hex(),
            claimed_at_unix_s: unix_s(),
            host: host_name(),
            pid: std::process::id(),
            process: ProcessId::of_this(),
            ranks,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn claim_name(&self) -> String {
        format!("{:04}.json", self.attempt)
    }

    fn alive_name(&self) -> String {
        format!("{:04}.alive", self.attempt)
    }

    /// Who it is, for people.
    pub fn claimant(&self) -> String {
        format!("process {} on host {}, {}", self.pid, self.host, count(self.ranks))
    }
}

fn count(ranks: u32) -> String {
    if ranks == 1 { "1 rank".to_owned() } else { format!("{ranks} ranks") }
}

/// Why a run cannot be had, or be gone on with.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AttemptError {
    /// The run folder could not be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Another attempt lives.
    #[error(
        "{run} is in use: attempt {attempt} ({claimant}) holds it, and was alive a moment ago; stop it first, or use \
         another run.output"
    )]
    Held {
        /// The run.
        run: String,
        /// Who holds it.
        attempt: u32,
        /// Who that is.
        claimant: String,
    },
    /// A newer attempt has taken the run over.
    #[error(
        "attempt {mine} of {run} commits nothing any more: attempt {newer} has taken the run over, since this one had not \
         been heard from; it goes on from the newest checkpoint"
    )]
    Fenced {
        /// The run.
        run: String,
        /// Who asks.
        mine: u32,
        /// Who holds it now.
        newer: u32,
    },
}

impl AttemptError {
    /// What a process that ends because of this exits with: neither that the run is taken nor that it has been taken over
    /// is mended by another start.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            AttemptError::Storage(error) => error.exit_code(),
            AttemptError::Held { .. } | AttemptError::Fenced { .. } => ExitCode::Config,
        }
    }
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

/// Seconds since 1970.
pub fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
