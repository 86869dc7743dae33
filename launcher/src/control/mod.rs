//! The control server: every rank of an attempt connects to it, shows the attempt's token, and reports.
//!
//! Anyone can connect, so a connection costs next to nothing before it has shown the token ([`strangers`]), and there are
//! never more than `STRANGERS_MAX` connections beyond those of the ranks. [`door`] decides who is let in, and [`complaints`]
//! reports the others. Each admitted rank has one connection at a time, and a thread that turns its lines into [`Event`]s.
//!
//! No thread accepts connections: the thread that watches the attempt calls [`ControlServer::admit`] between events.
//! [`ControlServer::close`] ends the listening. Connections end by themselves when their ranks do; with the last one, the
//! last sender of events is gone.

mod complaints;
mod door;
mod strangers;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, BufReader, ErrorKind, Read as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use common::topology::{Rank, WorldSize};
use common::worker_contract::{MESSAGE_BYTES_MAX, PROTOCOL_VERSION, ToRank, read_line, write_line};

use crate::event::Event;
use common::random;
use complaints::Complaints;
use door::{Door, Verdict};
use strangers::{Heard, Stranger, Strangers};

/// Number of connections that are allowed beyond those of the ranks.
const STRANGERS_MAX: usize = 32;
/// Connections accepted before the thread that watches the attempt looks at something else.
const ACCEPTED_AT_ONCE: usize = 1024;
/// How long a write to a rank may take; a rank that does not receive it in this time is not waited for.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause between two looks at strangers while the server closes.
const CLOSING_PAUSE: Duration = Duration::from_millis(10);

/// Listens on one address of this machine for the ranks of one attempt.
pub struct ControlServer {
    listener: TcpListener,
    address: SocketAddr,
    door: Door,
    strangers: Strangers,
    /// Threads of connected ranks; some may have ended since the last look.
    readers: BTreeMap<Rank, JoinHandle<()>>,
    complaints: Complaints,
    events: Sender<Event>,
}

impl ControlServer {
    /// Listens on a free port of `address`, with a fresh random token.
    pub fn start(address: IpAddr, world_size: WorldSize, events: Sender<Event>) -> io::Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(ControlServer {
            listener,
            address,
            door: Door { token: random::token(), world_size },
            strangers: Strangers::default(),
            readers: BTreeMap::new(),
            complaints: Complaints::default(),
            events,
        })
    }

    /// Returns `host:port` for the ranks.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Returns the token that ranks must show.
    pub fn token(&self) -> &str {
        &self.door.token
    }

    /// Accepts waiting connections, and lets in those that have shown the token by `now`. Never waits.
    pub fn admit(&mut self, now: Instant) {
        self.readers.retain(|_, reader| !reader.is_finished());
        for stranger in self.strangers.take() {
            self.hear(stranger, now);
        }
        for _ in 0..ACCEPTED_AT_ONCE {
            match self.listener.accept() {
                Ok((stream, from)) => match Stranger::new(stream, from.ip(), now) {
                    Ok(stranger) => self.hear(stranger, now),
                    Err(error) => self.refuse(from.ip(), &error.to_string(), now),
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                // Most likely there are too many open files.
                Err(error) => match self.strangers.take_one_to_drop() {
                    Some(stranger) => self.refuse(stranger.address, &format!("another waits, and {error}"), now),
                    None => {
                        return self.complaints.tell(now, || format!("no control connection can be accepted: {error}"));
                    }
                },
            }
        }
    }

    /// Stops listening. Connections that have been accepted are heard for at most `patience`.
    pub fn close(mut self, patience: Duration) {
        let until = Instant::now() + patience;
        self.admit(Instant::now());
        while self.strangers.count() > 0 && Instant::now() < until {
            std::thread::sleep(CLOSING_PAUSE);
            for stranger in self.strangers.take() {
                self.hear(stranger, Instant::now());
            }
        }
    }

    /// Reads what `stranger` has said by `now`. Where that leaves too many strangers waiting, one of them is dropped, after a
    /// last hearing: ranks that all connect at once are no crowd.
    fn hear(&mut self, stranger: Stranger, now: Instant) {
        let address = stranger.address;
        match stranger.hear(now) {
            Heard::Waiting(stranger) => self.strangers.push(stranger),
            heard => return self.judge(address, heard, now),
        }
        let ranks_missing = (self.door.world_size.get() as usize).saturating_sub(self.readers.len());
        if self.strangers.count() > ranks_missing + STRANGERS_MAX
            && let Some(stranger) = self.strangers.take_one_to_drop()
        {
            self.judge(stranger.address, stranger.hear(now), now);
        }
    }

    /// Lets in or refuses a connection from `address` that has been heard.
    fn judge(&mut self, address: IpAddr, heard: Heard, now: Instant) {
        let (stream, hello, rest) = match heard {
            Heard::Hello { stream, hello, rest } => (stream, hello, rest),
            Heard::Waiting(_) => return self.refuse(address, "others wait, and it has not introduced itself", now),
            Heard::Dropped(reason) => return self.refuse(address, &reason, now),
        };
        match self.door.judge(&hello) {
            Verdict::Rank(rank, _) if self.readers.contains_key(&rank) => {
                self.refuse(address, &format!("it says that it is rank {rank}, which is connected"), now);
            }
            Verdict::Rank(rank, host) => self.let_in(rank, host, stream, rest),
            Verdict::Misfit(reason) => deliver(&self.events, Event::Misfit { reason }),
            Verdict::Stranger => self.refuse(address, "it did not show this attempt's token", now),
        }
    }

    /// Gives `rank` a thread; `rest` is what it has said after its hello.
    fn let_in(&mut self, rank: Rank, host: String, stream: TcpStream, rest: Vec<u8>) {
        let events = self.events.clone();
        let link = Arc::new(stream);
        let body = move || {
            if let Err(error) = welcome(&link) {
                // The rank is not welcomed, and connects again.
                return tracing::warn!("rank {rank}: its control connection cannot be used: {error}");
            }
            deliver(&events, Event::Connected { rank, host, link: link.clone() });
            listen(rank, &link, &rest, &events);
            deliver(&events, Event::Left { rank });
        };
        match Builder::new().name(format!("rank {rank}")).spawn(body) {
            Ok(reader) => drop(self.readers.insert(rank, reader)),
            Err(error) => deliver(&self.events, Event::Unheard { rank, reason: error.to_string() }),
        }
    }

    fn refuse(&mut self, address: IpAddr, reason: &str, now: Instant) {
        self.complaints.tell(now, || format!("a control connection from {address} was refused: {reason}"));
    }
}

/// Tells a rank that it was let in, before anything else is written to it.
fn welcome(link: &TcpStream) -> io::Result<()> {
    link.set_nonblocking(false)?;
    link.set_write_timeout(Some(WRITE_TIMEOUT))?;
    write_line(&mut &*link, &ToRank::Welcome)
}

/// Passes on what `rank` says, beginning with `rest`, until its connection ends.
fn listen(rank: Rank, link: &TcpStream, rest: &[u8], events: &Sender<Event>) {
    let mut reader = BufReader::new(rest.chain(link));
    loop {
        match read_line(&mut reader, MESSAGE_BYTES_MAX) {
            Ok(Some(message)) => deliver(events, Event::Message { rank, message }),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                tracing::warn!("rank {rank}: not a message of protocol {PROTOCOL_VERSION}: {error}");
            }
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                tracing::warn!("rank {rank}: its control connection is ended: {error}");
                let _ = link.shutdown(Shutdown::Both);
                return;
            }
            // A rank that was killed may reset its connection instead of closing it.
            Ok(None) | Err(_) => return,
        }
    }
}

/// Sends `event`. Nobody listens any more once an attempt has been given up.
fn deliver(events: &Sender<Event>, event: Event) {
    let _ = events.send(event);
}
