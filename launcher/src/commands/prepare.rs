//! `launcher prepare`: runs the ranks of the prepare program, attempt after attempt, until the data is there. Questions about the
//! job are answered by one process of that program.

use std::path::{Path, PathBuf};
use std::process::Command;

use common::config::{Backend as BackendKind, LaunchConfig, PrepareJobConfig, RawConfig};
use common::exit_code::ExitCode;
use common::topology::Rank;
use common::worker_contract::{PROGRESS_MARK, PrepareProgress};

use super::error::CommandError;
use super::following::{self, Listener, PreparePulse};
use super::target::Target;
use super::{launching, overrides, prepare_cluster, sibling};
use crate::backend::{Backend, RankProgram};
use crate::cli::jobs::{ExplainArgs, PrepareArgs, PrepareCommand};
use crate::cli::shared::TargetArgs;
use crate::error::LaunchError;
use crate::interrupts::Interrupts;
use crate::programs;
use crate::view::prepare::PrepareView;
use crate::view::terminal::to_stdout;

/// Prepares to the end, until somebody stops it, or until another attempt would not help.
pub fn run(mut args: PrepareArgs) -> Result<ExitCode, LaunchError> {
    if let Some(PrepareCommand::Explain(args)) = &args.command {
        return explain(args);
    }
    args.config.overrides.extend(overrides::of_launch(&args.launch));
    if args.dry_run {
        let path = config_file(&args.config)?;
        return sibling::run(question("dry-run", &path, &args.config.overrides, args.json)?);
    }
    if args.render {
        to_stdout(rendered(args)?.trim_end());
        return Ok(ExitCode::Done);
    }
    let path = config_file(&args.config)?;
    let config = job_config(&args, &path)?;
    if args.detach {
        return prepare_cluster::detach(&config, &args);
    }
    if let Some(script) = script(&args, &config.launch)? {
        return launching::submit(&script);
    }
    let mut interrupts = Interrupts::install().map_err(LaunchError::system("handle signals"))?;
    match launching::handed()? {
        None => follow(args, path, &config, &mut interrupts),
        Some(attempt) => {
            let backend = backend(args, path, &config)?;
            following::relay(backend.as_ref(), &config.launch, None, &mut interrupts, attempt.number)
        }
    }
}

/// Runs ranks as `config`, read from `path`, says, attempt after attempt, to the end of the job.
pub fn follow(
    args: PrepareArgs,
    path: PathBuf,
    config: &PrepareJobConfig,
    interrupts: &mut Interrupts,
) -> Result<ExitCode, LaunchError> {
    let backend = backend(args, path, config)?;
    let mut shown = Shown::new();
    following::follow(backend.as_ref(), &config.launch, None, interrupts, &mut shown)
}

/// Returns exactly what would start the ranks: a command line, a script, or the objects of a cluster. The overrides of `args`
/// have the flags of the launch already.
pub fn rendered(args: PrepareArgs) -> Result<String, LaunchError> {
    let path = config_file(&args.config)?;
    let config = job_config(&args, &path)?;
    if args.detach {
        return prepare_cluster::rendered_supervisor(&config, &args);
    }
    match script(&args, &config.launch)? {
        Some(script) => Ok(script),
        None => backend(args, path, &config)?.render(),
    }
}

/// Reads the config at `path` with the overrides of `args`, and refuses flags that do not fit it.
fn job_config(args: &PrepareArgs, path: &Path) -> Result<PrepareJobConfig, LaunchError> {
    let raw = RawConfig::load(path, &args.config.overrides)?;
    let is_of_run = !raw.is_of_prepare_job();
    let mut config = raw.prepare()?;
    if is_of_run {
        prepare_cluster::leave_gpus_to_the_run(&mut config);
    }
    launching::check_detach(args.detach, &config.launch)?;
    Ok(config)
}

/// Returns the script of a batch job, if the ranks are left to Slurm and this process is not in a job yet.
fn script(args: &PrepareArgs, launch: &LaunchConfig) -> Result<Option<String>, LaunchError> {
    let json = args.json.then(|| "--json".to_owned());
    launching::batch_script(launch, "prepare", "prepare", Some(&args.config), json.as_slice())
}

/// Creates the backend that starts the ranks of `config`, which was read from `path`.
fn backend(args: PrepareArgs, path: PathBuf, config: &PrepareJobConfig) -> Result<Box<dyn Backend>, LaunchError> {
    if config.launch.backend == BackendKind::Kubernetes {
        return Ok(Box::new(prepare_cluster::backend(config, &args)?));
    }
    let arguments = Box::new(move |threads| job(&args, &path, threads));
    let program = RankProgram { executable: programs::prepare()?, arguments };
    launching::backend(&config.launch, program, None)
}

/// Prints what became of a document.
fn explain(args: &ExplainArgs) -> Result<ExitCode, LaunchError> {
    let path = config_file(&args.config)?;
    let mut command = question("explain", &path, &args.config.overrides, args.json)?;
    // After two dashes, so that it may begin with one.
    command.arg("--").arg(&args.document);
    sibling::run(command)
}

/// Returns the command that asks the prepare program about the job of the config at `path`.
pub fn question(name: &str, path: &Path, overrides: &[String], json: bool) -> Result<Command, LaunchError> {
    let mut command = Command::new(programs::prepare()?);
    command.arg(name).arg("--config").arg(path);
    command.args(overrides.iter().map(|given| format!("--set={given}")));
    command.args(json.then_some("--json"));
    Ok(command)
}

/// Returns the config file that `args` name. A run's own config does not say how its data was prepared.
fn config_file(args: &TargetArgs) -> Result<PathBuf, LaunchError> {
    match Target::of(args)? {
        Target::Config(path) => Ok(path),
        Target::Run(url) => Err(CommandError::PrepareOfRun { url }.into()),
    }
}

/// Returns the arguments of the prepare program, with the config at `path`.
fn job(args: &PrepareArgs, path: &Path, threads: u32) -> Vec<std::ffi::OsString> {
    let mut job = vec!["shards".into(), "--config".into(), path.as_os_str().to_owned()];
    job.extend(args.config.overrides.iter().map(|given| format!("--set={given}").into()));
    job.extend([format!("--threads={threads}").into(), "--progress-lines".into()]);
    job.extend(args.json.then(|| "--json".into()));
    job
}

/// Shows what the ranks print.
pub struct Shown {
    view: PrepareView,
    pulse: PreparePulse,
}

impl Shown {
    /// Creates the view of a job that begins.
    pub fn new() -> Self {
        Shown { view: PrepareView::new(), pulse: PreparePulse::default() }
    }
}

impl Listener for Shown {
    fn begin(&mut self) {}

    fn hear(&mut self, rank: Rank, line: &str) {
        let progress = line.strip_prefix(PROGRESS_MARK).filter(|_| rank.is_zero());
        let Some(progress) = progress else {
            self.view.end();
            return to_stdout(line);
        };
        // A partial line, from a rank that was killed, is ignored.
        if let Ok(progress) = serde_json::from_str::<PrepareProgress>(progress) {
            self.view.hear(&progress);
            self.pulse.hear(&progress);
        }
    }

    fn done(&self) -> u64 {
        self.view.bytes_done()
    }

    fn pulse(&self) -> u64 {
        self.pulse.count()
    }

    fn say(&self, text: &str) {
        self.view.say(text);
    }

    fn end(&mut self) {
        self.view.end();
    }
}
