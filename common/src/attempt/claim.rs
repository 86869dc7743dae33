//! Contents of a claim, and who makes one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::process::ProcessId;
use super::surroundings::Surroundings;
use crate::checkpoint_layout::{CheckpointName, TAG_CHARACTERS};
use crate::host_name::host_name;

/// Folder of the claims, in the run folder.
pub(super) const ATTEMPTS_FOLDER: &str = "attempts";

/// Contents of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Random id, which no other claim has, even one of this host and process number.
    pub id: String,
    /// Time of the claim, in seconds since 1970.
    pub claimed_at_unix_s: u64,
    /// Name of the claimant's host.
    pub host: String,
    /// Claimant's process number on its host.
    pub pid: u32,
    /// Claimant's process, distinguishable from every other that ever was.
    #[serde(default)]
    pub(super) process: Option<ProcessId>,
    /// Number of ranks started.
    pub ranks: u32,
    /// Version of Convoy.
    pub version: String,
    /// Id of the run's first claim, which shows whether this claim belongs to the run that is in the folder now. `None` in
    /// claims of older versions.
    #[serde(default)]
    pub(super) first: Option<String>,
    /// Milliseconds that the claim lasts without a sign of life. `None` in claims of older versions.
    #[serde(default)]
    pub(super) expiry_ms: Option<u64>,
}

/// Identity of the claim that a process belongs to, checked wherever it commits or deletes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// Number of the attempt.
    pub number: u32,
    /// Id of the claim.
    pub id: String,
}

impl Claim {
    /// Returns the tag in the names of all that the attempt puts.
    pub fn tag(&self) -> &str {
        self.id.get(..TAG_CHARACTERS).unwrap_or(&self.id)
    }

    /// Returns a name for a save of `step` by the attempt of this claim, with `random` letters and digits.
    pub fn name_checkpoint(&self, step: u64, random: &str) -> CheckpointName {
        CheckpointName::tagged(step, self.number, self.tag(), random)
    }

    /// Returns whether the attempt of this claim has saved the checkpoint `name`, as far as the name tells.
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

    /// Returns the claim's number and id.
    pub fn claim(&self) -> Claim {
        Claim { number: self.attempt, id: self.id.clone() }
    }

    pub(super) fn claim_name(&self) -> String {
        claim_name(self.attempt)
    }

    pub(super) fn alive_name(&self) -> String {
        format!("{:04}.alive", self.attempt)
    }

    /// Describes the claimant for people.
    pub fn claimant(&self) -> String {
        format!("process {} on host {}, {}", self.pid, self.host, count(self.ranks))
    }
}

fn count(ranks: u32) -> String {
    if ranks == 1 { "1 rank".to_owned() } else { format!("{ranks} ranks") }
}

/// Returns the name of claim `number`.
pub(super) fn claim_name(number: u32) -> String {
    format!("{number:04}.json")
}

/// Who makes a claim.
#[derive(Debug, Clone)]
pub struct Claimant {
    /// Number of ranks that the claimant starts.
    pub ranks: u32,
    /// Time that a claim lasts without a refresh: `launch.claim_expiry_s`.
    pub expiry: Duration,
    /// Claim that this claimant holds already, if any.
    pub holds: Option<Claim>,
}
