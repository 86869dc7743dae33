//! Attempts: one launch of a run each, numbered from 1. At most one holds the run, and only that one commits to it.
//!
//! Whoever starts a run's processes is the claimant: the launcher, or rank 0 where there is none.
//!
//! ```text
//! attempts/0003.json               the claim, created once: the highest number holds the run
//! attempts/0003.alive              refreshed by its claimant for as long as it lives, and told when it ends
//! attempts/0003.5c0e9d7b.from      what it continues, created once before it commits; the tag is the claim's
//! attempts/0003.5c0e9d7b.kept      which checkpoint stays, replaced before it deletes others
//! ```
//!
//! A claim is made once the holder's has ended or expired, so that a second run is refused by one that lives. One that
//! only seemed dead, because it was suspended or cut off, is *fenced* by the newer claim; one whose run folder was deleted, or
//! begun anew, finds that its claim has *vanished*. Both look before each commit and each deletion, and end. What they still
//! commit between looking and putting is *void*: it belongs to no attempt that the newest one continues.
//!
//! - [`acquire()`]: waits for the run, or is refused, and claims it. [`current`]: who holds it. [`run_id`]: which run it is.
//! - `claims`: claims by name, and the fence.
//! - [`holder`]: keeps a claim, and hears what is asked of a run from elsewhere.
//! - [`handed`]: what reaches an attempt that runs elsewhere than its claimant.
//! - [`history`]: which checkpoints the newest attempt continues, and which are void.
//! - [`rewind()`]: an attempt that goes back to an earlier checkpoint, and no further.
//! - `process`: whether a process of this machine still lives.
//! - `surroundings`: the store and the clocks, which a simulation replaces.

mod acquire;
mod claims;
pub mod handed;
pub mod history;
pub mod holder;
pub(crate) mod process;
mod rewind;
#[cfg(test)]
mod simulation;
pub(crate) mod surroundings;

use serde::{Deserialize, Serialize};

use crate::checkpoint_layout::{CheckpointName, TAG_CHARACTERS};
use crate::exit_code::ExitCode;
use crate::host_name::host_name;
use crate::storage::StorageError;
pub(crate) use acquire::refuse_while_one_begins;
pub use acquire::{Claimant, Holding, acquire, current, run_id};
pub(crate) use claims::fence;
pub use claims::{check_fence, claim_of};
pub(crate) use history::keep;
pub use history::{History, record_start};
pub use holder::{Holder, News, Request, ask};
use process::ProcessId;
pub use rewind::rewind;
use surroundings::Surroundings;

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
    /// The id of the run's first claim: tells whether a claim belongs to the run that is in the folder now. Older versions did
    /// not say.
    #[serde(default)]
    first: Option<String>,
    /// How long the claim lasts without a sign of life. Older versions did not say.
    #[serde(default)]
    expiry_ms: Option<u64>,
}

/// The claim that a process belongs to: what it shows wherever it commits or deletes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// The attempt's number.
    pub number: u32,
    /// The claim's id.
    pub id: String,
}

impl Claim {
    /// What marks the names of all that the attempt puts.
    pub fn tag(&self) -> &str {
        self.id.get(..TAG_CHARACTERS).unwrap_or(&self.id)
    }

    /// A name for a save of `step` by the attempt of this claim, with `random` letters and digits.
    pub fn name_checkpoint(&self, step: u64, random: &str) -> CheckpointName {
        CheckpointName::tagged(step, self.number, self.tag(), random)
    }

    /// Whether the attempt of this claim has saved the checkpoint `name`, as far as the name tells.
    pub fn has_saved(&self, name: &CheckpointName) -> bool {
        name.attempt == self.number && name.tag() == Some(self.tag())
    }
}

impl Attempt {
    fn new(run: &impl Surroundings, attempt: u32, first: Option<String>, claimant: &Claimant) -> Self {
        let id = run.random_hex();
        Attempt {
            attempt,
            first: if attempt == 1 { Some(id.clone()) } else { first },
            id,
            claimed_at_unix_s: run.unix_s(),
            host: host_name(),
            pid: std::process::id(),
            process: run.process(),
            ranks: claimant.ranks,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            expiry_ms: u64::try_from(claimant.expiry.as_millis()).ok(),
        }
    }

    /// The number and the id.
    pub fn claim(&self) -> Claim {
        Claim { number: self.attempt, id: self.id.clone() }
    }

    fn claim_name(&self) -> String {
        claims::claim_name(self.attempt)
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
    /// Another attempt is about to go on from a checkpoint, and nobody knows from which.
    #[error(
        "attempt {attempt} has claimed {run} and has not begun yet: it may go on from what would be deleted; try again once it \
         trains or has ended"
    )]
    Beginning {
        /// The run.
        run: String,
        /// Which.
        attempt: u32,
    },
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
    /// The run that it belongs to is not in the run folder any more.
    #[error(
        "attempt {mine} of {run} commits and deletes nothing any more: {object} {what}, so the run folder was deleted, or begun \
         anew, while this attempt ran; start it again to go on from what is there now, or with another run.output to leave \
         that alone"
    )]
    Vanished {
        /// The run.
        run: String,
        /// Who asks.
        mine: u32,
        /// What is not as it was.
        object: String,
        /// What has become of it.
        what: &'static str,
    },
    /// There is no number for another attempt.
    #[error(
        "{run} can have no further attempt: a claim in attempts/ has the highest number, 99999999; delete it if no attempt \
         made it, or use another run.output"
    )]
    Exhausted {
        /// The run.
        run: String,
    },
}

impl AttemptError {
    /// What a process that ends because of this exits with: neither that the run is taken nor that it has been taken over
    /// or deleted is mended by another start.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            AttemptError::Storage(error) => error.exit_code(),
            AttemptError::Held { .. }
            | AttemptError::Beginning { .. }
            | AttemptError::Fenced { .. }
            | AttemptError::Vanished { .. }
            | AttemptError::Exhausted { .. } => ExitCode::Config,
        }
    }

    /// Whether the run is another attempt's now, or another run's: who asked has to end.
    pub fn is_another_attempts(&self) -> bool {
        matches!(self, AttemptError::Fenced { .. } | AttemptError::Vanished { .. })
    }
}

#[cfg(test)]
mod tests;
