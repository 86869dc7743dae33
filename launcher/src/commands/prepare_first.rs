//! Prepares the data of a run before its first step, where the data is not there and the config says from what.

use std::path::Path;

use common::config::{Backend, LaunchConfig, PrepareJobConfig, RawConfig, RunConfig};
use common::exit_code::ExitCode;
use common::preflight::Finding;
use common::secrets::without_secrets;
use common::shell::quoted;
use common::storage::{Folder, StorageError};
use common::token_shard::INDEX_NAME;
use common::tokenizer::Tokenizer;

use super::error::CommandError;
use super::prepare;
use super::target::Target;
use crate::backend::slurm;
use crate::cli::jobs::PrepareArgs;
use crate::cli::shared::TargetArgs;
use crate::error::LaunchError;
use crate::interrupts::Interrupts;
use crate::preflight::vocabulary;
use crate::view::terminal::to_stderr;

/// Folder of the training shards in `prepare.output`.
const TRAIN_FOLDER: &str = "train";

/// A prepare job whose output is to be trained on, and is not there yet.
pub struct Pending {
    job: PrepareJobConfig,
    /// Folder of the training shards.
    url: String,
}

/// Does what `launcher prepare` would do with the config, if what `data.train` names is not there and `[prepare]` makes it.
/// Returns its exit code, and the signals if it was followed: none is lost between preparing and training.
pub fn run(
    raw: &RawConfig,
    config: &RunConfig,
    args: &TargetArgs,
) -> Result<(ExitCode, Option<Interrupts>), LaunchError> {
    // The config in a run folder does not say how its data was prepared.
    let Target::Config(path) = Target::of(args)? else { return Ok((ExitCode::Done, None)) };
    if !raw.has_prepare_section() {
        return Ok((ExitCode::Done, None));
    }
    if let Some((place, command)) = elsewhere(&config.launch, &path)? {
        return match pending(raw, config)? {
            Some(Pending { url, .. }) => Err(CommandError::NotPrepared { url, place, command }.into()),
            None => Ok((ExitCode::Done, None)),
        };
    }
    let mut interrupts = Interrupts::install().map_err(LaunchError::system("handle signals"))?;
    let leaving = interrupts.leave_meanwhile("the data");
    let pending = pending(raw, config)?;
    drop(leaving);
    let Some(Pending { job, url }) = pending else { return Ok((ExitCode::Done, Some(interrupts))) };
    to_stderr(&format!("{url} is not there yet: it is prepared first, as [prepare] says"));
    let args =
        PrepareArgs { command: None, config: args.clone(), launch: Default::default(), dry_run: false, json: false };
    let code = prepare::follow(args, path, &job.launch, &mut interrupts)?;
    match interrupts.poll() {
        Some(_) if code == ExitCode::Done => {
            to_stderr("stopped before the first step; run the same command to go on");
            Ok((ExitCode::Stopped, None))
        }
        _ => Ok((code, Some(interrupts))),
    }
}

/// Returns the job that makes what `data.train` of `config` names, if that is not there. Whether it is there must be certain: a
/// store that does not answer is left to those who read the data. The URLs of `config` are absolute.
pub fn pending(raw: &RawConfig, config: &RunConfig) -> Result<Option<Pending>, LaunchError> {
    let is_there =
        |url: &String| -> Result<bool, StorageError> { Folder::open(url, &config.storage)?.exists(INDEX_NAME) };
    let is_absent = |url: &&String| is_there(url).is_ok_and(|is_there| !is_there);
    let absent: Vec<&String> = config.data.train.iter().map(|source| &source.url).filter(is_absent).collect();
    if absent.is_empty() || !raw.has_prepare_section() {
        return Ok(None);
    }
    let job = raw.clone().prepare()?;
    let url = Folder::open(&job.prepare.output, &job.storage)?.folder(TRAIN_FOLDER).url().to_owned();
    let names_it = |named: &&&String| Folder::open(named, &config.storage).is_ok_and(|set| set.url() == url);
    Ok(absent.iter().find(names_it).map(|_| Pending { job, url: url.clone() }))
}

/// Returns the place, if this process does not start the ranks of `launch` itself, and a command that prepares the data first.
fn elsewhere(launch: &LaunchConfig, config: &Path) -> Result<Option<(&'static str, String)>, LaunchError> {
    let config = quoted(&config.display().to_string());
    Ok(match launch.backend {
        Backend::Local | Backend::Mpirun => None,
        Backend::Slurm if slurm::allocation(launch)?.is_some() => None,
        Backend::Slurm => {
            Some(("a batch job of Slurm", format!("`launcher prepare --config {config} --backend slurm`")))
        }
        Backend::Kubernetes => Some((
            "an MPIJob",
            format!(
                "`launcher prepare --config {config} --backend local --ranks 1` on a machine that reaches its stores, or as a Job, \
                 from a config that has no [run] (k8s/README.md)"
            ),
        )),
    })
}

impl Pending {
    /// Returns findings about data that does not exist yet: about its tokenizer, and what is going to happen.
    pub fn findings(&self, config: &RunConfig) -> Vec<Finding> {
        let inputs = self.job.prepare.inputs.join(", ");
        let inputs = without_secrets(&inputs);
        let text = format!("{}: not there yet; `launcher train` prepares it first, from {inputs}", self.url);
        let tokenizer = match Tokenizer::open(&config.data.tokenizer, &config.storage) {
            Ok(tokenizer) => vocabulary::check(config, &tokenizer),
            Err(error) => Finding::failed("tokenizer", error.to_string()),
        };
        vec![tokenizer, Finding::warning("training data", text)]
    }
}
