//! What a claim says, and who makes one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::process::ProcessId;
use super::surroundings::Surroundings;
use crate::checkpoint_layout::{CheckpointName, TAG_CHARACTERS};
use crate::host_name::host_name;

/// Folder of the claims in a run's folder.
pub(super) const ATTEMPTS_FOLDER: &str = "attempts";

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
    pub(super) process: Option<ProcessId>,
    /// How many ranks were started.
    pub ranks: u32,
    /// Convoy's version.
    pub version: String,
    /// The id of the run's first claim: tells whether a claim belongs to the run that is in the folder now. Older versions did
    /// not say.
    #[serde(default)]
    pub(super) first: Option<String>,
    /// How long the claim lasts without a sign of life. Older versions did not say.
    #[serde(default)]
    pub(super) expiry_ms: Option<u64>,
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
    pub(super) fn new(run: &impl Surroundings, attempt: u32, first: Option<String>, claimant: &Claimant) -> Self {
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

    pub(super) fn claim_name(&self) -> String {
        claim_name(self.attempt)
    }

    pub(super) fn alive_name(&self) -> String {
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

/// The name of claim `number`.
pub(super) fn claim_name(number: u32) -> String {
    format!("{number:04}.json")
}

/// Who claims.
#[derive(Debug, Clone)]
pub struct Claimant {
    /// How many ranks it starts.
    pub ranks: u32,
    /// How long a claim lasts that nobody refreshes: `launch.claim_expiry_s`.
    pub expiry: Duration,
    /// The attempt that this claimant holds already, if it does.
    pub holds: Option<Claim>,
}
