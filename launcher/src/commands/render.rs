//! `launcher render`: what a backend would run.

use common::config::RawConfig;
use common::worker_contract::ExitCode;

use super::{launching, train};
use crate::cli::RenderArgs;
use crate::error::LaunchError;
use crate::progress::to_stdout;

/// Prints it.
pub fn run(mut args: RenderArgs) -> Result<ExitCode, LaunchError> {
    args.config.overrides.extend(launching::overrides(&args.launch));
    let mut config = RawConfig::load(&args.config.config, &args.config.overrides)?.run()?;
    config.make_urls_absolute()?;
    to_stdout(train::backend(&config)?.render()?.trim_end());
    Ok(ExitCode::Done)
}
