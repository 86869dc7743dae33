//! `launcher prepare`: runs the ranks of the prepare program, attempt after attempt, until the data is there.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use common::config::{LaunchConfig, RawConfig};
use common::exit_code::ExitCode;
use common::topology::Rank;
use common::worker_contract::{PROGRESS_MARK, PreparePhase, PrepareProgress};

use super::error::CommandError;
use super::launching;
use super::target::Target;
use crate::backend::{AttemptStart, Backend, RankProgram, Ranks};
use crate::cause::Cause;
use crate::cause::evidence::{Evidence, Killed};
use crate::cause::words::{is_error, says_that_mpi_failed};
use crate::cli::jobs::PrepareArgs;
use crate::error::LaunchError;
use crate::event::{Event, Stream};
use crate::interrupts::Interrupts;
use crate::supervise::restart::{Decision, RestartPolicy};
use crate::view::prepare::PrepareView;
use crate::view::terminal::to_stdout;
use crate::{programs, supervise};
use common::random;

/// Longest pause between looks at signals when the ranks say nothing.
const TICK: Duration = Duration::from_millis(100);
/// How long output of ended processes may still be on its way.
const DRAIN: Duration = Duration::from_secs(5);
/// How long ranks without MPI may continue, to say why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Prepares to the end, until somebody stops it, or until another attempt would not help.
pub fn run(mut args: PrepareArgs) -> Result<ExitCode, LaunchError> {
    args.config.overrides.extend(launching::overrides(&args.launch));
    let path = config_file(&args)?;
    let config = RawConfig::load(&path, &args.config.overrides)?.prepare()?;
    if config.launch.backend == common::config::Backend::Kubernetes {
        return Err(CommandError::PrepareInCluster.into());
    }
    let json = args.json.then(|| "--json".to_owned());
    if let Some(script) = launching::batch_script(&config.launch, "prepare", "prepare", &args.config, json.as_slice())?
    {
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
    let mut policy = RestartPolicy::new(launch.max_restarts);
    let mut view = PrepareView::new();
    for attempt in 1.. {
        let mut following = Following {
            view: &mut view,
            has_several_ranks: false,
            mpirun_words: Vec::new(),
            first_error: None,
            stall_timeout_s: launch.stall_timeout_s,
            moved: Instant::now(),
            last_done: None,
            without_mpi: None,
        };
        let Some(cause) = following.attempt(attempt, backend.as_ref(), interrupts)? else {
            view.say("stopped; run the same command to go on");
            return Ok(ExitCode::Stopped);
        };
        if cause.code == ExitCode::Done {
            break;
        }
        // For other codes, a rank has already reported the cause.
        if cause.code == ExitCode::Communication {
            view.say(&cause.block(attempt, &[]));
        }
        policy.reached(view.bytes_done());
        match policy.decide(cause.code, random::fraction()) {
            Decision::GiveUp => return Ok(cause.code),
            Decision::OutOfBudget { restarts } => {
                view.say(&format!(
                    "giving up after {restarts} restarts without progress; mend the cause above and run the same \
                     command to go on"
                ));
                return Ok(cause.code);
            }
            Decision::Restart { delay, left } => {
                view.say(&format!("restarting in {:.1} s ({left} more without progress)", delay.as_secs_f64()));
                if !supervise::wait(delay, interrupts) {
                    return Ok(ExitCode::Stopped);
                }
            }
        }
    }
    Ok(ExitCode::Done)
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

struct Following<'a> {
    view: &'a mut PrepareView,
    has_several_ranks: bool,
    /// Lines that mpirun itself has printed.
    mpirun_words: Vec<String>,
    /// First error that a rank has printed.
    first_error: Option<(Rank, String)>,
    stall_timeout_s: u64,
    /// When the ranks were last seen to advance, and how far they had come.
    moved: Instant,
    last_done: Option<(PreparePhase, u64)>,
    /// When a rank said that MPI could not start, and which rank.
    without_mpi: Option<(Instant, Option<Rank>)>,
}

impl Following<'_> {
    /// Follows the ranks to their end; returns `None` if somebody asked for it.
    fn attempt(
        &mut self,
        number: u32,
        backend: &dyn Backend,
        interrupts: &mut Interrupts,
    ) -> Result<Option<Cause>, LaunchError> {
        let (sender, events) = mpsc::channel();
        let signalled = interrupts.signalled();
        let leaving = interrupts.leave_meanwhile("the hosts");
        let started = backend.place().and_then(|placement| {
            self.has_several_ranks = placement.world_size.get() > 1;
            for (host, reason) in &placement.left_out {
                self.view.say(&format!("host {host} is left out of this attempt: {reason}"));
            }
            let start = AttemptStart { number, placement: &placement, start_line: None, gives_up: &signalled };
            backend.start(&start, &sender)
        });
        drop(leaving);
        let mut ranks = match started {
            // Hosts that stay away cost an attempt, like a lost rank.
            Err(LaunchError::Hosts(reason)) => return Ok(Some(Cause::hosts_missing(reason))),
            started => started?,
        };
        drop(sender);
        let mut killed = None;
        while !ranks.have_ended() {
            match events.recv_timeout(TICK) {
                Ok(event) => self.on_event(event),
                Err(RecvTimeoutError::Timeout) => {}
                // Every process has closed its outputs and is about to end.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
            }
            if interrupts.poll().is_some() {
                return stop(self.view, ranks.as_mut());
            }
            if let (None, Some((since, rank))) = (&killed, self.without_mpi)
                && since.elapsed() > LAST_WORDS
            {
                killed = Some(Killed::NoMpi { rank });
                ranks.kill();
            }
            if killed.is_none() && self.moved.elapsed() > Duration::from_secs(self.stall_timeout_s) {
                killed = Some(Killed::Stalled { stall_timeout_s: self.stall_timeout_s });
                ranks.kill();
            }
        }
        let process = ranks.finish().map_err(LaunchError::system("wait for the ranks"))?;
        let until = Instant::now() + DRAIN;
        while let Ok(event) = events.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.on_event(event);
        }
        self.view.end();
        let (mpirun_words, first_error) = (std::mem::take(&mut self.mpirun_words), self.first_error.take());
        Ok(Some(Cause::of(&Evidence {
            first_failure: None,
            killed,
            told: None,
            process,
            mpirun_words,
            first_error,
            last_heard: Vec::new(),
        })))
    }

    fn on_event(&mut self, event: Event) {
        let Event::Output { rank, stream, line } = event else { return };
        if says_that_mpi_failed(&line) {
            self.without_mpi.get_or_insert((Instant::now(), rank));
        }
        if let (Some(rank), Stream::Err, None) = (rank, stream, &self.first_error) {
            self.first_error = is_error(&line).then(|| (rank, line.clone()));
        }
        match (rank, stream, line.strip_prefix(PROGRESS_MARK)) {
            (Some(Rank::ZERO), Stream::Out, Some(progress)) => {
                // A partial line, from a rank that was killed, is ignored.
                if let Ok(progress) = serde_json::from_str::<PrepareProgress>(progress) {
                    self.view.hear(&progress);
                    let done = Some((progress.phase, progress.done));
                    if self.last_done != done {
                        (self.last_done, self.moved) = (done, Instant::now());
                    }
                }
            }
            (Some(_), Stream::Out, _) => {
                self.view.end();
                to_stdout(&line);
            }
            (Some(rank), Stream::Err, _) if self.has_several_ranks && !line.starts_with("error: ") => {
                self.view.say(&format!("rank {rank}: {line}"));
            }
            (Some(_), Stream::Err, _) => self.view.say(&line),
            (None, _, _) => self.mpirun_words.push(line),
        }
    }
}

/// Kills the ranks. Nothing is lost: what they have put into the work folder counts.
fn stop(view: &mut PrepareView, ranks: &mut dyn Ranks) -> Result<Option<Cause>, LaunchError> {
    view.end();
    ranks.finish().map_err(LaunchError::system("wait for the ranks"))?;
    Ok(None)
}
