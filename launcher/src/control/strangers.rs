//! Connections that have not shown the token yet. They cost no thread, are never waited for, and do not last.
//!
//! Each stranger may say one line of bounded length until one deadline. Room is limited; where it is used up, the address
//! with the most connections loses its oldest one, so that a crowd pushes out its own.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a connection has for its whole introduction.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest introduction, in bytes.
const HELLO_BYTES_MAX: usize = 4096;

/// A connection that has not shown the token yet.
pub struct Stranger {
    stream: TcpStream,
    /// Address that the connection comes from.
    pub address: IpAddr,
    deadline: Instant,
    said: Vec<u8>,
}

/// What became of a stranger when it was heard.
pub enum Heard {
    /// The first line is not complete.
    Waiting(Stranger),
    /// The first line is complete.
    Hello {
        /// The connection.
        stream: TcpStream,
        /// The first line.
        hello: Vec<u8>,
        /// What has arrived after the line.
        rest: Vec<u8>,
    },
    /// The stranger is dropped, for this reason.
    Dropped(String),
}

impl Stranger {
    /// Takes a connection from `address` that was accepted at `now`.
    pub fn new(stream: TcpStream, address: IpAddr, now: Instant) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Stranger { stream, address, deadline: now + HELLO_TIMEOUT, said: Vec::new() })
    }

    /// Reads what has arrived, without waiting for more.
    pub fn hear(mut self, now: Instant) -> Heard {
        let room = (HELLO_BYTES_MAX - self.said.len()) as u64;
        let read = (&self.stream).take(room).read_to_end(&mut self.said);
        if let Some(end) = self.said.iter().position(|byte| *byte == b'\n') {
            let rest = self.said.split_off(end + 1);
            return Heard::Hello { stream: self.stream, hello: self.said, rest };
        }
        match read {
            _ if self.said.len() == HELLO_BYTES_MAX => {
                Heard::Dropped(format!("its first line is longer than {HELLO_BYTES_MAX} bytes"))
            }
            _ if now >= self.deadline => {
                Heard::Dropped(format!("it did not introduce itself within {} s", HELLO_TIMEOUT.as_secs()))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Heard::Waiting(self),
            Err(error) => Heard::Dropped(format!("it ended before its hello: {error}")),
            Ok(_) => Heard::Dropped("it ended before its hello".to_owned()),
        }
    }
}

/// All strangers, oldest first.
#[derive(Default)]
pub struct Strangers {
    waiting: Vec<Stranger>,
}

impl Strangers {
    /// Returns the number of strangers.
    pub fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Adds a stranger as the youngest.
    pub fn push(&mut self, stranger: Stranger) {
        self.waiting.push(stranger);
    }

    /// Takes all strangers out, so that each can be heard.
    pub fn take(&mut self) -> Vec<Stranger> {
        std::mem::take(&mut self.waiting)
    }

    /// Takes out the stranger that has to go first: the oldest from the address that has the most.
    pub fn take_one_to_drop(&mut self) -> Option<Stranger> {
        let mut counts = BTreeMap::new();
        for stranger in &self.waiting {
            *counts.entry(stranger.address).or_insert(0) += 1;
        }
        let most = counts.values().max()?;
        let oldest = self.waiting.iter().position(|stranger| counts[&stranger.address] == *most)?;
        Some(self.waiting.remove(oldest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn whoever_fills_the_room_pushes_out_their_own() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut strangers = Strangers::default();
        // A rank's connection is the oldest of all.
        let addresses = [7, 1, 1, 2, 1].map(|last| IpAddr::from([10, 0, 0, last]));
        for address in addresses {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            strangers.push(Stranger::new(stream, address, Instant::now()).unwrap());
        }
        let mut dropped = || strangers.take_one_to_drop().map(|stranger| stranger.address);
        let [rank, crowd, .., other, _] = addresses;
        assert_eq!([(); 6].map(|()| dropped()), [Some(crowd), Some(crowd), Some(rank), Some(other), Some(crowd), None]);
    }
}
