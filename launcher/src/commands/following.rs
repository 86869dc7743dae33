//! Follows ranks without control connections to the end of their job, attempt after attempt: ranks that say how far they are by
//! lines on standard output, and whose work is kept where it was when they are killed.
//!
//! In a cluster two launchers share that: [`follow`] decides and shows, and [`relay`] runs an attempt beside the ranks.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use common::config::LaunchConfig;
use common::exit_code::ExitCode;
use common::random;
use common::topology::Rank;
use common::worker_contract::{PROGRESS_MARK, PreparePhase, PrepareProgress, StartLine};

use crate::backend::relay::Relay;
use crate::backend::{AttemptStart, Backend, Ranks};
use crate::cause::Cause;
use crate::cause::evidence::{Evidence, Killed};
use crate::cause::said_errors::SaidErrors;
use crate::cause::words::{is_error, says_that_mpi_failed};
use crate::error::LaunchError;
use crate::event::{Event, Stream};
use crate::interrupts::{Interrupts, Request};
use crate::supervise;
use crate::supervise::restart::{Decision, RestartPolicy};
use crate::view::figures::counted;
use crate::view::terminal::to_stderr;

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
        let mut following = Following::new(&mut *listener, launch, None);
        let cause = following.attempt(attempt, (backend, start_line), interrupts)?;
        let is_explained = following.is_explained;
        let cause = cause.map(|cause| following.without_what_was_said(&cause));
        // Somebody may also have stopped the ranks where they run.
        let Some(cause) = cause.filter(|cause| cause.code != ExitCode::Stopped) else {
            listener.say("stopped; run the same command to go on");
            return Ok(ExitCode::Stopped);
        };
        if cause.code == ExitCode::Done {
            break;
        }
        // For other codes, a rank has already reported the cause, unless none could.
        if cause.code == ExitCode::Communication || !is_explained {
            listener.say(&cause.block(attempt, &[]));
        }
        policy.reached(listener.done());
        match policy.decide(cause.code, random::fraction()) {
            Decision::GiveUp => return Ok(cause.code),
            Decision::OutOfBudget { restarts } => {
                listener.say(&format!(
                    "giving up after {} without progress; mend the cause above and run the same command to go on",
                    counted(restarts.into(), "restart")
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

/// Runs one attempt for a launcher elsewhere, which follows it and starts the next one. Passes on what the ranks print, and why
/// they ended.
pub fn relay(
    backend: &dyn Backend,
    launch: &LaunchConfig,
    start_line: Option<&StartLine>,
    interrupts: &mut Interrupts,
    attempt: u32,
) -> Result<ExitCode, LaunchError> {
    let mut listener = BesideTheRanks::default();
    let mut following = Following::new(&mut listener, launch, Some(Relay::default()));
    let ended = following.attempt(attempt, (backend, start_line), interrupts);
    let cause = match &ended {
        Ok(Some(cause)) => cause.clone(),
        Ok(None) => Cause::new(ExitCode::Stopped, None, ExitCode::Stopped.meaning(), ""),
        Err(error) => Cause::new(error.exit_code(), None, "no ranks could be started", error.to_string()),
    };
    if let Some(relay) = &mut following.relay {
        relay.end(&cause);
    }
    ended.map(|_| cause.code)
}

/// Counts how often a prepare job has advanced.
#[derive(Debug, Default)]
pub struct PreparePulse {
    /// How far the job was last said to be.
    last: Option<(PreparePhase, u64)>,
    count: u64,
}

impl PreparePulse {
    /// Hears how far the job is. A job that stands still goes on saying so, which does not count.
    pub fn hear(&mut self, progress: &PrepareProgress) {
        let now = Some((progress.phase, progress.done));
        if self.last != now {
            self.last = now;
            self.count += 1;
        }
    }

    /// Returns the number, for [`Listener::pulse`].
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// Listens for a launcher that passes everything on: only whether the ranks advance matters to it.
#[derive(Default)]
struct BesideTheRanks {
    prepared: PreparePulse,
    /// Number of lines of progress of another job, whose ranks print them only when they advance.
    others: u64,
}

impl Listener for BesideTheRanks {
    fn begin(&mut self) {}

    fn hear(&mut self, _rank: Rank, line: &str) {
        let Some(progress) = line.strip_prefix(PROGRESS_MARK) else { return };
        match serde_json::from_str::<PrepareProgress>(progress) {
            Ok(progress) => self.prepared.hear(&progress),
            Err(_) => self.others += 1,
        }
    }

    fn done(&self) -> u64 {
        self.pulse()
    }

    fn pulse(&self) -> u64 {
        self.prepared.count() + self.others
    }

    fn say(&self, text: &str) {
        to_stderr(text);
    }

    fn end(&mut self) {}
}

struct Following<'a> {
    listener: &'a mut dyn Listener,
    /// Relay to the launcher elsewhere for which this one runs the attempt.
    relay: Option<Relay>,
    has_several_ranks: bool,
    /// Lines that mpirun itself has printed.
    mpirun_words: Vec<String>,
    /// First error that a rank has printed.
    first_error: Option<(Rank, String)>,
    /// Errors that ranks have printed.
    said: SaidErrors,
    /// Whether a rank of the attempt that has ended had printed an error, which a person has seen.
    is_explained: bool,
    /// Cause that the place where the ranks run reports.
    told: Option<Cause>,
    stall_timeout_s: u64,
    /// When the ranks were last seen to advance, and the pulse of then.
    moved: Instant,
    last_pulse: u64,
    /// When a rank said that MPI could not start, and which rank.
    without_mpi: Option<(Instant, Option<Rank>)>,
}

impl<'a> Following<'a> {
    fn new(listener: &'a mut dyn Listener, launch: &LaunchConfig, relay: Option<Relay>) -> Self {
        Following {
            listener,
            relay,
            has_several_ranks: false,
            mpirun_words: Vec::new(),
            first_error: None,
            said: SaidErrors::default(),
            is_explained: false,
            told: None,
            stall_timeout_s: launch.stall_timeout_s,
            moved: Instant::now(),
            last_pulse: 0,
            without_mpi: None,
        }
    }

    /// Follows the ranks to their end; returns `None` if somebody asked for it.
    fn attempt(
        &mut self,
        number: u32,
        (backend, start_line): (&dyn Backend, Option<&StartLine>),
        interrupts: &mut Interrupts,
    ) -> Result<Option<Cause>, LaunchError> {
        let (sender, events) = mpsc::channel();
        let mut ranks = match self.start(number, (backend, start_line), interrupts, &sender) {
            // Hosts and clusters that stay away cost an attempt, like a lost rank.
            Err(LaunchError::Hosts(reason)) => return Ok(Some(Cause::hosts_missing(reason))),
            Err(error @ LaunchError::Cluster { .. }) if error.exit_code().is_worth_a_restart() => {
                return Ok(Some(Cause::hosts_missing(error.to_string())));
            }
            started => started?,
        };
        drop(sender);
        let Ok(killed) = self.watch(ranks.as_mut(), &events, interrupts) else {
            self.stop(ranks.as_mut(), interrupts)?;
            return Ok(None);
        };
        let process = ranks.finish().map_err(LaunchError::system("wait for the ranks"))?;
        let until = Instant::now() + DRAIN;
        while let Ok(event) = events.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.on_event(event);
        }
        self.listener.end();
        let (mpirun_words, first_error) = (std::mem::take(&mut self.mpirun_words), self.first_error.take());
        self.is_explained = first_error.is_some();
        Ok(Some(Cause::of(&Evidence {
            first_failure: None,
            killed,
            told: self.told.take(),
            process,
            mpirun_words,
            first_error,
            last_heard: Vec::new(),
        })))
    }

    /// Starts the ranks where they are placed.
    fn start(
        &mut self,
        number: u32,
        (backend, start_line): (&dyn Backend, Option<&StartLine>),
        interrupts: &Interrupts,
        events: &Sender<Event>,
    ) -> Result<Box<dyn Ranks>, LaunchError> {
        let signalled = interrupts.signalled();
        let leaving = interrupts.leave_meanwhile("the hosts");
        let placement = backend.place()?;
        self.has_several_ranks = placement.world_size.get() > 1;
        for (host, reason) in &placement.left_out {
            self.listener.say(&format!("host {host} is left out of this attempt: {reason}"));
        }
        // A start that gives way by itself takes back what it has begun.
        let leaving = (!backend.gives_way()).then_some(leaving);
        let start = AttemptStart { number, placement: &placement, start_line, gives_up: &signalled };
        let started = backend.start(&start, events);
        drop(leaving);
        started
    }

    /// Hears the ranks until they have ended, and kills them where they can go no further. Returns why it has killed them, or
    /// an error if somebody asked to stop.
    fn watch(
        &mut self,
        ranks: &mut dyn Ranks,
        events: &Receiver<Event>,
        interrupts: &mut Interrupts,
    ) -> Result<Option<Killed>, Request> {
        let mut killed = None;
        while !ranks.have_ended() {
            match events.recv_timeout(TICK) {
                Ok(event) => self.on_event(event),
                Err(RecvTimeoutError::Timeout) => {}
                // Every process has closed its outputs and is about to end.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
            }
            if let Some(request) = interrupts.poll() {
                return Err(request);
            }
            if let (None, Some((since, rank))) = (&killed, self.without_mpi)
                && since.elapsed() > LAST_WORDS
            {
                killed = Some(Killed::NoMpi { rank });
                ranks.kill();
            }
            let is_stalled = self.moved.elapsed() > Duration::from_secs(self.stall_timeout_s);
            if killed.is_none() && is_stalled && !ranks.are_watched_elsewhere() {
                killed = Some(Killed::Stalled { stall_timeout_s: self.stall_timeout_s });
                ranks.kill();
            }
        }
        Ok(killed)
    }

    fn on_event(&mut self, event: Event) {
        if let Some(relay) = &mut self.relay {
            relay.pass_on(&event);
        }
        match event {
            Event::Output { rank, stream, line } => self.on_output(rank, stream, line),
            Event::Notice { text } => self.listener.say(&text),
            Event::Ended { cause } => self.told = Some(cause),
            _ => {}
        }
    }

    fn on_output(&mut self, rank: Option<Rank>, stream: Stream, line: String) {
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
            // The other launcher shows it.
            (Some(_), Stream::Err) if self.relay.is_some() => {}
            (Some(rank), Stream::Err) if self.said.hear(rank, &line) => {}
            (Some(rank), Stream::Err) if self.has_several_ranks && !line.starts_with("error: ") => {
                self.listener.say(&format!("rank {rank}: {line}"));
            }
            (Some(_), Stream::Err) => self.listener.say(&line),
            (None, _) => self.mpirun_words.push(line),
        }
    }

    /// Returns `cause` without what ranks have said of it themselves.
    fn without_what_was_said(&self, cause: &Cause) -> Cause {
        let unsaid: Vec<&str> = cause.message.lines().filter(|line| !self.said.has(line)).collect();
        Cause { message: unsaid.join("\n"), ..cause.clone() }
    }

    /// Kills the ranks. Nothing is lost: what they have put into their store counts.
    fn stop(&mut self, ranks: &mut dyn Ranks, interrupts: &Interrupts) -> Result<(), LaunchError> {
        self.listener.end();
        if ranks.are_watched_elsewhere() {
            // The launcher beside the ranks may have to be told by a server that does not answer.
            interrupts.let_the_next_one_end_this_process(ExitCode::Stopped);
        }
        ranks.finish().map(drop).map_err(LaunchError::system("wait for the ranks"))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use common::config::RawConfig;
    use nix::sys::signal::Signal;

    use super::super::prepare::Shown;
    use super::*;
    use crate::cause::evidence::ProcessEnd;

    /// Keeps what a person would see.
    #[derive(Default)]
    struct Page {
        lines: RefCell<Vec<String>>,
    }

    impl Listener for Page {
        fn begin(&mut self) {}

        fn hear(&mut self, _rank: Rank, _line: &str) {}

        fn done(&self) -> u64 {
            0
        }

        fn pulse(&self) -> u64 {
            0
        }

        fn say(&self, text: &str) {
            self.lines.borrow_mut().push(text.to_owned());
        }

        fn end(&mut self) {}
    }

    /// Ranks that end after some looks at them, or when they are killed.
    struct FakeRanks {
        looks_left: usize,
    }

    impl Ranks for FakeRanks {
        fn signal(&self, _signal: Signal) {}

        fn have_ended(&mut self) -> bool {
            self.looks_left = self.looks_left.saturating_sub(1);
            self.looks_left == 0
        }

        fn kill(&mut self) {
            self.looks_left = 0;
        }

        fn finish(&mut self) -> std::io::Result<ProcessEnd> {
            Ok(ProcessEnd::Status(0))
        }
    }

    fn launch() -> LaunchConfig {
        let config = "prepare = { inputs = [\"a\"], output = \"b\" }";
        RawConfig::parse("of the test", config, &[]).unwrap().prepare().unwrap().launch
    }

    /// Returns why a prepare job is killed that has done 10 bytes, has been silent for longer than the limit, and then prints a
    /// line of progress for each number of bytes in `said`.
    fn killed_after(listener: &mut dyn Listener, said: &[u64]) -> Option<Killed> {
        let launch = launch();
        let mut following = Following::new(listener, &launch, None);
        let output = |done: &u64| {
            let bytes = format!(r#""done":{done},"done_before":0,"total":100,"text_bytes":0"#);
            let progress = format!(r#"{{"phase":"tokenizing",{bytes},"seconds":1.0}}"#);
            Event::Output { rank: Some(Rank(0)), stream: Stream::Out, line: format!("{PROGRESS_MARK}{progress}") }
        };
        following.on_event(output(&10));
        let limit = Duration::from_secs(launch.stall_timeout_s);
        following.moved = Instant::now().checked_sub(limit + Duration::from_secs(1)).unwrap();
        let (sender, events) = mpsc::channel();
        said.iter().for_each(|done| sender.send(output(done)).unwrap());
        let mut ranks = FakeRanks { looks_left: said.len() + 2 };
        following.watch(&mut ranks, &events, &mut Interrupts::install().unwrap()).unwrap()
    }

    #[test]
    fn a_prepare_job_is_stalled_if_it_does_not_advance_and_not_while_it_does() {
        let stalled = Some(Killed::Stalled { stall_timeout_s: launch().stall_timeout_s });
        for (said, expected) in [(&[] as &[u64], &stalled), (&[10, 10], &stalled), (&[11], &None), (&[12, 12], &None)] {
            assert_eq!(killed_after(&mut Shown::new(), said), *expected, "here, {said:?}");
            assert_eq!(killed_after(&mut BesideTheRanks::default(), said), *expected, "beside the ranks, {said:?}");
        }
    }

    #[test]
    fn a_line_of_progress_of_another_job_counts_each_time() {
        let mut listener = BesideTheRanks::default();
        for _ in 0..2 {
            listener.hear(Rank(1), &format!("{PROGRESS_MARK}{{\"phase\":\"scoring\",\"done\":5}}"));
            listener.hear(Rank(1), "something else");
        }
        assert_eq!(listener.pulse(), 2);
    }

    #[test]
    fn what_all_ranks_fail_for_is_shown_once_and_what_one_alone_says_is_shown_too() {
        let launch = launch();
        let mut page = Page::default();
        let mut following = Following::new(&mut page, &launch, None);
        following.has_several_ranks = true;
        let at = |second: u32| format!("2026-01-01T00:00:{second:02}Z");
        for (rank, line) in [
            (0, "a warning".to_owned()),
            (1, "a warning".to_owned()),
            (1, format!("{} ERROR rank 1: no field \"text\"", at(7))),
            (1, "in line 2".to_owned()),
            (0, format!("{} ERROR rank 0: no field \"text\"", at(8))),
            (0, "in line 2".to_owned()),
            (0, "and in line 3".to_owned()),
            (2, format!("{} ERROR rank 2: disk full", at(8))),
        ] {
            following.on_output(Some(Rank(rank)), Stream::Err, line);
        }
        let cause =
            Cause::new(ExitCode::Communication, Some(Rank(1)), "rank 1 failed", "no field \"text\"\nmpirun says so");
        assert_eq!(following.without_what_was_said(&cause).message, "mpirun says so");
        let shown = page.lines.into_inner();
        let expected = [
            "rank 0: a warning",
            "rank 1: a warning",
            "rank 1: 2026-01-01T00:00:07Z ERROR rank 1: no field \"text\"",
            "rank 1: in line 2",
            "rank 0: and in line 3",
            "rank 2: 2026-01-01T00:00:08Z ERROR rank 2: disk full",
        ];
        assert_eq!(shown, expected);
    }
}
