//! The start of a job: rank 0 reads it, from the launcher or a file, and sends it to the other ranks.

use std::io;
use std::path::PathBuf;

use common::attempt::{Attempt, Claim};
use common::config::RawConfig;
use common::config::change::check_accepted;
use common::start::{self, Wanted};
use common::storage::Folder;
use common::worker_contract::{PROTOCOL_VERSION, START_LINE_BYTES_MAX, StartLine, read_line};
use serde::{Deserialize, Serialize};

use super::claim::{claim, claim_told};
use crate::error::JobError;

/// Source from which rank 0 learns what to do.
pub enum Origin {
    /// A [`StartLine`] on standard input.
    Launcher,
    /// A config file, without starting a run.
    Look {
        /// Path of the config file.
        path: PathBuf,
        /// Values that override the file's.
        overrides: Vec<String>,
    },
    /// A config file of a run to start.
    File {
        /// Path of the config file.
        path: PathBuf,
        /// Values that override the file's.
        overrides: Vec<String>,
        /// Keys that may differ from the checkpoint's config.
        accepted_changes: Vec<String>,
    },
}

/// Message of rank 0 to the other ranks at the start.
#[derive(Serialize, Deserialize)]
pub(super) struct Start {
    pub config: String,
    pub claim: Claim,
    pub accepted_changes: Vec<String>,
    pub control: Option<(String, String)>,
}

impl Start {
    /// Reads, on rank 0, what to do. Without a launcher it also claims the attempt, and the caller must keep the
    /// claim.
    pub fn read(origin: &Origin, ranks: u32) -> Result<(Self, Option<Attempt>), JobError> {
        match origin {
            Origin::Launcher => {
                let line: StartLine = read_line(&mut io::stdin().lock(), START_LINE_BYTES_MAX)
                    .map_err(|error| {
                        JobError::Usage(format!("standard input is not a launcher's start line: {error}"))
                    })?
                    .ok_or_else(|| JobError::Usage("standard input ended before the launcher's start line".into()))?;
                if line.version != PROTOCOL_VERSION {
                    return Err(JobError::Usage(format!(
                        "the launcher speaks protocol {}, this worker {PROTOCOL_VERSION}: build both from one source",
                        line.version
                    )));
                }
                let claim = claim_told(&line)?;
                let listens = !line.control_address.is_empty();
                let control = listens.then_some((line.control_address, line.control_token));
                let StartLine { config, accepted_changes, .. } = line;
                Ok((Start { config, claim, accepted_changes, control }, None))
            }
            Origin::Look { path, overrides } => {
                let mut config = RawConfig::load(path, overrides)?.run()?;
                common::storage::make_urls_absolute(&mut config)?;
                let claim = Claim { number: 0, id: String::new() };
                let start = Start { config: config.to_toml(), claim, accepted_changes: Vec::new(), control: None };
                Ok((start, None))
            }
            Origin::File { path, overrides, accepted_changes } => {
                let mut config = RawConfig::load(path, overrides)?.run()?;
                check_accepted(accepted_changes, &config).map_err(JobError::Usage)?;
                common::storage::make_urls_absolute(&mut config)?;
                let run = Folder::open(&config.run.output, &config.storage)?;
                start::look(&run, (&config, accepted_changes), None, &Wanted::Newest)?;
                let claim = claim(&run, &config, ranks)?;
                let (config, accepted_changes) = (config.to_toml(), accepted_changes.clone());
                Ok((Start { config, claim: claim.claim(), accepted_changes, control: None }, Some(claim)))
            }
        }
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_else(|e| unreachable!("a start is JSON: {e}"))
    }

    pub fn from_json(bytes: &[u8]) -> Result<Self, JobError> {
        serde_json::from_slice(bytes).map_err(|error| {
            JobError::Usage(format!(
                "rank 0 sent a start that this rank cannot read: {error}; use one binary everywhere"
            ))
        })
    }
}
