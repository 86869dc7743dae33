//! `launcher render`: prints what a backend would run.

use common::config::RawConfig;
use common::exit_code::ExitCode;

use super::{launching, overrides, prepare, target, train};
use crate::backend::kubernetes::manifests;
use crate::backend::kubernetes::work::Work;
use crate::cli::jobs::{PrepareArgs, RenderArgs};
use crate::error::LaunchError;
use crate::view::terminal::to_stdout;

/// Prints what the backend of the config would run.
pub fn run(mut args: RenderArgs) -> Result<ExitCode, LaunchError> {
    args.config.overrides.extend(overrides::of_launch(&args.launch));
    args.config.overrides.extend(args.output.iter().map(|url| overrides::set("run.output", url)));
    let raw = target::config(&args.config)?;
    to_stdout(rendered(raw, &args)?.trim_end());
    Ok(ExitCode::Done)
}

fn rendered(raw: RawConfig, args: &RenderArgs) -> Result<String, LaunchError> {
    if raw.is_of_prepare_job() {
        let (config, detach) = (args.config.clone(), args.detach);
        return prepare::rendered(PrepareArgs { config, detach, ..PrepareArgs::default() });
    }
    let mut config = raw.run()?;
    launching::check_detach(args.detach, &config.launch)?;
    if let Some(script) = launching::batch_script(&config.launch, &config.run.name, "train", Some(&args.config), &[])? {
        return Ok(script);
    }
    common::storage::make_urls_absolute(&mut config)?;
    if args.detach {
        let work = Work::Training { config, accepted_changes: Vec::new() };
        return Ok(manifests::to_yaml(&manifests::supervisor(&work)?));
    }
    train::backend(&config, &[])?.render()
}
