//! What the launcher and the worker say to each other: the start line and the control protocol.
//!
//! The launcher writes one [`StartLine`] to the standard input of `worker train --from-launcher`, which mpirun gives to
//! rank 0; rank 0 broadcasts it, since hosts share no file system and arguments are visible to everyone. Every rank
//! then opens a TCP connection to the launcher and exchanges JSON lines: [`FromRank`] one way, [`ToRank`] the other.

use std::fmt;
use std::io::{self, BufRead, Read as _, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::exit_code::ExitCode;
use crate::message_text::{line, lines, optional_line};
use crate::topology::{Rank, WorldSize};

/// Version of everything in this module; a launcher and a worker of different versions refuse each other.
pub const PROTOCOL_VERSION: u32 = 1;

/// Longest message of a control connection, in bytes with its line's end; a longer one ends the connection. Text in messages is
/// cut where it is sent ([`crate::message_text`]), so that none of ours is longer.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Longest [`StartLine`]: it holds a config, with every host that the config lists.
pub const START_LINE_BYTES_MAX: usize = 16 << 20;

/// The one line on rank 0's standard input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartLine {
    /// [`PROTOCOL_VERSION`] of the launcher.
    pub version: u32,
    /// The resolved config as TOML.
    pub config: String,
    /// The attempt that the launcher has claimed.
    pub attempt: u32,
    /// The id of that claim; empty where the launcher does not know it.
    #[serde(default)]
    pub claim_id: String,
    /// Keys of the config that may differ from the checkpoint's.
    #[serde(default)]
    pub accepted_changes: Vec<String>,
    /// Where the launcher listens for the ranks' control connections, `host:port`; empty where it does not.
    pub control_address: String,
    /// What a rank shows to be let in.
    pub control_token: String,
}

/// What a rank tells the launcher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromRank {
    /// The first message of a connection.
    Hello {
        /// [`PROTOCOL_VERSION`] of the worker.
        version: u32,
        /// [`StartLine::control_token`].
        token: String,
        /// Who speaks.
        rank: Rank,
        /// Of how many.
        world_size: WorldSize,
        /// Its process on its host.
        pid: u32,
        /// The host's name.
        #[serde(with = "line")]
        host: String,
    },
    /// Sent every second, and at every change of phase.
    Heartbeat {
        /// Completed steps.
        step: u64,
        /// What the rank is doing.
        phase: Phase,
        /// What it exchanges with other ranks at the moment, or did last, for people; none before the first time.
        #[serde(default, with = "optional_line")]
        exchange: Option<String>,
        /// How long this attempt's steps have kept the rank busy so far: all but waiting for others. It tells which rank
        /// the others wait for. 0 from a rank that has no sequences: it waits for all others.
        #[serde(default)]
        busy_s: f64,
    },
    /// A completed step, from rank 0.
    Progress(crate::metrics::StepRecord),
    /// A validation loss, from rank 0.
    Validation(crate::metrics::ValidationRecord),
    /// Something worth telling a person, from rank 0: a resume, a committed checkpoint.
    Notice {
        /// One line.
        #[serde(with = "line")]
        text: String,
    },
    /// Why this rank is about to end; the first one that reaches the launcher is the cause of an attempt's end.
    Exit {
        /// What the process will exit with.
        code: ExitCode,
        /// The error, with what to do.
        #[serde(with = "lines")]
        message: String,
    },
}

/// What the launcher tells a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToRank {
    /// The hello was heard. A rank whose connection ends without this tries again: strangers may crowd the launcher's port.
    Welcome,
    /// Save a checkpoint at the next step and exit with [`ExitCode::Stopped`].
    Stop,
    /// Save a checkpoint at the next step and go on.
    Save,
    /// Print the stack of every thread to standard error.
    Stacks,
}

/// What a rank is doing, as far as a person watching cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reading config, data and checkpoint.
    Starting,
    /// Training steps.
    Training,
    /// Measuring the validation loss.
    Evaluating,
    /// Waiting for a checkpoint to be committed before the end.
    Saving,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Starting => "starting",
            Phase::Training => "training",
            Phase::Evaluating => "evaluating",
            Phase::Saving => "saving",
        })
    }
}

/// How far a prepare job is; with `--progress-lines` it prints these, each on a line of its own after
/// [`PROGRESS_MARK`], on standard output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrepareProgress {
    /// What is being done.
    pub phase: PreparePhase,
    /// Bytes of inputs read, or of shards written, over all ranks.
    pub done: u64,
    /// Of how many.
    pub total: u64,
    /// Bytes of text encoded in this phase.
    pub text_bytes: u64,
    /// How long the phase has taken so far.
    pub seconds: f64,
}

/// The two phases of a prepare job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreparePhase {
    /// Inputs become token ids.
    Tokenizing,
    /// Token ids become shards.
    Writing,
}

/// What a line of progress begins with.
pub const PROGRESS_MARK: &str = "convoy-progress ";

impl PrepareProgress {
    /// Done per second, in 10^6 bytes.
    pub fn mb_per_second(&self) -> f64 {
        self.done as f64 / 1e6 / self.seconds.max(1e-9)
    }

    /// How long the rest of the phase takes at this pace, once there is one.
    pub fn left(&self) -> Option<std::time::Duration> {
        let seconds = self.seconds / self.done as f64 * self.total.saturating_sub(self.done) as f64;
        std::time::Duration::try_from_secs_f64(seconds).ok()
    }
}

/// Writes one message as a JSON line and flushes it.
pub fn write_line<T: Serialize>(writer: &mut impl Write, message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    writer.write_all(&line)?;
    writer.flush()
}

/// Reads one message of at most `bytes_max` bytes, its line's end among them; `None` at the end of the stream.
///
/// A line that is not a message is [`io::ErrorKind::InvalidData`], after which reading can go on. A longer line is
/// [`io::ErrorKind::FileTooLarge`], after which it cannot: whoever sends it may never end it.
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
                FromRank::Heartbeat { step: 1, phase: Phase::Training, exchange: Some(text.clone()), busy_s: 0.0 },
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
