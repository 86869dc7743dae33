//! Opens the run folder that a command looks at, and puts requests to the holder of the run into it.

use common::attempt::{self, Attempt, Request};
use common::config::{RawConfig, StorageConfig};
use common::storage::Folder;

use super::error::CommandError;
use crate::cli::shared::RunArgs;
use crate::error::LaunchError;
use crate::view::terminal::to_stderr;

/// Opens the run folder that `args` name.
pub fn open(args: &RunArgs) -> Result<Folder, LaunchError> {
    if let Some(config) = &args.config {
        let config = RawConfig::load(config, &args.overrides)?.run()?;
        return Ok(Folder::open(&config.run.output, &config.storage)?);
    }
    let url = args.run.as_deref().unwrap_or_else(|| unreachable!("clap asks for one of the two"));
    Ok(Folder::open(url, &StorageConfig::default())?)
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
