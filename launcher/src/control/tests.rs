//! Ranks and strangers that connect to a server.

use super::*;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::mpsc::{self, Receiver};

use common::exit_code::ExitCode;
use common::worker_contract::{FromRank, MicroBatches, Phase};
use strangers::HELLO_TIMEOUT;

/// Longest wait of a test for what must come.
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

    /// Opens a connection that says nothing yet.
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

/// Fails unless the server has ended `stream`, regardless of what it said before.
fn assert_ended(mut stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("it goes on: {other:?}"),
    }
}

fn heartbeat() -> FromRank {
    let micro_batches = Some(MicroBatches { done: 1, all: 4 });
    FromRank::Heartbeat { step: 3, phase: Phase::Training, exchange: None, busy_s: 0.0, micro_batches }
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
    // The hello comes in two pieces.
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
    for guess in [format!("{}{last}", &token[..31]), "0".repeat(32), "guess".into(), String::new(), token.repeat(2)] {
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
    // None of the two ranks has come.
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
    // The rank's thread may take a moment more to end.
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
    // The connection may end while the rank writes, or after.
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
