//! The control server: every rank of an attempt connects to it, shows the attempt's token, and reports.
//!
//! One thread per connection turns lines into [`Event`]s. There is no thread that accepts: whoever watches the attempt
//! calls [`ControlServer::admit`] between events. Dropping the server ends the listening; connections end by
//! themselves when their ranks do, and with the last one the last sender of events is gone.

use std::io::{self, BufRead, BufReader, ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use common::topology::{Rank, WorldSize};
use common::worker_contract::{FromRank, PROTOCOL_VERSION, read_line};

use crate::event::Event;
use crate::random;

/// A connection that has not introduced itself by then is dropped.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// No introduction is longer.
const HELLO_BYTES_MAX: u64 = 4096;
/// A rank that does not take a request off the wire this long is not waited for.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Listens on one address of this machine for the ranks of one attempt.
pub struct ControlServer {
    listener: TcpListener,
    address: SocketAddr,
    door: Arc<Door>,
    events: Sender<Event>,
}

/// Who is let in.
struct Door {
    token: String,
    world_size: WorldSize,
}

impl ControlServer {
    /// Listens on a free port of `address`, with a fresh random token.
    pub fn start(address: IpAddr, world_size: WorldSize, events: Sender<Event>) -> io::Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(ControlServer { listener, address, door: Arc::new(Door { token: random::token()?, world_size }), events })
    }

    /// `host:port` for the ranks.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// What ranks must show.
    pub fn token(&self) -> &str {
        &self.door.token
    }

    /// Accepts every connection that waits, and returns at once when there is none.
    pub fn admit(&self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    let (door, events) = (self.door.clone(), self.events.clone());
                    std::thread::spawn(move || serve(&stream, &door, &events));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => {
                    tracing::warn!("cannot accept a control connection: {error}");
                    return;
                }
            }
        }
    }
}

/// Reads one connection to its end.
fn serve(stream: &TcpStream, door: &Door, events: &Sender<Event>) {
    let mut reader = BufReader::new(stream);
    let (rank, host) = match welcome(stream, &mut reader, door) {
        Ok(Some(welcomed)) => welcomed,
        Ok(None) => return tracing::warn!("a control connection without this attempt's token was refused"),
        Err(Refusal::Io(error)) => return tracing::warn!("a control connection ended before its hello: {error}"),
        Err(Refusal::Misfit(reason)) => return deliver(events, Event::Misfit { reason }),
    };
    match stream.try_clone() {
        Ok(link) => deliver(events, Event::Connected { rank, host, link }),
        Err(error) => return tracing::warn!("rank {rank}: cannot share its control connection: {error}"),
    }
    loop {
        match read_line(&mut reader) {
            Ok(Some(message)) => deliver(events, Event::Message { rank, message }),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                tracing::warn!("rank {rank}: not a message of protocol {PROTOCOL_VERSION}: {error}");
            }
            // A rank that was killed may reset its connection instead of closing it.
            Ok(None) | Err(_) => return deliver(events, Event::Left { rank }),
        }
    }
}

/// Nobody listens any more once an attempt has been given up.
fn deliver(events: &Sender<Event>, event: Event) {
    let _ = events.send(event);
}

enum Refusal {
    Io(io::Error),
    Misfit(String),
}

/// Reads the hello. `None` for a stranger; a rank of ours that does not fit says why.
fn welcome(stream: &TcpStream, reader: &mut impl BufRead, door: &Door) -> Result<Option<(Rank, String)>, Refusal> {
    stream.set_read_timeout(Some(HELLO_TIMEOUT)).map_err(Refusal::Io)?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT)).map_err(Refusal::Io)?;
    let hello = read_line(&mut reader.take(HELLO_BYTES_MAX)).map_err(Refusal::Io)?;
    let Some(FromRank::Hello { version, token, rank, world_size, host, .. }) = hello else { return Ok(None) };
    if token != door.token {
        return Ok(None);
    }
    stream.set_read_timeout(None).map_err(Refusal::Io)?;
    if version != PROTOCOL_VERSION {
        return Err(Refusal::Misfit(format!(
            "the worker speaks protocol {version}, this launcher {PROTOCOL_VERSION}; build both from one checkout"
        )));
    }
    if world_size != door.world_size || rank.0 >= world_size.get() {
        return Err(Refusal::Misfit(format!(
            "a worker says that it is rank {rank} of {world_size}, expected {} ranks; \
             build it against the MPI that the mpirun on PATH belongs to",
            door.world_size
        )));
    }
    Ok(Some((rank, host)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::mpsc::{self, Receiver};

    use common::worker_contract::{Phase, ToRank, write_line};

    struct Rig {
        server: ControlServer,
        events: Receiver<Event>,
    }

    impl Rig {
        fn new() -> Self {
            let (sender, events) = mpsc::channel();
            let server = ControlServer::start(Ipv4Addr::LOCALHOST.into(), WorldSize::new(2).unwrap(), sender).unwrap();
            Rig { server, events }
        }

        fn hello(&self) -> FromRank {
            FromRank::Hello {
                version: PROTOCOL_VERSION,
                token: self.server.token().to_owned(),
                rank: Rank(1),
                world_size: WorldSize::new(2).unwrap(),
                pid: 1,
                host: "here".into(),
            }
        }

        fn connect(&self, first: &FromRank) -> TcpStream {
            let mut stream = TcpStream::connect(self.server.address()).unwrap();
            write_line(&mut stream, first).unwrap();
            self.server.admit();
            stream
        }
    }

    #[test]
    fn a_rank_with_the_token_is_heard_and_can_be_told_to_stop() {
        let rig = Rig::new();
        let mut stream = rig.connect(&rig.hello());
        let Event::Connected { rank: Rank(1), mut link, .. } = rig.events.recv().unwrap() else {
            panic!("no connection")
        };
        write_line(&mut link, &ToRank::Stop).unwrap();
        assert_eq!(read_line(&mut BufReader::new(&stream)).unwrap(), Some(ToRank::Stop));
        let heartbeat = FromRank::Heartbeat { step: 3, phase: Phase::Training, exchange: None, busy_s: 0.0 };
        write_line(&mut stream, &heartbeat).unwrap();
        let Event::Message { rank: Rank(1), message } = rig.events.recv().unwrap() else { panic!("no message") };
        assert_eq!(message, heartbeat);
    }

    #[test]
    fn strangers_are_dropped_and_when_all_have_left_the_channel_ends() {
        let Rig { server, events } = {
            let rig = Rig::new();
            let FromRank::Hello { version, rank, world_size, pid, host, .. } = rig.hello() else { unreachable!() };
            rig.connect(&FromRank::Hello { version, token: "guess".into(), rank, world_size, pid, host });
            rig.connect(&FromRank::Heartbeat { step: 1, phase: Phase::Training, exchange: None, busy_s: 0.0 });
            rig
        };
        drop(server);
        assert!(events.recv().is_err());
    }

    #[test]
    fn another_version_and_another_world_are_misfits() {
        let rig = Rig::new();
        let FromRank::Hello { token, rank, world_size, pid, host, version } = rig.hello() else { unreachable!() };
        let newer = FromRank::Hello { version: version + 1, token, rank, world_size, pid, host };
        rig.connect(&newer);
        let Event::Misfit { reason } = rig.events.recv().unwrap() else { panic!("let in") };
        assert!(reason.contains("build both from one checkout"), "{reason}");

        let FromRank::Hello { token, pid, host, .. } = rig.hello() else { unreachable!() };
        let alone = FromRank::Hello { version, token, rank: Rank::ZERO, world_size: WorldSize::ONE, pid, host };
        rig.connect(&alone);
        let Event::Misfit { reason } = rig.events.recv().unwrap() else { panic!("let in") };
        assert!(reason.contains("rank 0 of 1, expected 2 ranks"), "{reason}");
    }
}
