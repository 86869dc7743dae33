//! `launcher render`: prints what a backend would run.

use common::config::{Backend, RawConfig};
use common::exit_code::ExitCode;

use super::error::CommandError;
use super::{launching, overrides, target, train};
use crate::backend::kubernetes::manifests;
use crate::backend::kubernetes::work::Work;
use crate::cli::jobs::RenderArgs;
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
        let config = raw.prepare()?;
        return match config.launch.backend {
            Backend::Kubernetes => Ok(manifests::to_yaml(&manifests::prepare(&config)?)),
            Backend::Local | Backend::Mpirun | Backend::Slurm => Err(CommandError::PrepareOnHosts.into()),
        };
    }
    let mut config = raw.run()?;
    if let Some(script) = launching::batch_script(&config.launch, &config.run.name, "train", Some(&args.config), &[])? {
        return Ok(script);
    }
    common::storage::make_urls_absolute(&mut config)?;
    if args.detach {
        return Ok(manifests::to_yaml(&manifests::supervisor(
            &config,
            &Work::Training { accepted_changes: Vec::new() },
        )?));
    }
    train::backend(&config, &[])?.render()
}
