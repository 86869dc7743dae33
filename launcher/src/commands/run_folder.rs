//! Opens the run folder that a command looks at, and puts requests to the holder of the run into it.

use common::attempt::{self, Attempt, Request};
use common::config::StorageConfig;
use common::storage::Folder;

use super::error::CommandError;
use super::target::{self, Target};
use crate::cli::shared::TargetArgs;
use crate::error::LaunchError;
use crate::view::terminal::to_stderr;

/// Opens the run folder that `args` name, which need not exist.
pub fn open(args: &TargetArgs) -> Result<Folder, LaunchError> {
    match Target::of(args)? {
        Target::Run(url) if args.overrides.is_empty() => Ok(Folder::open(&url, &StorageConfig::default())?),
        _ => {
            let config = target::config(args)?.run()?;
            Ok(Folder::open(&config.run.output, &config.storage)?)
        }
    }
}

/// Puts `request` to the attempt that holds `run`, and returns that attempt.
pub fn ask(run: &Folder, request: Request) -> Result<Attempt, LaunchError> {
    let Some(holding) = attempt::current(run)? else {
        return Err(CommandError::NothingTrains { url: run.url().to_owned() }.into());
    };
    attempt::ask(run, request)?;
    let holder = holding.attempt;
    to_stderr(&format!("asked attempt {} ({})", holder.attempt, holder.claimant()));
    Ok(holder)
}
