//! Everything that can happen to an attempt, on one channel.

use std::net::TcpStream;
use std::sync::Arc;

use common::topology::Rank;
use common::worker_contract::FromRank;

use crate::cause::Cause;

/// One thing that happened.
#[derive(Debug)]
pub enum Event {
    /// A rank has shown the token and may be told things through `link`.
    Connected {
        /// Which.
        rank: Rank,
        /// Its host's name.
        host: String,
        /// Its connection, for writing.
        link: Arc<TcpStream>,
    },
    /// A rank said something.
    Message {
        /// Which.
        rank: Rank,
        /// What.
        message: FromRank,
    },
    /// A rank's connection has ended; it sends nothing any more.
    Left {
        /// Which.
        rank: Rank,
    },
    /// A rank has shown the token, but there is no thread to listen to it; the attempt cannot go on.
    Unheard {
        /// Which.
        rank: Rank,
        /// Why.
        reason: String,
    },
    /// A rank that has the token does not fit this launcher or this world; the attempt cannot go on.
    Misfit {
        /// Why, and what to do.
        reason: String,
    },
    /// The place where the ranks run has something to say, for example what they wait for.
    Notice {
        /// One line.
        text: String,
    },
    /// The place where the ranks run knows why the attempt ended.
    Ended {
        /// Why.
        cause: Cause,
    },
    /// A process printed a line.
    Output {
        /// Which rank did; `None` for mpirun itself.
        rank: Option<Rank>,
        /// On which of the two streams.
        stream: Stream,
        /// Without its end.
        line: String,
    },
}

/// Where a process prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}
