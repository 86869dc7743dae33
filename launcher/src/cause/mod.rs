//! Why an attempt ended: evidence becomes one exit code and one block that a person can act on. Pure.

use std::fmt;
use std::time::Duration;

use common::topology::Rank;
use common::worker_contract::{ExitCode, Phase};
use nix::sys::signal::Signal;

/// What a rank said before it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankExit {
    /// Which.
    pub rank: Rank,
    /// What it was about to exit with.
    pub code: ExitCode,
    /// Its error.
    pub message: String,
}

/// What a rank was doing when it was last heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastHeard {
    /// Which.
    pub rank: Rank,
    /// Completed steps.
    pub step: u64,
    /// What it was doing.
    pub phase: Phase,
    /// What it exchanged with others, in its words.
    pub exchange: Option<String>,
    /// How long that was ago when the first rank failed.
    pub silence: Duration,
}

/// A rank that lives says something every second.
const SILENCE_MIN: Duration = Duration::from_secs(3);
/// Of so many ranks a block tells what they did last.
const RANKS_TOLD_MAX: usize = 16;

impl fmt::Display for LastHeard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LastHeard { rank, step, phase, exchange, silence } = self;
        write!(f, "rank {rank}: {phase}, {step} steps completed")?;
        if let Some(exchange) = exchange {
            write!(f, "; {exchange}")?;
        }
        if *silence >= SILENCE_MIN {
            write!(f, "; not heard from for {:.0} s", silence.as_secs_f64())?;
        }
        Ok(())
    }
}

/// How the process ended that the launcher had started: mpirun, or the only rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessEnd {
    /// It returned a status.
    Status(i32),
    /// A signal ended it.
    Signal(i32),
}

/// Why the launcher itself ended the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Killed {
    /// No rank advanced for so long.
    Stalled {
        /// `launch.stall_timeout_s`.
        stall_timeout_s: u64,
    },
    /// Not every rank reported in time.
    NotStarted {
        /// Which did not, with their hosts.
        missing: String,
        /// `launch.start_timeout_s`.
        start_timeout_s: u64,
    },
    /// A stop took longer than it may.
    OutOfGrace {
        /// `launch.grace_s`.
        grace_s: u64,
        /// The step that the stop had to wait for, where that has not ended.
        in_step: Option<u64>,
    },
    /// A stop before a first step: there was nothing to save.
    NotBegun,
    /// MPI could not start.
    NoMpi {
        /// Which rank says so; none where nobody can tell.
        rank: Option<Rank>,
    },
    /// A second SIGINT.
    EndNow,
    /// A rank said that it was about to exit, and its world did not end.
    Lingered,
    /// A rank left without a word, and the others did not end either.
    RankLost {
        /// Which.
        rank: Rank,
    },
    /// A newer attempt has taken the run over.
    Fenced {
        /// Which.
        reason: String,
    },
    /// Every rank had said that it was done, or stopped, but its processes did not end.
    Finished {
        /// What the ranks said.
        code: ExitCode,
    },
    /// There was no thread to listen to a rank.
    Unheard {
        /// Which.
        rank: Rank,
        /// Why.
        reason: String,
    },
    /// The worker does not fit this launcher.
    Misfit {
        /// Why, and what to do.
        reason: String,
    },
}

/// Everything that is known when an attempt has ended.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The first exit that a rank announced with a code other than done or stopped.
    pub first_failure: Option<RankExit>,
    /// Set where the launcher ended it.
    pub killed: Option<Killed>,
    /// What the place where the ranks ran says about the end, if it does.
    pub told: Option<Cause>,
    /// What the process returned.
    pub process: ProcessEnd,
    /// What mpirun itself printed last; empty where there is one rank.
    pub mpirun_words: Vec<String>,
    /// The first error that a rank printed.
    pub first_error: Option<(Rank, String)>,
    /// What each rank did last.
    pub last_heard: Vec<LastHeard>,
}

/// Why an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// What the attempt counts as.
    pub code: ExitCode,
    /// Where it began, if one rank can be named.
    pub rank: Option<Rank>,
    /// One line.
    pub headline: String,
    /// What the rank, or mpirun, said about it; may be empty.
    pub message: String,
    /// Where several ranks have lost each other: what each did last, those first that are most likely to be why.
    pub last_heard: Vec<LastHeard>,
}

/// What mpirun exits with after a rank that SIGKILL has ended.
const KILLED: i32 = 128 + Signal::SIGKILL as i32;
const KILLED_ADVICE: &str =
    "\nthe system kills what is out of memory: its log (dmesg) or the cgroup's memory.events says so then";

impl Cause {
    /// Weighs the evidence: what the place where the ranks ran says, what a rank said itself, then what the launcher did, then what is left when a
    /// rank was killed and could say nothing.
    pub fn of(evidence: &Evidence) -> Self {
        let mut cause = Self::weigh(evidence);
        if cause.code == ExitCode::Communication && evidence.last_heard.len() > 1 {
            cause.last_heard = evidence.last_heard.clone();
            // Who has fallen silent, and then who has not got as far as the others.
            let silence = |heard: &LastHeard| heard.silence.saturating_sub(SILENCE_MIN).as_secs();
            cause.last_heard.sort_by_key(|heard| (std::cmp::Reverse(silence(heard)), heard.step));
        }
        cause
    }

    /// Too few hosts were there for ranks to start.
    pub fn hosts_missing(reason: String) -> Self {
        Cause::new(ExitCode::Communication, None, "no ranks could be started", reason)
    }

    fn weigh(evidence: &Evidence) -> Self {
        if let Some(Killed::Misfit { reason }) = &evidence.killed {
            return Cause::new(ExitCode::Config, None, "the worker does not fit this launcher", reason);
        }
        if let Some(Killed::Fenced { reason }) = &evidence.killed {
            return Cause::new(ExitCode::Config, None, "the run is another attempt's now", reason);
        }
        if let (Some(told), None | Some(Killed::Lingered)) = (&evidence.told, &evidence.killed) {
            return told.clone();
        }
        if let Some(RankExit { rank, code, message }) = &evidence.first_failure {
            return Cause::new(*code, Some(*rank), format!("rank {rank} failed"), message);
        }
        let lost = |headline: String, message| Cause::new(ExitCode::Communication, None, headline, message);
        match &evidence.killed {
            Some(Killed::Stalled { stall_timeout_s }) => lost(
                format!("no rank advanced for {stall_timeout_s} s"),
                "raise launch.stall_timeout_s if steps may take that long",
            ),
            Some(Killed::NotStarted { missing, start_timeout_s }) => Cause::new(
                ExitCode::Communication,
                None,
                format!("not every rank has started within {start_timeout_s} s"),
                format!(
                    "nothing was heard from {missing}; mpirun may say why in the attempt's logs, and `launcher check` looks at each host; \
                     raise launch.start_timeout_s if a start may take that long"
                ),
            ),
            Some(Killed::OutOfGrace { grace_s, in_step: None }) => lost(
                format!("the stop took longer than {grace_s} s, so the ranks were killed"),
                "steps since the newest checkpoint are lost; raise launch.grace_s",
            ),
            Some(Killed::OutOfGrace { grace_s, in_step: Some(step) }) => lost(
                format!("the stop took longer than {grace_s} s, so the ranks were killed in the middle of step {step}"),
                "steps since the newest checkpoint are lost; raise launch.grace_s above what a step and a save take",
            ),
            Some(Killed::NotBegun) => Cause::new(ExitCode::Stopped, None, "stopped before a first step", ""),
            Some(Killed::NoMpi { rank }) => Cause::new(
                ExitCode::Communication,
                *rank,
                "MPI could not start",
                format!(
                    "{}is /dev/shm of its host full, too small, or not to be written? `launcher check` looks at it",
                    evidence
                        .mpirun_words
                        .iter()
                        .map(|line| line.trim())
                        .filter(|line| is_said(line))
                        .fold(String::new(), |said, line| said + line + "\n")
                ),
            ),
            Some(Killed::EndNow) => {
                lost("ended at once, as asked".into(), "steps since the newest checkpoint are lost")
            }
            Some(Killed::RankLost { rank }) => Cause::new(
                ExitCode::Communication,
                Some(*rank),
                format!("rank lost: rank {rank}"),
                "its control connection ended without a word; the system's log may say why (out of memory?)",
            ),
            Some(Killed::Unheard { rank, reason }) => Cause::new(
                ExitCode::Communication,
                Some(*rank),
                format!("rank {rank} cannot be listened to"),
                format!(
                    "the launcher cannot start a thread for its control connection: {reason}; raise this machine's limits on \
                     processes and memory (ulimit -u, ulimit -v, the cgroup's pids.max)"
                ),
            ),
            Some(Killed::Finished { code }) => Cause::new(*code, None, code.meaning(), ""),
            Some(Killed::Lingered | Killed::Misfit { .. } | Killed::Fenced { .. }) | None => {
                Cause::of_process(evidence)
            }
        }
    }

    fn of_process(evidence: &Evidence) -> Self {
        let words = evidence.mpirun_words.iter().map(|line| line.trim()).filter(|line| is_said(line));
        let words: Vec<_> = words.collect();
        let error = evidence.first_error.as_ref();
        let rank = error.map(|(rank, _)| *rank).or_else(|| words.iter().find_map(|line| rank_in(line)));
        let who = rank.map_or_else(|| "a rank".to_owned(), |rank| format!("rank {rank}"));
        let message = error.map(|(_, line)| words_of(line)).into_iter().chain(words).collect::<Vec<_>>().join("\n");
        match evidence.process {
            ProcessEnd::Signal(number) => {
                let name = Signal::try_from(number).map_or_else(|_| number.to_string(), |signal| signal.to_string());
                Cause::new(ExitCode::Communication, None, format!("rank lost: killed by {name}"), message)
            }
            ProcessEnd::Status(status) => match ExitCode::from_number(status) {
                code @ (ExitCode::Done | ExitCode::Stopped) => Cause::new(code, None, code.meaning(), ""),
                ExitCode::Communication => {
                    let headline = match rank {
                        Some(rank) => format!("rank lost: rank {rank}, process status {status}"),
                        None => format!("rank lost: process status {status}"),
                    };
                    let message = if status == KILLED { message + KILLED_ADVICE } else { message };
                    Cause::new(ExitCode::Communication, rank, headline, message)
                }
                code if error.is_some() => Cause::new(code, rank, format!("{who} failed"), message),
                code => Cause::new(code, rank, format!("{who} failed without saying why"), message),
            },
        }
    }

    pub fn new(code: ExitCode, rank: Option<Rank>, headline: impl Into<String>, message: impl Into<String>) -> Self {
        Cause { code, rank, headline: headline.into(), message: message.into(), last_heard: Vec::new() }
    }

    /// The block for people; `log_tail` are the last lines of the rank that it began at.
    pub fn block(&self, attempt: u32, log_tail: &[String]) -> String {
        let mut block = format!("attempt {attempt} ended: {self}");
        for line in self.message.lines() {
            block.push_str(&format!("\n  {line}"));
        }
        if !self.last_heard.is_empty() {
            block.push_str("\n  what each rank did last:");
        }
        for heard in self.last_heard.iter().take(RANKS_TOLD_MAX) {
            block.push_str(&format!("\n    {heard}"));
        }
        if let more @ 1.. = self.last_heard.len().saturating_sub(RANKS_TOLD_MAX) {
            block.push_str(&format!("\n    and {more} more"));
        }
        if let (Some(rank), false) = (self.rank, log_tail.is_empty()) {
            block.push_str(&format!("\n  last lines of rank {rank}:"));
            for line in log_tail {
                block.push_str(&format!("\n  | {line}"));
            }
        }
        block
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (exit {}: {})", self.headline, self.code.number(), self.code.meaning())
    }
}

/// What a rank's line says without its time, its level and the rank.
fn words_of(line: &str) -> &str {
    let said = line.strip_prefix("error: ").unwrap_or(line);
    let said = said.split_once("ERROR ").map_or(said, |(_, said)| said);
    let of_rank = said.strip_prefix("rank ").and_then(|rest| rest.split_once(": "));
    of_rank.filter(|(rank, _)| rank.bytes().all(|byte| byte.is_ascii_digit())).map_or(said, |(_, said)| said)
}

/// Whether a rank says with `line` that MPI_Init has failed; mpirun may wait for the others then, for ever.
pub fn says_that_mpi_failed(line: &str) -> bool {
    line.contains("An error occurred in MPI_Init")
}

/// Leaves mpirun's rulers and its routine phrases out.
fn is_said(line: &str) -> bool {
    let routine = ["Primary job", "a non-zero exit code. Per user-direction", "mpirun: Forwarding signal"];
    !line.trim_matches('-').is_empty() && !routine.iter().any(|phrase| line.starts_with(phrase))
}

/// The rank in mpirun's `... process rank 1 with PID ...` or `Process name: [[11317,1],1]`.
fn rank_in(line: &str) -> Option<Rank> {
    let digits = match (line.split_once("process rank "), line.strip_prefix("Process name: ")) {
        (Some((_, rest)), _) => rest.split_whitespace().next()?,
        (None, Some(name)) => name.rsplit_once(',')?.1.trim_end_matches(']'),
        (None, None) => return None,
    };
    digits.parse().ok().map(Rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED_WORDS: &str = "\
--------------------------------------------------------------------------
Primary job  terminated normally, but 1 process returned
a non-zero exit code. Per user-direction, the job has been aborted.
--------------------------------------------------------------------------
--------------------------------------------------------------------------
mpirun noticed that process rank 1 with PID 0 on node vm exited on signal 9 (Killed).
--------------------------------------------------------------------------";

    const EXITED_WORDS: &str = "\
mpirun detected that one or more processes exited with non-zero status, thus causing
the job to be terminated. The first process to do so was:

  Process name: [[11317,1],3]
  Exit code:    3";

    fn evidence(process: ProcessEnd, words: &str) -> Evidence {
        let mpirun_words = words.lines().map(str::to_owned).collect();
        Evidence {
            first_failure: None,
            killed: None,
            told: None,
            process,
            mpirun_words,
            first_error: None,
            last_heard: Vec::new(),
        }
    }

    fn failure(code: ExitCode) -> Option<RankExit> {
        Some(RankExit { rank: Rank(2), code, message: "the shard x is truncated".into() })
    }

    #[test]
    fn what_a_rank_says_counts_more_than_what_mpirun_returns() {
        let mut evidence = evidence(ProcessEnd::Status(137), KILLED_WORDS);
        evidence.first_failure = failure(ExitCode::Data);
        evidence.killed = Some(Killed::Stalled { stall_timeout_s: 9 });
        let cause = Cause::of(&evidence);
        assert_eq!((cause.code, cause.rank), (ExitCode::Data, Some(Rank(2))));
        assert_eq!(
            cause.block(4, &["one".into(), "two".into()]),
            "attempt 4 ended: rank 2 failed (exit 3: data missing, corrupt or denied, or a disk is full)\n  the shard x is truncated\n  \
             last lines of rank 2:\n  | one\n  | two"
        );
    }

    #[test]
    fn who_has_fallen_silent_is_told_first_and_only_where_ranks_have_lost_each_other() {
        let heard = |rank, step, silence| LastHeard {
            rank: Rank(rank),
            step,
            phase: Phase::Training,
            exchange: (rank == 1).then(|| "in all-reduce (gradients, bucket 3) over NCCL for 5.0 s".to_owned()),
            silence: Duration::from_secs(silence),
        };
        let mut evidence = evidence(ProcessEnd::Status(4), "");
        evidence.last_heard = vec![heard(0, 7, 1), heard(1, 6, 2), heard(2, 7, 9)];
        evidence.first_failure = failure(ExitCode::Communication);
        assert_eq!(
            Cause::of(&evidence).block(1, &[]),
            "attempt 1 ended: rank 2 failed (exit 4: communication failed, a rank was lost, or ranks differ)\n  \
             the shard x is truncated\n  what each rank did last:\n    \
             rank 2: training, 7 steps completed; not heard from for 9 s\n    \
             rank 1: training, 6 steps completed; in all-reduce (gradients, bucket 3) over NCCL for 5.0 s\n    \
             rank 0: training, 7 steps completed"
        );
        evidence.last_heard = (0..20).map(|rank| heard(rank, 7, 0)).collect();
        let block = Cause::of(&evidence).block(1, &[]);
        assert!(block.contains("rank 15: ") && block.ends_with("and 4 more"), "{block}");
        evidence.first_failure = failure(ExitCode::Data);
        assert!(Cause::of(&evidence).last_heard.is_empty());
    }

    #[test]
    fn a_killed_rank_is_lost_in_mpiruns_words() {
        let cause = Cause::of(&evidence(ProcessEnd::Status(137), KILLED_WORDS));
        assert_eq!((cause.code, cause.rank), (ExitCode::Communication, Some(Rank(1))));
        assert!(cause.headline.starts_with("rank lost"), "{cause}");
        assert_eq!(cause.message, format!("{}{KILLED_ADVICE}", KILLED_WORDS.lines().nth(5).unwrap()));
        let cause = Cause::of(&evidence(ProcessEnd::Signal(9), ""));
        assert_eq!((cause.code, cause.headline.as_str()), (ExitCode::Communication, "rank lost: killed by SIGKILL"));
    }

    #[test]
    fn a_silent_exit_is_known_by_its_status() {
        let cause = Cause::of(&evidence(ProcessEnd::Status(3), EXITED_WORDS));
        assert_eq!((cause.code, cause.rank), (ExitCode::Data, Some(Rank(3))));
        for (status, code) in [
            (0, ExitCode::Done),
            (75, ExitCode::Stopped),
            (70, ExitCode::Bug),
            (1, ExitCode::Communication),
            (250, ExitCode::Communication),
        ] {
            assert_eq!(Cause::of(&evidence(ProcessEnd::Status(status), "")).code, code, "{status}");
        }
    }

    #[test]
    fn a_rank_that_has_printed_why_is_not_said_to_be_silent() {
        let mut evidence = evidence(ProcessEnd::Status(2), "");
        assert_eq!(Cause::of(&evidence).headline, "a rank failed without saying why");
        let line = "2026-01-01T00:00:00Z ERROR rank 1: run.device = \"cuda\": there is no GPU";
        evidence.first_error = Some((Rank(1), line.to_owned()));
        let cause = Cause::of(&evidence);
        assert_eq!((cause.rank, cause.headline.as_str()), (Some(Rank(1)), "rank 1 failed"));
        assert_eq!(cause.message, "run.device = \"cuda\": there is no GPU");
        // What it told the launcher itself counts more.
        evidence.first_failure = failure(ExitCode::Data);
        assert_eq!(Cause::of(&evidence).message, "the shard x is truncated");
    }

    #[test]
    fn what_the_launcher_ends_is_named_and_a_misfit_is_never_worth_a_restart() {
        let killed = |killed| Cause::of(&Evidence { killed: Some(killed), ..evidence(ProcessEnd::Signal(15), "") });
        assert_eq!(killed(Killed::EndNow).code, ExitCode::Communication);
        assert!(killed(Killed::Stalled { stall_timeout_s: 9 }).headline.contains("9 s"));
        assert!(killed(Killed::OutOfGrace { grace_s: 5, in_step: None }).headline.contains("longer than 5 s"));
        assert_eq!(killed(Killed::Misfit { reason: "old".into() }).code, ExitCode::Config);
    }
}
