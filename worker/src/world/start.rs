//! The start of a job: rank 0 reads it, from the launcher or a file, and sends it to the other ranks.

use std::io::{self, BufRead};
use std::path::PathBuf;

use common::attempt::{Attempt, Claim};
use common::config::RawConfig;
use common::config::change::check_accepted;
use common::start::{self, Wanted};
use common::storage::Folder;
use common::worker_contract::{PROTOCOL_VERSION, START_LINE_BYTES_MAX, StartLine, read_line};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::claim::{claim, claim_told};
use super::error::WorldError;
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
                let line = read_start_line(&mut io::stdin().lock())?;
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
                check_accepted(accepted_changes, &config).map_err(JobError::RefusedChange)?;
                common::storage::make_urls_absolute(&mut config)?;
                let run = Folder::open(&config.run.output, &config.storage)?;
                start::look(&run, (&config, accepted_changes), None, &Wanted::Newest)?;
                let claim = claim(&run, &config, ranks)?;
                let (config, accepted_changes) = (config.to_toml(), accepted_changes.clone());
                Ok((Start { config, claim: claim.claim(), accepted_changes, control: None }, Some(claim)))
            }
        }
    }
}

/// The launcher's line on standard input. Its version is looked at first: that of another one may have other fields.
fn read_start_line(stdin: &mut impl BufRead) -> Result<StartLine, WorldError> {
    let broken = |reason: String| WorldError::NoStartLine { reason };
    let line: Option<Value> = read_line(stdin, START_LINE_BYTES_MAX).map_err(|error| broken(error.to_string()))?;
    let line = line.ok_or(WorldError::NoLauncher)?;
    match line["version"].as_u64() {
        Some(launcher) if launcher != u64::from(PROTOCOL_VERSION) => {
            Err(WorldError::OtherVersion { launcher, worker: PROTOCOL_VERSION })
        }
        _ => serde_json::from_value(line).map_err(|error| broken(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use common::exit_code::ExitCode;

    use super::*;

    fn refused(stdin: &str) -> (ExitCode, String) {
        let error = read_start_line(&mut stdin.as_bytes()).unwrap_err();
        (error.exit_code(), error.to_string())
    }

    #[test]
    fn a_start_line_that_cannot_be_read_is_a_bug() {
        let half = format!("{{\"version\":{PROTOCOL_VERSION},\"config\":\"[ru");
        let lacking = format!("{{\"version\":{PROTOCOL_VERSION}}}\n");
        for line in ["hello\n", "{}\n", &half, &lacking] {
            let (code, text) = refused(line);
            assert_eq!(code, ExitCode::Bug, "{line}");
            assert!(text.starts_with("standard input is not a launcher's start line: "), "{text}");
        }
    }

    #[test]
    fn a_launcher_of_another_version_is_a_persons_mistake_whatever_else_its_line_holds() {
        let (code, text) = refused("{\"version\":99,\"job\":[]}\n");
        assert_eq!(code, ExitCode::Config);
        assert!(
            text.contains("the launcher speaks protocol 99") && text.contains("build both from one source"),
            "{text}"
        );
    }

    #[test]
    fn a_person_who_types_from_launcher_is_not_a_bug() {
        assert_eq!(refused("").0, ExitCode::Config);
    }

    #[test]
    fn a_launchers_start_line_is_read_as_it_was_written() {
        let line = StartLine {
            version: PROTOCOL_VERSION,
            config: "[run]\n".into(),
            attempt: 3,
            claim_id: "x1".into(),
            accepted_changes: vec!["optimizer.beta1".into()],
            control_address: "127.0.0.1:1".into(),
            control_token: "t".into(),
        };
        let mut wire = Vec::new();
        common::worker_contract::write_line(&mut wire, &line).unwrap();
        assert_eq!(read_start_line(&mut wire.as_slice()).unwrap(), line);
    }
}
