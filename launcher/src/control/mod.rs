//! The control server: every rank of an attempt connects to it, shows the attempt's token, and reports.
//!
//! Anyone can connect, so a connection costs next to nothing before it has shown the token ([`strangers`]), and there are
//! never more connections than ranks and a few. [`door`] says who is let in. Each rank that is has a thread, which turns lines
//! into [`Event`]s; there is one connection for each rank at a time.
//!
//! There is no thread that accepts: whoever watches the attempt calls [`ControlServer::admit`] between events.
//! [`ControlServer::close`] ends the listening; connections end by themselves when their ranks do, and with the last one the
//! last sender of events is gone.

mod door;
mod strangers;

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
use door::{Door, Verdict};
use strangers::{Heard, Stranger, Strangers};

/// Connections beyond those of the ranks.
const STRANGERS_MAX: usize = 32;
/// Connections accepted before whoever watches the attempt looks at something else.
const ACCEPTED_AT_ONCE: usize = 1024;
/// A rank that does not take a request off the wire this long is not waited for.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// Time between two warnings about strangers.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);
/// Pause between two looks at what has not introduced itself when the server closes.
const CLOSING_PAUSE: Duration = Duration::from_millis(10);

/// Listens on one address of this machine for the ranks of one attempt.
pub struct ControlServer {
    listener: TcpListener,
    address: SocketAddr,
    door: Door,
    strangers: Strangers,
    /// The threads of ranks that are connected, or were when last looked at.
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

    /// `host:port` for the ranks.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// What ranks must show.
    pub fn token(&self) -> &str {
        &self.door.token
    }

    /// Accepts what waits and lets in who has shown the token by `now`. Never waits for anybody.
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

    /// Ends the listening. Whoever has connected already is heard out for at most `patience`.
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

    /// Takes what `stranger` has said by `now`. Where it leaves too many waiting, one of them is dropped, but not unheard: ranks
    /// that all connect at once are no crowd.
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

    /// Lets in or refuses whoever from `address` has been heard.
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

    /// Gives `rank` a thread; `rest` is what it has said behind its hello.
    fn let_in(&mut self, rank: Rank, host: String, stream: TcpStream, rest: Vec<u8>) {
        let events = self.events.clone();
        let link = Arc::new(stream);
        let body = move || {
            if let Err(error) = welcome(&link) {
                // The rank hears nothing, and connects again.
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

/// Tells a rank that it was let in, before anybody else writes to it.
fn welcome(link: &TcpStream) -> io::Result<()> {
    link.set_nonblocking(false)?;
    link.set_write_timeout(Some(WRITE_TIMEOUT))?;
    write_line(&mut &*link, &ToRank::Welcome)
}

/// Passes on what `rank` says until its connection ends; it begins with `rest`.
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

/// Nobody listens any more once an attempt has been given up.
fn deliver(events: &Sender<Event>, event: Event) {
    let _ = events.send(event);
}

/// Warnings that anyone who can connect can cause: one in a while, so that they fill no log.
#[derive(Default)]
struct Complaints {
    told_at: Option<Instant>,
    untold: u64,
}

impl Complaints {
    fn tell(&mut self, now: Instant, text: impl FnOnce() -> String) {
        match self.due(now) {
            None => {}
            Some(0) => tracing::warn!("{}", text()),
            Some(untold) => tracing::warn!("{} (and {untold} more since the last such line)", text()),
        }
    }

    /// Whether there may be a warning now: how many there were none of since the last.
    fn due(&mut self, now: Instant) -> Option<u64> {
        if self.told_at.is_some_and(|told_at| now < told_at + COMPLAINT_INTERVAL) {
            self.untold += 1;
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::Ipv4Addr;
    use std::sync::mpsc::{self, Receiver};

    use common::exit_code::ExitCode;
    use common::worker_contract::{FromRank, Phase};
    use strangers::HELLO_TIMEOUT;

    /// How long a test waits for what must come.
    const PATIENCE: Duration = Duration::from_secs(60);

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

        /// A connection that says nothing yet.
        fn knock(&self) -> TcpStream {
            TcpStream::connect(self.server.address()).unwrap()
        }

        fn connect(&mut self, first: &FromRank) -> TcpStream {
            let mut stream = self.knock();
            write_line(&mut stream, first).unwrap();
            self.server.admit(Instant::now());
            stream
        }

        fn event(&self) -> Event {
            self.events.recv_timeout(PATIENCE).unwrap()
        }

        fn connected(&self) -> Arc<TcpStream> {
            match self.event() {
                Event::Connected { rank: Rank(1), link, .. } => link,
                other => panic!("no connection: {other:?}"),
            }
        }
    }

    /// Fails unless the server has ended `stream`, whatever it said before.
    fn assert_ended(mut stream: &TcpStream) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match stream.read_to_end(&mut Vec::new()) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("it goes on: {other:?}"),
        }
    }

    fn heartbeat() -> FromRank {
        FromRank::Heartbeat { step: 3, phase: Phase::Training, exchange: None, busy_s: 0.0 }
    }

    #[test]
    fn a_rank_with_the_token_is_heard_and_can_be_told_to_stop() {
        let mut rig = Rig::new();
        let mut stream = rig.connect(&rig.hello());
        let link = rig.connected();
        write_line(&mut &*link, &ToRank::Stop).unwrap();
        let mut heard = BufReader::new(&stream);
        let [first, second] = [(); 2].map(|()| read_line(&mut heard, MESSAGE_BYTES_MAX).unwrap());
        assert_eq!([first, second], [Some(ToRank::Welcome), Some(ToRank::Stop)]);
        write_line(&mut stream, &heartbeat()).unwrap();
        let Event::Message { rank: Rank(1), message } = rig.event() else { panic!("no message") };
        assert_eq!(message, heartbeat());
    }

    #[test]
    fn what_arrives_together_with_the_hello_is_heard_too() {
        let mut rig = Rig::new();
        let mut said = Vec::new();
        for message in [rig.hello(), heartbeat(), FromRank::Exit { code: ExitCode::Done, message: String::new() }] {
            write_line(&mut said, &message).unwrap();
        }
        let mut stream = rig.knock();
        // In two pieces, the first of which ends within the hello.
        let (first, second) = said.split_at(20);
        stream.write_all(first).unwrap();
        rig.server.admit(Instant::now());
        stream.write_all(second).unwrap();
        drop(stream);
        rig.server.close(PATIENCE);
        let events: Vec<Event> = rig.events.iter().collect();
        let [
            Event::Connected { .. },
            Event::Message { message: FromRank::Heartbeat { .. }, .. },
            Event::Message { message: FromRank::Exit { .. }, .. },
            Event::Left { rank: Rank(1) },
        ] = &events[..]
        else {
            panic!("{events:?}")
        };
    }

    #[test]
    fn strangers_are_dropped_and_when_all_have_left_the_channel_ends() {
        let mut rig = Rig::new();
        let idle = rig.knock();
        let stranger = rig.connect(&heartbeat());
        assert_ended(&stranger);
        rig.server.close(Duration::ZERO);
        assert_ended(&idle);
        assert!(rig.events.recv().is_err());
    }

    #[test]
    fn a_wrong_token_of_the_right_length_is_refused_as_is_any_other() {
        let mut rig = Rig::new();
        let token = rig.server.token().to_owned();
        let last = if token.ends_with('0') { "1" } else { "0" };
        for guess in [format!("{}{last}", &token[..31]), "0".repeat(32), "guess".into(), String::new(), token.repeat(2)]
        {
            let FromRank::Hello { version, rank, world_size, pid, host, .. } = rig.hello() else { unreachable!() };
            let stranger = rig.connect(&FromRank::Hello { version, token: guess, rank, world_size, pid, host });
            assert_ended(&stranger);
        }
        assert!(rig.events.try_recv().is_err());
        rig.connect(&rig.hello());
        rig.connected();
    }

    #[test]
    fn idle_strangers_beyond_the_cap_do_not_keep_a_rank_out() {
        let mut rig = Rig::new();
        let now = Instant::now();
        let idle: Vec<TcpStream> = (0..200)
            .map(|_| {
                let stream = rig.knock();
                rig.server.admit(now);
                stream
            })
            .collect();
        // Of two ranks, none has come.
        assert_eq!(rig.server.strangers.count(), STRANGERS_MAX + 2);
        idle[..200 - STRANGERS_MAX - 2].iter().for_each(assert_ended);

        // The rank is slower than strangers that come after it.
        let mut stream = rig.knock();
        rig.server.admit(now);
        let _more: Vec<TcpStream> = (0..10).map(|_| rig.knock()).collect();
        rig.server.admit(now);
        write_line(&mut stream, &rig.hello()).unwrap();
        rig.server.admit(now);
        rig.connected();
        assert!(rig.server.strangers.count() <= STRANGERS_MAX + 1);
        rig.server.admit(now + HELLO_TIMEOUT);
        assert_eq!(rig.server.strangers.count(), 0);
    }

    #[test]
    fn a_rank_that_has_said_its_hello_is_let_in_however_many_come_before_it_is_heard() {
        let mut rig = Rig::new();
        let now = Instant::now();
        let mut stream = rig.knock();
        rig.server.admit(now);
        write_line(&mut stream, &rig.hello()).unwrap();
        let crowd: Vec<TcpStream> = (0..100).map(|_| rig.knock()).collect();
        rig.server.admit(now);
        rig.connected();
        drop(crowd);
    }

    #[test]
    fn a_hello_that_trickles_is_dropped_at_the_deadline() {
        let mut rig = Rig::new();
        let now = Instant::now();
        let mut stream = rig.knock();
        for second in [0, 5, 9] {
            stream.write_all(b" ").unwrap();
            rig.server.admit(now + Duration::from_secs(second));
            assert_eq!(rig.server.strangers.count(), 1, "after {second} s");
        }
        stream.write_all(b" ").unwrap();
        rig.server.admit(now + HELLO_TIMEOUT);
        assert_ended(&stream);
        assert_eq!(rig.server.strangers.count(), 0);
    }

    #[test]
    fn a_hello_without_an_end_is_dropped() {
        let mut rig = Rig::new();
        let mut stream = rig.knock();
        stream.write_all(&[b' '; 5000]).unwrap();
        rig.server.admit(Instant::now());
        assert_ended(&stream);
        assert!(rig.events.try_recv().is_err());
    }

    #[test]
    fn a_second_hello_of_a_rank_is_refused_until_the_first_has_left() {
        let mut rig = Rig::new();
        let mut first = rig.connect(&rig.hello());
        let link = rig.connected();
        let second = rig.connect(&rig.hello());
        assert_ended(&second);
        write_line(&mut first, &heartbeat()).unwrap();
        assert!(matches!(rig.event(), Event::Message { rank: Rank(1), .. }));

        drop((first, link));
        assert!(matches!(rig.event(), Event::Left { rank: Rank(1) }));
        // Its thread may take a moment more to end.
        while rig.server.readers.values().any(|reader| !reader.is_finished()) {
            std::thread::yield_now();
        }
        let _third = rig.connect(&rig.hello());
        rig.connected();
    }

    #[test]
    fn an_endless_line_ends_its_connection() {
        let mut rig = Rig::new();
        let mut stream = rig.connect(&rig.hello());
        let _link = rig.connected();
        let piece = [b'x'; 4096];
        let sent = (0..2 * MESSAGE_BYTES_MAX / piece.len()).try_for_each(|_| stream.write_all(&piece));
        assert!(matches!(rig.event(), Event::Left { rank: Rank(1) }));
        // Whether it was told while it wrote or after.
        if sent.is_ok() {
            assert_ended(&stream);
        }
    }

    #[test]
    fn another_version_and_another_world_are_misfits() {
        let mut rig = Rig::new();
        let FromRank::Hello { token, rank, world_size, pid, host, version } = rig.hello() else { unreachable!() };
        let newer = FromRank::Hello { version: version + 1, token, rank, world_size, pid, host };
        rig.connect(&newer);
        let Event::Misfit { reason } = rig.event() else { panic!("let in") };
        assert!(reason.contains("build both from one checkout"), "{reason}");

        let FromRank::Hello { token, pid, host, .. } = rig.hello() else { unreachable!() };
        let alone = FromRank::Hello { version, token, rank: Rank::ZERO, world_size: WorldSize::ONE, pid, host };
        rig.connect(&alone);
        let Event::Misfit { reason } = rig.event() else { panic!("let in") };
        assert!(reason.contains("rank 0 of 1, expected 2 ranks"), "{reason}");
    }

    #[test]
    fn whoever_can_connect_fills_no_log() {
        let mut complaints = Complaints::default();
        let now = Instant::now();
        let told = (0..250).filter_map(|tenth| complaints.due(now + Duration::from_millis(100 * tenth)));
        assert_eq!(told.collect::<Vec<_>>(), [0, 99, 99]);
    }
}
