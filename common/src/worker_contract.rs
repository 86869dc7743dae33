//! The protocol between launcher and worker: the start line and the control connection.
//!
//! The launcher writes one [`StartLine`] to the standard input of `worker train --from-launcher`, which mpirun passes to
//! rank 0. Rank 0 broadcasts it, since hosts share no file system and arguments are visible to everyone. Every rank then
//! opens a TCP connection to the launcher, over which both exchange JSON lines: [`FromRank`] one way, [`ToRank`] the other.

use std::fmt;
use std::io::{self, BufRead, Read as _, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::config::RunConfig;
use crate::exit_code::ExitCode;
use crate::message_text::{line, lines, optional_line};
use crate::preflight::Verdict;
use crate::topology::{Rank, WorldSize};

/// Version of everything in this module. A launcher and a worker of different versions refuse each other.
pub const PROTOCOL_VERSION: u32 = 2;

/// Size of the longest message on a control connection, in bytes, including the line's end. A longer message ends the
/// connection. Text is cut where it is sent ([`crate::message_text`]), so that no message of Convoy's own is longer.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Size of the longest [`StartLine`], in bytes. It holds a config, with every host that the config lists.
pub const START_LINE_BYTES_MAX: usize = 16 << 20;

/// Line that rank 0 reads from its standard input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartLine {
    /// The launcher's [`PROTOCOL_VERSION`].
    pub version: u32,
    /// Resolved config, as TOML.
    pub config: String,
    /// Attempt that the launcher has claimed.
    pub attempt: u32,
    /// Id of the claim; empty if the launcher does not know it.
    #[serde(default)]
    pub claim_id: String,
    /// Config keys whose values may differ from the checkpoint's.
    #[serde(default)]
    pub accepted_changes: Vec<String>,
    /// Address for the ranks' control connections, as `host:port`; empty if the launcher does not listen.
    pub control_address: String,
    /// Token that a rank shows to be let in.
    pub control_token: String,
}

impl StartLine {
    /// Returns the start of ranks that no attempt is claimed for, and that have nothing to connect to.
    pub fn without_attempt(config: &RunConfig) -> Self {
        StartLine {
            version: PROTOCOL_VERSION,
            config: config.to_toml(),
            attempt: 0,
            claim_id: String::new(),
            accepted_changes: Vec::new(),
            control_address: String::new(),
            control_token: String::new(),
        }
    }
}

/// Message from a rank to the launcher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromRank {
    /// First message of a connection.
    Hello {
        /// The worker's [`PROTOCOL_VERSION`].
        version: u32,
        /// [`StartLine::control_token`].
        token: String,
        /// Sender's rank.
        rank: Rank,
        /// Number of ranks.
        world_size: WorldSize,
        /// Process id on the rank's host.
        pid: u32,
        /// Name of the rank's host.
        #[serde(with = "line")]
        host: String,
    },
    /// Sign of life, sent every second and at every change of phase.
    Heartbeat {
        /// Number of completed steps.
        step: u64,
        /// Phase that the rank is in.
        phase: Phase,
        /// Exchange with other ranks that is in progress, or was the last one, as text for people; `None` before the first.
        #[serde(default, with = "optional_line")]
        exchange: Option<String>,
        /// Seconds for which this attempt's steps have kept the rank busy: all their time except waiting for other ranks. It
        /// shows which rank the others wait for. 0 from a rank without sequences, which waits for all others.
        #[serde(default)]
        busy_s: f64,
        /// Progress within the step, the validation or the tasks that are in progress; `None` outside of these, and from a
        /// rank without sequences.
        #[serde(default)]
        micro_batches: Option<MicroBatches>,
    },
    /// Finding about the run before its first step, from rank 0.
    Finding {
        /// Result of the check.
        verdict: Verdict,
        /// The finding as a line, see [`Finding::line`](crate::preflight::Finding::line).
        #[serde(with = "lines")]
        text: String,
    },
    /// Problem that does not end the run, from rank 0.
    Trouble {
        /// The problem, for people.
        #[serde(with = "lines")]
        text: String,
    },
    /// Record of a completed step, from rank 0.
    Progress(crate::metrics::StepRecord),
    /// Validation loss, from rank 0.
    Validation(crate::metrics::ValidationRecord),
    /// Results of evaluation tasks, from rank 0.
    Tasks(crate::task_results::TasksRecord),
    /// News for people, from rank 0, such as a resume or a committed checkpoint.
    Notice {
        /// One line of text.
        #[serde(with = "line")]
        text: String,
    },
    /// Why this rank is about to end. The first such message that reaches the launcher is the cause of the attempt's end.
    Exit {
        /// Exit code of the process.
        code: ExitCode,
        /// The error, and what to do about it.
        #[serde(with = "lines")]
        message: String,
    },
}

/// Micro batches of a rank in the step or the validation that is in progress, or passes of its evaluation tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MicroBatches {
    /// Number that the rank has computed or, on a GPU, queued.
    pub done: u32,
    /// Number in all.
    pub all: u32,
}

/// Message from the launcher to a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToRank {
    /// Accepts the hello. A rank whose connection ends without this message connects again, since strangers may crowd the
    /// launcher's port.
    Welcome,
    /// Save a checkpoint at the next step and exit with [`ExitCode::Stopped`].
    Stop,
    /// Save a checkpoint at the next step and go on.
    Save,
    /// Print the stack of every thread to standard error.
    Stacks,
}

/// Phase of a rank, as shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reading config, data and checkpoint.
    Starting,
    /// Running training steps.
    Training,
    /// Measuring the validation loss.
    Evaluating,
    /// Scoring evaluation tasks.
    Scoring,
    /// Waiting for a checkpoint to be committed before the end.
    Saving,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Starting => "starting",
            Phase::Training => "training",
            Phase::Evaluating => "evaluating",
            Phase::Scoring => "scoring tasks",
            Phase::Saving => "saving",
        })
    }
}

/// Progress of a prepare job. With `--progress-lines` the job prints it to standard output, each time on a line of its own
/// that begins with [`PROGRESS_MARK`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrepareProgress {
    /// Phase of the job.
    pub phase: PreparePhase,
    /// Bytes of inputs read, or of token shards written, over all ranks.
    pub done: u64,
    /// Bytes of `done` that an earlier job did, which took no time in this one.
    #[serde(default)]
    pub done_before: u64,
    /// Bytes to read or write in this phase.
    pub total: u64,
    /// Bytes of text encoded in this phase.
    pub text_bytes: u64,
    /// Duration of the phase so far, in seconds.
    pub seconds: f64,
}

/// Phases of a prepare job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreparePhase {
    /// Encodes inputs to token ids.
    Tokenizing,
    /// Writes token ids to token shards.
    Writing,
    /// Makes documents of pages.
    Extracting,
    /// Applies rules to documents.
    Cleaning,
    /// Makes keys of documents, by which they are compared.
    Signing,
    /// Brings equal keys together.
    Pairing,
    /// Finds out which documents belong together, and which of them stays.
    Clustering,
    /// Keeps or drops documents that are equal to others, or nearly so.
    Deduplicating,
    /// Looks for evaluation sets in documents.
    Overlapping,
}

/// Phases of an evaluation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvaluationPhase {
    /// Training data or their filter are read or written. Progress is counted in bytes.
    Overlap,
    /// Items are scored. Progress is counted in tokens.
    #[default]
    Scoring,
}

/// Progress of one rank of an evaluation, told as that of a prepare job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluationProgress {
    /// Phase of the rank.
    pub phase: EvaluationPhase,
    /// Tokens that earlier attempts have scored: on rank 0 of all ranks, and elsewhere 0.
    pub before: u64,
    /// Tokens that this rank has scored, or bytes that it has read.
    pub done: u64,
    /// Tokens that this rank is to score in this attempt, or bytes that it is to read.
    pub total: u64,
    /// Duration of the phase so far, in seconds.
    pub seconds: f64,
}

/// Results of one task of an evaluation, which rank 0 has put into a store. Rank 0 prints it to standard output, on a line of its
/// own that begins with [`EVALUATED_MARK`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Name of the object with the results, in the folder for evaluations.
    pub results: String,
    /// Name of the object with all items and their scores, if it was asked for.
    pub samples: Option<String>,
}

/// Beginning of a line that says where results are.
pub const EVALUATED_MARK: &str = "convoy-evaluated ";

/// Beginning of a line with the overlap of a task, as JSON: `evaluation::overlap::OverlapSummary`. Rank 0 prints it where only
/// the overlap was asked for.
pub const OVERLAP_MARK: &str = "convoy-overlap ";

/// Beginning of a line of progress.
pub const PROGRESS_MARK: &str = "convoy-progress ";

impl PrepareProgress {
    /// Returns the rate of the phase, in 10^6 bytes per second.
    pub fn mb_per_second(&self) -> f64 {
        self.done_now() as f64 / 1e6 / self.seconds.max(1e-9)
    }

    /// Estimates how long the rest of the phase takes at this rate. Returns `None` before this job has done anything.
    pub fn left(&self) -> Option<std::time::Duration> {
        let seconds = self.seconds / self.done_now() as f64 * self.total.saturating_sub(self.done) as f64;
        std::time::Duration::try_from_secs_f64(seconds).ok()
    }

    /// Returns the bytes that this job has done.
    fn done_now(&self) -> u64 {
        self.done.saturating_sub(self.done_before)
    }
}

/// Writes one message as a JSON line and flushes it.
pub fn write_line<T: Serialize>(writer: &mut impl Write, message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    writer.write_all(&line)?;
    writer.flush()
}

/// Reads one message of at most `bytes_max` bytes, including its line's end. Returns `None` at the end of the stream.
///
/// A line that is not a message fails with [`io::ErrorKind::InvalidData`], after which reading can go on. A longer line
/// fails with [`io::ErrorKind::FileTooLarge`], after which it cannot: the line may never end.
pub fn read_line<T: DeserializeOwned>(reader: &mut impl BufRead, bytes_max: usize) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    reader.by_ref().take(bytes_max as u64).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() == bytes_max && !line.ends_with(b"\n") {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("a line is longer than {bytes_max} bytes")));
    }
    serde_json::from_slice(&line).map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip_as_lines() {
        let mut wire = Vec::new();
        let sent = FromRank::Exit { code: ExitCode::Data, message: "two\nlines".into() };
        write_line(&mut wire, &sent).unwrap();
        write_line(&mut wire, &ToRank::Stop).unwrap();
        let mut reader = wire.as_slice();
        assert_eq!(read_line(&mut reader, MESSAGE_BYTES_MAX).unwrap(), Some(sent));
        assert_eq!(read_line(&mut reader, MESSAGE_BYTES_MAX).unwrap(), Some(ToRank::Stop));
        assert_eq!(read_line::<ToRank>(&mut reader, MESSAGE_BYTES_MAX).unwrap(), None);
    }

    #[test]
    fn a_line_that_never_ends_is_refused_and_not_kept() {
        let mut endless = io::BufReader::new(io::repeat(b'x'));
        let error = read_line::<ToRank>(&mut endless, MESSAGE_BYTES_MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        let line = br#"{"type":"stop"}
"#;
        assert_eq!(read_line(&mut line.as_slice(), line.len()).unwrap(), Some(ToRank::Stop));
        let error = read_line::<ToRank>(&mut line.as_slice(), line.len() - 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn the_longest_text_fits_into_a_message_whatever_it_is_made_of() {
        for character in ["x", "\0", "\"", "\u{10ffff}"] {
            let text = character.repeat(1 << 20);
            for message in [
                FromRank::Exit { code: ExitCode::Data, message: text.clone() },
                FromRank::Notice { text: text.clone() },
                FromRank::Finding { verdict: Verdict::Warning, text: text.clone() },
                FromRank::Trouble { text: text.clone() },
                FromRank::Heartbeat {
                    step: 1,
                    phase: Phase::Training,
                    exchange: Some(text.clone()),
                    busy_s: 0.0,
                    micro_batches: Some(MicroBatches { done: u32::MAX, all: u32::MAX }),
                },
            ] {
                let mut wire = Vec::new();
                write_line(&mut wire, &message).unwrap();
                let read: Option<FromRank> = read_line(&mut wire.as_slice(), MESSAGE_BYTES_MAX).unwrap();
                assert!(read.is_some());
            }
        }
    }

    #[test]
    fn what_a_rank_says_cannot_command_a_terminal() {
        let hostile = r#"{"type":"exit","code":"data","message":"one\n\u001b[2Jtwo"}"#;
        let read: FromRank = read_line(&mut hostile.as_bytes(), MESSAGE_BYTES_MAX).unwrap().unwrap();
        assert_eq!(read, FromRank::Exit { code: ExitCode::Data, message: "one\n\\u{1b}[2Jtwo".into() });
        let hostile = r#"{"type":"notice","text":"one\nerror: two"}"#;
        let read: FromRank = read_line(&mut hostile.as_bytes(), MESSAGE_BYTES_MAX).unwrap().unwrap();
        assert_eq!(read, FromRank::Notice { text: "one\\nerror: two".into() });
    }
}
