//! Follows ranks without control connections to the end of their job, attempt after attempt: ranks that say how far they are by
//! lines on standard output, and whose work is kept where it was when they are killed.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use common::config::LaunchConfig;
use common::exit_code::ExitCode;
use common::random;
use common::topology::Rank;
use common::worker_contract::StartLine;

use crate::backend::{AttemptStart, Backend, Ranks};
use crate::cause::Cause;
use crate::cause::evidence::{Evidence, Killed};
use crate::cause::words::{is_error, says_that_mpi_failed};
use crate::error::LaunchError;
use crate::event::{Event, Stream};
use crate::interrupts::Interrupts;
use crate::supervise;
use crate::supervise::restart::{Decision, RestartPolicy};

/// Longest pause between looks at signals when the ranks say nothing.
const TICK: Duration = Duration::from_millis(100);
/// How long output of ended processes may still be on its way.
const DRAIN: Duration = Duration::from_secs(5);
/// How long ranks without MPI may continue, to say why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a job's ranks print, and what a person sees of it.
pub trait Listener {
    /// An attempt begins: what ranks of the last one have said of their progress is over.
    fn begin(&mut self);

    /// Hears a line that `rank` has printed to standard output.
    fn hear(&mut self, rank: Rank, line: &str);

    /// Returns how far the job is, over all attempts. A number that has not been reached before is progress.
    fn done(&self) -> u64;

    /// Returns a number that changes whenever a rank advances.
    fn pulse(&self) -> u64;

    /// Shows `text` as a line of its own.
    fn say(&self, text: &str);

    /// Ends a bar: there is no progress for now.
    fn end(&mut self);
}

/// Runs the ranks of `backend` until the job is done, until somebody stops it, or until another attempt would not help.
pub fn follow(
    backend: &dyn Backend,
    launch: &LaunchConfig,
    start_line: Option<&StartLine>,
    interrupts: &mut Interrupts,
    listener: &mut dyn Listener,
) -> Result<ExitCode, LaunchError> {
    let mut policy = RestartPolicy::new(launch.max_restarts);
    for attempt in 1.. {
        listener.begin();
        let mut following = Following {
            listener: &mut *listener,
            has_several_ranks: false,
            mpirun_words: Vec::new(),
            first_error: None,
            stall_timeout_s: launch.stall_timeout_s,
            moved: Instant::now(),
            last_pulse: 0,
            without_mpi: None,
        };
        let Some(cause) = following.attempt(attempt, (backend, start_line), interrupts)? else {
            listener.say("stopped; run the same command to go on");
            return Ok(ExitCode::Stopped);
        };
        if cause.code == ExitCode::Done {
            break;
        }
        // For other codes, a rank has already reported the cause.
        if cause.code == ExitCode::Communication {
            listener.say(&cause.block(attempt, &[]));
        }
        policy.reached(listener.done());
        match policy.decide(cause.code, random::fraction()) {
            Decision::GiveUp => return Ok(cause.code),
            Decision::OutOfBudget { restarts } => {
                listener.say(&format!(
                    "giving up after {restarts} restarts without progress; mend the cause above and run the same \
                     command to go on"
                ));
                return Ok(cause.code);
            }
            Decision::Restart { delay, left } => {
                listener.say(&format!("restarting in {:.1} s ({left} more without progress)", delay.as_secs_f64()));
                if !supervise::wait(delay, interrupts) {
                    return Ok(ExitCode::Stopped);
                }
            }
        }
    }
    Ok(ExitCode::Done)
}

struct Following<'a> {
    listener: &'a mut dyn Listener,
    has_several_ranks: bool,
    /// Lines that mpirun itself has printed.
    mpirun_words: Vec<String>,
    /// First error that a rank has printed.
    first_error: Option<(Rank, String)>,
    stall_timeout_s: u64,
    /// When the ranks were last seen to advance, and the pulse of then.
    moved: Instant,
    last_pulse: u64,
    /// When a rank said that MPI could not start, and which rank.
    without_mpi: Option<(Instant, Option<Rank>)>,
}

impl Following<'_> {
    /// Follows the ranks to their end; returns `None` if somebody asked for it.
    fn attempt(
        &mut self,
        number: u32,
        (backend, start_line): (&dyn Backend, Option<&StartLine>),
        interrupts: &mut Interrupts,
    ) -> Result<Option<Cause>, LaunchError> {
        let (sender, events) = mpsc::channel();
        let signalled = interrupts.signalled();
        let leaving = interrupts.leave_meanwhile("the hosts");
        let started = backend.place().and_then(|placement| {
            self.has_several_ranks = placement.world_size.get() > 1;
            for (host, reason) in &placement.left_out {
                self.listener.say(&format!("host {host} is left out of this attempt: {reason}"));
            }
            let start = AttemptStart { number, placement: &placement, start_line, gives_up: &signalled };
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
                return self.stop(ranks.as_mut());
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
        self.listener.end();
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
        match (rank, stream) {
            (Some(rank), Stream::Out) => {
                self.listener.hear(rank, &line);
                let pulse = self.listener.pulse();
                if self.last_pulse != pulse {
                    (self.last_pulse, self.moved) = (pulse, Instant::now());
                }
            }
            (Some(rank), Stream::Err) if self.has_several_ranks && !line.starts_with("error: ") => {
                self.listener.say(&format!("rank {rank}: {line}"));
            }
            (Some(_), Stream::Err) => self.listener.say(&line),
            (None, _) => self.mpirun_words.push(line),
        }
    }

    /// Kills the ranks. Nothing is lost: what they have put into their store counts.
    fn stop(&mut self, ranks: &mut dyn Ranks) -> Result<Option<Cause>, LaunchError> {
        self.listener.end();
        ranks.finish().map_err(LaunchError::system("wait for the ranks"))?;
        Ok(None)
    }
}
