//! Events of an attempt: everything that can happen to it, on one channel.

use std::net::TcpStream;
use std::sync::Arc;

use common::topology::Rank;
use common::worker_contract::FromRank;

use crate::cause::Cause;

/// An event of an attempt.
#[derive(Debug)]
pub enum Event {
    /// A rank has shown the token and can receive messages through `link`.
    Connected {
        /// Rank that connected.
        rank: Rank,
        /// Name of the rank's host.
        host: String,
        /// Connection to the rank, for writing.
        link: Arc<TcpStream>,
    },
    /// A rank sent a message.
    Message {
        /// Rank that sent it.
        rank: Rank,
        /// The message.
        message: FromRank,
    },
    /// A rank's connection has ended; nothing more comes from it.
    Left {
        /// Rank that left.
        rank: Rank,
    },
    /// A rank has shown the token, but there is no thread to listen to it; the attempt cannot continue.
    Unheard {
        /// Rank that cannot be heard.
        rank: Rank,
        /// Reason why there is no thread.
        reason: String,
    },
    /// A rank that has the token does not fit this launcher or this world; the attempt cannot continue.
    Misfit {
        /// Reason, and what to do.
        reason: String,
    },
    /// The place where the ranks run reports something, for example what they wait for.
    Notice {
        /// Text in one line.
        text: String,
    },
    /// The place where the ranks run knows why the attempt ended.
    Ended {
        /// Cause of the end.
        cause: Cause,
    },
    /// A process printed a line.
    Output {
        /// Rank that printed it; `None` for mpirun itself.
        rank: Option<Rank>,
        /// Stream that it was printed on.
        stream: Stream,
        /// The line, without its line end.
        line: String,
    },
}

/// An output stream of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}
