//! `launcher prepare`: runs the ranks of the prepare program, attempt after attempt, until the data is there.

use std::path::{Path, PathBuf};

use common::config::{LaunchConfig, RawConfig};
use common::exit_code::ExitCode;
use common::topology::Rank;
use common::worker_contract::{PROGRESS_MARK, PreparePhase, PrepareProgress};

use super::error::CommandError;
use super::following::{self, Listener};
use super::target::Target;
use super::{launching, overrides};
use crate::backend::RankProgram;
use crate::cli::jobs::PrepareArgs;
use crate::error::LaunchError;
use crate::interrupts::Interrupts;
use crate::programs;
use crate::view::prepare::PrepareView;
use crate::view::terminal::to_stdout;

/// Prepares to the end, until somebody stops it, or until another attempt would not help.
pub fn run(mut args: PrepareArgs) -> Result<ExitCode, LaunchError> {
    args.config.overrides.extend(overrides::of_launch(&args.launch));
    let path = config_file(&args)?;
    let config = RawConfig::load(&path, &args.config.overrides)?.prepare()?;
    if config.launch.backend == common::config::Backend::Kubernetes {
        return Err(CommandError::PrepareInCluster.into());
    }
    let json = args.json.then(|| "--json".to_owned());
    let script = launching::batch_script(&config.launch, "prepare", "prepare", Some(&args.config), json.as_slice())?;
    if let Some(script) = script {
        return launching::submit(&script);
    }
    let mut interrupts = Interrupts::install().map_err(LaunchError::system("handle signals"))?;
    follow(args, path, &config.launch, &mut interrupts)
}

/// Runs ranks on the config at `path` and the hosts of `launch`, attempt after attempt, to the end of the job.
pub fn follow(
    args: PrepareArgs,
    path: PathBuf,
    launch: &LaunchConfig,
    interrupts: &mut Interrupts,
) -> Result<ExitCode, LaunchError> {
    let arguments = Box::new(move |threads| job(&args, &path, threads));
    let program = RankProgram { executable: programs::prepare()?, arguments };
    let backend = launching::backend(launch, program, None)?;
    let mut shown = Shown { view: PrepareView::new(), last: None, pulse: 0 };
    following::follow(backend.as_ref(), launch, None, interrupts, &mut shown)
}

/// Returns the config file that `args` name. A run's own config does not say how its data was prepared.
fn config_file(args: &PrepareArgs) -> Result<PathBuf, LaunchError> {
    match Target::of(&args.config)? {
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
struct Shown {
    view: PrepareView,
    last: Option<(PreparePhase, u64)>,
    pulse: u64,
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
            let now = Some((progress.phase, progress.done));
            if self.last != now {
                self.last = now;
                self.pulse += 1;
            }
        }
    }

    fn done(&self) -> u64 {
        self.view.bytes_done()
    }

    fn pulse(&self) -> u64 {
        self.pulse
    }

    fn say(&self, text: &str) {
        self.view.say(text);
    }

    fn end(&mut self) {
        self.view.end();
    }
}
