//! Runs attempt after attempt, until the run is done, somebody stops it, or another attempt would not help.
//!
//! - [`job`]: data that all attempts of a launch share. [`hold`]: the claim on the run, from attempt to attempt.
//! - [`watch`]: one attempt, from the start of its ranks to the cause of its end.
//! - [`heard`]: what ranks were last heard to do. [`patience`]: how long they have stood still.
//! - [`pace`]: whether a step takes longer than a stop may. [`stragglers`]: which rank the others wait for.
//! - [`returning`]: polls hosts that were missing when the attempt started.
//! - [`restart`]: whether to start again, and when.
//!
//! Absent on purpose: how ranks are started and reached ([`crate::backend`], [`crate::control`]), and how evidence becomes a cause
//! ([`crate::cause`]).

mod heard;
mod hold;
pub mod job;
mod pace;
mod patience;
pub mod restart;
mod returning;
mod stragglers;
mod watch;

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::attempt::handed::Listener;
use common::attempt::{Claim, News, Request};
use common::checkpoint_store;
use common::exit_code::ExitCode;
use common::figures::counted;
use common::preflight::Verdict;
use common::start::{self, Wanted};
use serde_json::json;

use crate::backend::placement::Placement;
use crate::backend::relay::Relay;
use crate::error::{A_THREAD, LaunchError};
use crate::interrupts::Interrupts;
use crate::preflight;
use crate::run_folder::journal::Journal;
use crate::run_folder::logs::Logs;
use crate::view::train::View;
use common::random;
use hold::Hold;
use job::{Job, Seen};
use restart::{Decision, RestartPolicy};
use watch::{Audience, Outcome};

/// Longest pause between looks at signals during a back-off.
const TICK: Duration = Duration::from_millis(100);
/// Name, for people, of what the launcher waits for.
const THE_RUN_FOLDER: &str = "the run folder's store";

/// Runs `job` to its end. Returns the launcher's exit code, and what the ranks reported on the way.
pub fn run(job: &Job, interrupts: &mut Interrupts, view: &mut View) -> Result<(ExitCode, Seen), LaunchError> {
    if let Some(claim) = &job.handed {
        return handed_attempt(job, claim, interrupts, view);
    }
    let mut policy = RestartPolicy::new(job.config.launch.max_restarts);
    let mut seen = Seen::default();
    let mut hold = None;
    loop {
        let (code, journal) = match next_attempt(job, interrupts, view, &mut hold, &mut seen) {
            Ok(None) => {
                view.say("stopped while waiting for the run");
                return Ok((ExitCode::Stopped, seen));
            }
            Ok(Some((outcome, _))) if outcome.stop_requested => {
                if outcome.cause.code == ExitCode::Communication {
                    say_what_is_kept(job, interrupts, view);
                }
                return Ok((outcome.cause.code, seen));
            }
            // Nothing failed, so this restart costs no budget and needs no back-off.
            Ok(Some((outcome, journal))) if outcome.makes_way => {
                journal.note("restart", json!({ "delay_s": 0.0 }));
                continue;
            }
            Ok(Some((outcome, journal))) => (outcome.cause.code, Some(journal)),
            // A store, a host or a cluster that stays away costs an attempt here, as it does in a rank.
            Err(error @ (LaunchError::Storage(_) | LaunchError::Hosts(_) | LaunchError::Cluster { .. }))
                if error.exit_code().is_worth_a_restart() =>
            {
                view.say(&format!("no attempt could be started: {error}"));
                (error.exit_code(), None)
            }
            Err(error) => return Err(error),
        };
        let note = |kind: &str, details: serde_json::Value| {
            if let Some(journal) = &journal {
                journal.note(kind, details);
            }
        };
        policy.reached(seen.step_max);
        let jitter = random::fraction();
        match policy.decide(code, jitter) {
            Decision::GiveUp => return Ok((code, seen)),
            Decision::OutOfBudget { restarts } => {
                view.say(&format!(
                    "giving up after {} without progress; mend the cause above and run the same command to go on, or raise \
                     launch.max_restarts",
                    counted(restarts.into(), "restart")
                ));
                note("gave_up", json!({ "restarts": restarts }));
                return Ok((code, seen));
            }
            Decision::Restart { delay, left } => {
                let delay_s = delay.as_secs_f64();
                view.say(&format!("restarting in {delay_s:.1} s ({left} more without progress)"));
                note("restart", json!({ "delay_s": delay_s, "left": left }));
                if !wait(delay, interrupts) {
                    // No rank runs, and what was committed is whole: running the command again resumes from there.
                    view.say("stopped while waiting to restart");
                    let attempt = hold.as_ref().map_or(0, |hold| hold.claim.attempt);
                    let cause = "stopped while waiting to restart";
                    note("stopped", json!({ "attempt": attempt, "code": ExitCode::Stopped.number(), "cause": cause }));
                    drop_while_leaving(journal, interrupts);
                    return Ok((ExitCode::Stopped, seen));
                }
                drop_while_leaving(journal, interrupts);
            }
        }
    }
}

/// Claims the next attempt and follows it to its end. Returns `None` if somebody asked to stop before it was claimed.
fn next_attempt(
    job: &Job,
    interrupts: &mut Interrupts,
    view: &mut View,
    hold: &mut Option<Hold>,
    seen: &mut Seen,
) -> Result<Option<(Outcome, Journal)>, LaunchError> {
    let leaving = interrupts.leave_meanwhile(THE_RUN_FOLDER);
    if hold.is_none() {
        preflight(job)?;
    }
    drop(leaving);
    let leaving = interrupts.leave_meanwhile("the hosts");
    let placement = job.backend.place()?;
    drop(leaving);
    let leaving = interrupts.leave_meanwhile(THE_RUN_FOLDER);
    let Some(claimed) = Hold::claim((job, &placement), hold.as_ref(), interrupts, view)? else { return Ok(None) };
    let Hold { claim, news, .. } = hold.insert(claimed);
    drop(leaving);
    let journal = Journal::start(&job.run, claim.attempt).map_err(LaunchError::system(A_THREAD))?;
    let mut logs = Logs::start(&job.run, claim.attempt).map_err(LaunchError::system(A_THREAD))?;
    let audience = Audience { view, journal: &journal, logs: &mut logs, seen, relay: None };
    let outcome = one_attempt(job, (&claim.claim(), &placement), (interrupts, news), audience)?;
    if outcome.stop_requested {
        interrupts.let_the_next_one_end_this_process(outcome.cause.code);
        drop(logs);
    } else {
        let leaving = interrupts.leave_meanwhile(THE_RUN_FOLDER);
        drop(logs);
        drop(leaving);
    }
    Ok(Some((outcome, journal)))
}

/// Waits until all events are in the run folder, unless a signal ends the process first.
fn drop_while_leaving(journal: Option<Journal>, interrupts: &Interrupts) {
    let _leaving = interrupts.leave_meanwhile(THE_RUN_FOLDER);
    drop(journal);
}

/// Tells a person, after a stop in which ranks were killed, which checkpoint is left.
fn say_what_is_kept(job: &Job, interrupts: &Interrupts, view: &mut View) {
    interrupts.let_the_next_one_end_this_process(ExitCode::Communication);
    match checkpoint_store::newest(&job.run) {
        Ok(Some(name)) => view.say(&format!("kept: checkpoint {name}, from which the same command goes on")),
        Ok(None) => view.say("no checkpoint had been committed: the same command begins anew"),
        Err(error) => tracing::warn!("cannot look for the newest checkpoint: {error}"),
    }
}

/// Refuses, before anything is paid for, what needs no rank to be refused: a run that cannot continue with this config, and a
/// run folder that lets two runs in at once, or loses what is written.
fn preflight(job: &Job) -> Result<(), LaunchError> {
    let data = preflight::data::identity(&job.config)?;
    start::look(&job.run, (&job.config, &job.accepted_changes), data.as_ref(), &Wanted::Newest)?;
    let finding = preflight::storage::try_all(&job.run)?;
    if finding.verdict == Verdict::Failed { Err(LaunchError::Unfit(finding.text)) } else { Ok(()) }
}

/// Runs the single attempt that a launcher elsewhere has claimed and keeps alive. That launcher also keeps the logs, and
/// starts the next attempt.
fn handed_attempt(
    job: &Job,
    claim: &Claim,
    interrupts: &mut Interrupts,
    view: &mut View,
) -> Result<(ExitCode, Seen), LaunchError> {
    let (mut seen, mut logs) = (Seen::default(), Logs::not_kept());
    let (speaker, news) = channel();
    let asked_to_stop = interrupts.asked_to_stop();
    let _listener = Listener::start(&job.run, claim, move |heard| match heard {
        News::Asked(Request::Stop) => asked_to_stop.store(true, Ordering::Relaxed),
        other => drop(speaker.send(other)),
    })
    .map_err(LaunchError::system(A_THREAD))?;
    let journal = Journal::beside_the_ranks(&job.run, claim.number).map_err(LaunchError::system(A_THREAD))?;
    let relay = Some(Relay::default());
    let audience = Audience { view, journal: &journal, logs: &mut logs, seen: &mut seen, relay };
    let outcome = one_attempt(job, (claim, &job.backend.place()?), (interrupts, &news), audience)?;
    Ok((outcome.cause.code, seen))
}

fn one_attempt(
    job: &Job,
    (claim, placement): (&Claim, &Placement),
    (interrupts, news): (&mut Interrupts, &Receiver<News>),
    audience: Audience<'_>,
) -> Result<Outcome, LaunchError> {
    let Audience { view, journal, logs, seen, relay } = audience;
    let (attempt, ranks, threads) = (claim.number, placement.world_size.get(), placement.threads_per_rank);
    let hosts = placement.hosts.iter().map(|on| (&on.host, on.ranks)).collect::<Vec<_>>();
    let on_hosts = match hosts.len() {
        0 => String::new(),
        n => format!(" on {}", counted(n as u64, "host")),
    };
    let (on_ranks, of_threads) = (counted(ranks.into(), "rank"), counted(threads.into(), "thread"));
    view.begin(&format!("attempt {attempt}: {on_ranks}{on_hosts}, {of_threads} each"));
    journal.note(
        "attempt_started",
        json!({ "attempt": attempt, "ranks": ranks, "threads_per_rank": threads, "hosts": hosts }),
    );
    let places = placement.finding();
    if places.verdict != Verdict::Ok {
        view.finding(places.verdict, &places.line());
    }
    for (host, reason) in &placement.left_out {
        view.say(&format!("host {host} is left out of this attempt: {reason}"));
        journal.note("host_left_out", json!({ "host": host, "reason": reason }));
    }
    let audience = Audience { view: &mut *view, journal, logs: &mut *logs, seen: &mut *seen, relay };
    let outcome = watch::attempt(job, (claim, placement), (interrupts, news), audience)?;
    let cause = &outcome.cause;
    journal.note(
        "attempt_ended",
        json!({
            "attempt": attempt,
            "code": cause.code.number(),
            "cause": cause.headline,
            "message": cause.message,
            "stop_requested": outcome.stop_requested,
            "rank": cause.rank,
            "step": seen.step_max,
            "cleared_ms": outcome.cleared_in.as_millis() as u64,
        }),
    );
    view.end();
    if !matches!(cause.code, ExitCode::Done | ExitCode::Stopped) {
        view.say(&cause.block(attempt, &cause.rank.map(|rank| logs.tail(Some(rank))).unwrap_or_default()));
    }
    Ok(outcome)
}

/// Waits for `delay`. Returns false if somebody asked to stop meanwhile.
pub fn wait(delay: Duration, interrupts: &mut Interrupts) -> bool {
    let until = Instant::now() + delay;
    loop {
        if interrupts.poll().is_some() {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(TICK));
    }
}
