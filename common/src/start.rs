//! Decides whether a run may start with a config, from the contents of its folder.
//!
//! The decision comes before anything is claimed or started, so that a refusal leaves the run as it was and is reported
//! once. Ranks decide again on what only they can see: which checkpoints are whole, what their hosts hold, and the data.

use crate::attempt::History;
use crate::checkpoint_layout::{CHECKPOINTS_FOLDER, CheckpointName, Manifest};
use crate::checkpoint_store::Found;
use crate::checkpoint_store::{self, CheckpointStoreError, read_manifest};
use crate::config::change::{DataIdentity, consent, differences};
use crate::config::{ConfigError, RawConfig, RunConfig};
use crate::exit_code::ExitCode;
use crate::storage::{Folder, StorageError};

/// Checkpoint that a run is to continue from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The newest checkpoint that counts, or the beginning if the run never had one.
    Newest,
    /// The checkpoint of this step, among those that count.
    Step(u64),
    /// This checkpoint, even if a later attempt has left it behind.
    Named(CheckpointName),
    /// The beginning, even if there are checkpoints.
    Scratch,
}

/// Why a run may not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The run folder cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The wanted checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointStoreError),
    /// The config of a checkpoint is invalid for this version.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The checkpoint cannot be continued with this config.
    #[error("{0}")]
    Refused(String),
    /// No checkpoint is left to continue from.
    #[error(
        "{run}: there is no checkpoint to go on from, but earlier attempts have saved one after step {step}: deleted, or moved? Put it \
         back (`launcher checkpoints copy`), or begin anew: the same command with --from-scratch"
    )]
    Lost {
        /// URL of the run.
        run: String,
        /// Last step that is known to have been saved.
        step: u64,
    },
    /// The wanted checkpoint does not exist.
    #[error("{run} has no checkpoint {wanted} to go on from; there are {there}")]
    NotThere {
        /// URL of the run.
        run: String,
        /// The wanted checkpoint, as given.
        wanted: String,
        /// Description of the checkpoints that exist.
        there: String,
    },
}

impl StartError {
    /// Returns the exit code of a process that ends because of this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            StartError::Storage(error) => error.exit_code(),
            StartError::Checkpoint(error) => error.exit_code(),
            StartError::Config(_) | StartError::Refused(_) | StartError::NotThere { .. } => ExitCode::Config,
            StartError::Lost { .. } => ExitCode::Data,
        }
    }
}

/// Returns the name of the checkpoint that `run` would continue from as `wanted`, if it is known. Refuses a start that
/// is impossible, as far as the run folder, and the `data` if known, tell. Config keys in `accepted` may differ from the
/// checkpoint's.
pub fn look(
    run: &Folder,
    (config, accepted): (&RunConfig, &[String]),
    data: Option<&DataIdentity>,
    wanted: &Wanted,
) -> Result<Option<CheckpointName>, StartError> {
    let manifest = match wanted {
        Wanted::Scratch => return Ok(None),
        // Checkpoints on the hosts of the ranks may be newer, and have another config.
        Wanted::Newest if !config.checkpoint.local_dir.is_empty() => return Ok(None),
        Wanted::Newest => newest(run, config.train.max_steps)?,
        Wanted::Step(step) => {
            let is_it = |found: &Found| found.counts() && found.name.step == *step;
            Some(read_manifest(run, &find(run, &format!("of step {step}"), is_it)?)?)
        }
        Wanted::Named(name) => {
            let is_it = |found: &Found| found.committed && found.name == *name;
            Some(read_manifest(run, &find(run, &name.to_string(), is_it)?)?)
        }
    };
    let Some(manifest) = manifest else { return Ok(None) };
    let name = manifest.name.to_string();
    let saved = RawConfig::parse(&name, &manifest.config, &[])?.run()?;
    let mut found = differences(&saved, config);
    let of_checkpoint =
        DataIdentity { tokenizer_hash: manifest.tokenizer_hash.clone(), sequences: manifest.data_sequences };
    found.extend(data.iter().flat_map(|data| of_checkpoint.differences(data)));
    consent(&name, found, accepted).map_err(StartError::Refused)?;
    Ok(Some(manifest.name))
}

/// Returns the manifest of the newest readable checkpoint that a run continues by itself. Damage is for the ranks to judge.
fn newest(run: &Folder, max_steps: u64) -> Result<Option<Manifest>, StartError> {
    let counting: Vec<Found> = checkpoint_store::list(run)?.into_iter().filter(Found::counts).collect();
    if counting.is_empty() {
        let before = History::read(run)?.newest().saturating_add(1);
        refuse_if_lost(run, before)?;
    }
    for found in counting.iter().rev() {
        match read_manifest(run, &found.name) {
            Ok(manifest) if passed_over(run, &manifest, max_steps)?.is_some() => {}
            Ok(manifest) => return Ok(Some(manifest)),
            Err(CheckpointStoreError::Storage(StorageError::NotFound { .. })) => {}
            Err(CheckpointStoreError::Storage(error)) => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(None)
}

/// Fails if `run` has no checkpoint that counts although attempts before number `before` have had one, since only a person
/// may decide to begin anew. Records that have been written since, under the number of a future attempt, belong to an
/// earlier run in this folder.
pub fn refuse_if_lost(run: &Folder, before: u32) -> Result<(), StartError> {
    match History::read(run)?.saved_step(run, before)? {
        None => Ok(()),
        Some(step) => Err(StartError::Lost { run: run.url().to_owned(), step }),
    }
}

/// Returns why a run of `max_steps` steps does not continue by itself from the checkpoint of `manifest`: it was saved while
/// updates were being skipped, so it contains the cause of that. Returns `None` if the run does continue, also because
/// somebody has chosen this checkpoint, or because it is the end of the run.
pub fn passed_over(run: &Folder, manifest: &Manifest, max_steps: u64) -> Result<Option<String>, StorageError> {
    let Manifest { name, skipped_in_a_row, .. } = manifest;
    if *skipped_in_a_row == 0 || name.step >= max_steps || History::read(run)?.starts_from(name) {
        return Ok(None);
    }
    let updates = if *skipped_in_a_row == 1 { "an update".to_owned() } else { format!("{skipped_in_a_row} updates") };
    Ok(Some(format!(
        "{name} was saved when {updates} had just been skipped (norm not finite, or an outlier); `launcher train --from {}` goes on \
         from it",
        name.step
    )))
}

fn find(run: &Folder, wanted: &str, is_it: impl Fn(&Found) -> bool) -> Result<CheckpointName, StartError> {
    let found = checkpoint_store::list(run)?;
    if let Some(found) = found.iter().rfind(|found| is_it(found)) {
        return Ok(found.name.clone());
    }
    let steps: Vec<String> =
        found.iter().filter(|found| found.counts()).map(|found| found.name.step.to_string()).collect();
    let there = match steps.len() {
        0 => format!("none in {CHECKPOINTS_FOLDER}/"),
        _ => format!("those of step {}", steps.join(", ")),
    };
    Err(StartError::NotThere { run: run.url().to_owned(), wanted: wanted.to_owned(), there })
}
