//! Why a command cannot do what its arguments ask for.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use common::exit_code::ExitCode;
use evaluation::tasks::ChoiceError;

/// Why a command cannot do what its arguments ask for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// What was named on the command line cannot be a checkpoint.
    #[error("{name:?} is no checkpoint's name; `launcher checkpoints list` shows them")]
    NotACheckpoint {
        /// What was given.
        name: String,
    },
    /// A run cannot go on from what `--from` names.
    #[error(
        "--from {from:?} is neither a number of steps nor a checkpoint's name; `launcher checkpoints list` shows both"
    )]
    NotAStart {
        /// What was given.
        from: String,
    },
    /// Whoever runs an attempt for another launcher cannot choose where it starts.
    #[error("--from and --from-scratch are for whoever claims the attempt")]
    NotTheClaimant,
    /// The environment names no attempt to run for another launcher.
    #[error("{variable}={given:?} is not the number of an attempt")]
    NotAnAttempt {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        given: OsString,
    },
    /// There is no checkpoint to copy.
    #[error("no checkpoint is committed in {url}")]
    NoneCommitted {
        /// The run folder.
        url: String,
    },
    /// Nothing says which checkpoints stay.
    #[error("{url} has no config.toml that says what stays; give --keep-last")]
    NoRetention {
        /// The run folder.
        url: String,
    },
    /// There is no attempt to ask something of.
    #[error("nothing trains in {url}; `launcher train` starts it")]
    NothingTrains {
        /// The run folder.
        url: String,
    },
    /// The attempt that was asked to stop goes on.
    #[error("attempt {attempt} ({claimant}) has not ended within {wait_s} s; it saves first: see `launcher status`")]
    NotEnded {
        /// Its number.
        attempt: u32,
        /// Who holds it.
        claimant: String,
        /// How long this command has waited.
        wait_s: u64,
    },
    /// The attempt that was asked for a checkpoint has not committed it.
    #[error("no checkpoint within {wait_s} s; it may still come: see `launcher checkpoints list`")]
    NotSaved {
        /// How long this command has waited.
        wait_s: u64,
    },
    /// The attempt that was asked for a checkpoint is over.
    #[error("attempt {attempt} ended without another checkpoint")]
    EndedUnsaved {
        /// Its number.
        attempt: u32,
    },
    /// The argument and `--config` name different things.
    #[error("{target:?} and --config {} are two different things; give one of them", config.display())]
    TwoTargets {
        /// The argument.
        target: String,
        /// Value of `--config`.
        config: PathBuf,
    },
    /// There is no folder where a run was named.
    #[error(
        "there is no folder {url}; expected a run folder, which `launcher train` makes, or a run's config, a file such as run.toml"
    )]
    NoFolder {
        /// URL at which it was looked for.
        url: String,
    },
    /// What was named is no config, and no folder of a run that has started.
    #[error(
        "{url} has no config.toml, as the folder of a run has that has started; give the run's config, a file such as run.toml"
    )]
    NoConfig {
        /// The folder.
        url: String,
    },
    /// A run folder has no config of a prepare job.
    #[error("{url:?} is a run folder, which does not say how data is prepared; give a config with [prepare]")]
    PrepareOfRun {
        /// The run folder, as given.
        url: String,
    },
    /// Only a cluster goes on where nobody watches.
    #[error("--detach needs --backend kubernetes: only a cluster goes on by itself")]
    DetachedHere,
    /// The data is not there, and a scheduler or a cluster would start the ranks that could prepare it.
    #[error(
        "{url} is not prepared yet, and {place} only trains; prepare it first, with {command}, and then run this command again"
    )]
    NotPrepared {
        /// Folder of the training data.
        url: String,
        /// Where the ranks would run.
        place: &'static str,
        /// Command that prepares the data.
        command: String,
    },
    /// Items have scores only where a checkpoint is evaluated.
    #[error("--samples needs scores, and only the overlap is asked for; name a checkpoint or a run, or leave it out")]
    SamplesOfOverlap,
    /// The list of tasks is refused.
    #[error("--tasks: {0}; `launcher eval --list` shows all tasks")]
    Tasks(#[from] ChoiceError),
    /// The tasks of a config are refused.
    #[error("evaluation.tasks: {0}; `launcher eval --list` shows all tasks")]
    TasksOfConfig(#[source] ChoiceError),
    /// A checkpoint is in no run folder, where scores would be kept.
    #[error("{url} belongs to no run folder, in which its scores would be kept; give a folder for them with --output")]
    NoOutput {
        /// URL of the checkpoint.
        url: String,
    },
    /// What the ranks have put into the store as a result is none.
    #[error("{url} does not have the results of an evaluation: {reason}; remove it and evaluate again")]
    NotResults {
        /// URL of the object.
        url: String,
        /// Why.
        reason: String,
    },
    /// A file that was asked for cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Unwritable {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The manual's files cannot be written.
    #[error("cannot write manual pages and completions below {folder}: {source}")]
    Manual {
        /// The folder that was given.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
}

impl CommandError {
    /// Returns the exit code of the launcher.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            CommandError::NotResults { .. } | CommandError::Unwritable { .. } => ExitCode::Data,
            _ => ExitCode::Config,
        }
    }
}
