//! This rank's end of the control connection, and the requests that reach the rank over it or as signals.
//!
//! A reader thread turns the launcher's messages into [`Requests`]. A heartbeat thread reports every second where the
//! rank is and what it exchanges with others. A rank that has lost the launcher for `launch.stall_timeout_s` ends
//! itself, so that none outlives a partition. It ends at once if the launcher's process, on the same machine, is
//! gone, or if its own parent has ended.
//!
//! Without a launcher (a plain mpirun) there is no connection, and only signals remain.

use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use common::host_name::host_name;
use common::signals::is_ignored;
use common::topology::{Rank, WorldSize};
use common::worker_contract::{
    FromRank, MESSAGE_BYTES_MAX, MicroBatches, PROTOCOL_VERSION, Phase, ToRank, read_line, write_line,
};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpUserTimeout;
use nix::unistd::getppid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::collectives::in_flight::InFlight;
use crate::error::JobError;
use crate::stacks;

/// Interval of heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Limit of the time that the launcher may take to accept a message: one that is suspended for longer counts as gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit of the time without a confirmation from the launcher's machine, after which it counts as gone: a broken
/// network says nothing by itself. Long enough for a cable that is plugged in again.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Limit of the time that a rank tries to reach the launcher at its start: networks lose packets, and hosts wake up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two attempts to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(500);
/// Pauses between two checks whether a launcher on this machine is still there: the first, and the longest.
const LOOK_PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];

/// Requests of people and schedulers to a running job; read once per step, and agreed on by all ranks.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    stop: Arc<AtomicBool>,
    save: Arc<AtomicBool>,
}

impl Requests {
    /// Creates requests that also arrive as signals: SIGUSR1 saves; SIGUSR2, SIGTERM, SIGINT and, except under
    /// `nohup`, SIGHUP save and stop.
    pub fn from_signals() -> io::Result<Self> {
        let requests = Requests::default();
        signal_hook::flag::register(SIGUSR1, requests.save.clone())?;
        let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
        for signal in [SIGUSR2, SIGTERM, SIGINT].into_iter().chain(hangup) {
            signal_hook::flag::register(signal, requests.stop.clone())?;
        }
        Ok(requests)
    }

    /// Returns whether a stop has been asked for. A stop cannot be taken back.
    pub fn wants_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Asks for a stop.
    pub fn ask_for_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Asks for a save.
    pub fn ask_for_save(&self) {
        self.save.store(true, Ordering::Relaxed);
    }

    /// Returns whether a save has been asked for since the last call.
    pub fn take_save(&self) -> bool {
        self.save.swap(false, Ordering::Relaxed)
    }
}

/// Control connection of this rank, if there is a launcher. Sending never fails and never blocks training for long.
#[derive(Clone, Default)]
pub struct Control {
    link: Option<Arc<Link>>,
}

struct Link {
    stream: Mutex<TcpStream>,
    step: AtomicU64,
    /// Time that steps have kept this rank busy, in microseconds.
    busy: AtomicU64,
    phase: AtomicU8,
    /// Micro batches of the step or the validation, or passes of tasks: those done in the upper half, all in the lower; 0
    /// outside of these.
    micro_batches: AtomicU64,
    in_flight: Arc<InFlight>,
}

/// Address of the launcher, and what is needed to be let in.
pub struct LauncherAddress<'a> {
    /// `host:port`.
    pub address: &'a str,
    /// Secret that the launcher expects.
    pub token: &'a str,
    /// Time that the launcher may be gone before this rank ends itself.
    pub lost_timeout: Duration,
}

impl Control {
    /// Connects to the launcher and reports `in_flight` to it. Calls `on_lost` when the launcher has been gone for
    /// too long; `on_lost` must end the process.
    pub fn connect(
        launcher: &LauncherAddress<'_>,
        (rank, world_size): (Rank, WorldSize),
        in_flight: Arc<InFlight>,
        requests: &Requests,
        on_lost: fn(JobError),
    ) -> Result<Self, JobError> {
        let lost = |error: io::Error| {
            JobError::LauncherLost(format!(
                "rank {rank} cannot reach the launcher at {}: {error}; check that this host may connect to it",
                launcher.address
            ))
        };
        let hello = FromRank::Hello {
            version: PROTOCOL_VERSION,
            token: launcher.token.to_owned(),
            rank,
            world_size,
            pid: std::process::id(),
            host: host_name(),
        };
        let door =
            Door { address: launcher.address.to_owned(), hello, silence_max: SILENCE_MAX.min(launcher.lost_timeout) };
        let until = Instant::now() + CONNECT_TIMEOUT;
        let stream = door.knock(until).map_err(lost)?;
        let reader = stream.try_clone().map_err(lost)?;
        let link = Arc::new(Link {
            stream: Mutex::new(stream),
            step: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            phase: AtomicU8::new(phase_code(Phase::Starting)),
            micro_batches: AtomicU64::new(0),
            in_flight,
        });
        let control = Control { link: Some(link.clone()) };
        let (requests, timeout) = (requests.clone(), launcher.lost_timeout);
        // Without this, stacks cannot be printed on request; nothing else is lost.
        if let Err(error) = stacks::prepare() {
            tracing::warn!("stacks cannot be printed: {error}");
        }
        let following = move || {
            follow(reader, &link, &door, until, &requests);
            on_lost(JobError::LauncherLost(match door.await_end(timeout) {
                true => format!("rank {rank} has lost the launcher, whose process has ended; start the run again"),
                false => format!(
                    "rank {rank} has lost the launcher for launch.stall_timeout_s = {}; start the run again",
                    timeout.as_secs()
                ),
            }));
        };
        let (beating, parent) = (control.clone(), getppid());
        let heartbeats = move || {
            while getppid() == parent {
                beating.heartbeat();
                std::thread::sleep(HEARTBEAT_INTERVAL);
            }
            on_lost(JobError::LauncherLost(format!(
                "rank {rank} has lost process {parent}, which had started it (mpirun, its daemon, or the launcher); start the run again"
            )));
        };
        Builder::new().name("launcher".into()).spawn(following).map_err(JobError::Thread)?;
        Builder::new().name("heartbeat".into()).spawn(heartbeats).map_err(JobError::Thread)?;
        Ok(control)
    }

    /// Returns whether a launcher is connected.
    pub fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// Reports where the rank is. A change of phase is sent at once.
    pub fn report(&self, step: u64, phase: Phase) {
        let Some(link) = &self.link else { return };
        link.micro_batches.store(0, Ordering::Relaxed);
        link.step.store(step, Ordering::Relaxed);
        if link.phase.swap(phase_code(phase), Ordering::Relaxed) != phase_code(phase) {
            self.heartbeat();
        }
    }

    /// Reports how many of `all` micro batches of the step or the validation, or passes of tasks, are done. The next
    /// heartbeat says so.
    pub fn report_micro_batches(&self, done: usize, all: usize) {
        let Some(link) = &self.link else { return };
        let half = |count: usize| u64::from(u32::try_from(count).unwrap_or(u32::MAX));
        link.micro_batches.store(half(done) << 32 | half(all), Ordering::Relaxed);
    }

    /// Adds the time that a step has kept this rank busy.
    pub fn report_busy(&self, busy: Duration) {
        let Some(link) = &self.link else { return };
        link.busy.fetch_add(busy.as_micros() as u64, Ordering::Relaxed);
    }

    /// Sends one message. The reader thread deals with a launcher that is gone.
    pub fn send(&self, message: &FromRank) {
        let Some(link) = &self.link else { return };
        let mut stream = link.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if write_line(&mut *stream, message).is_err() {
            // Half a message may have been sent, so nothing can follow it; the reader thread also sees the end.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn heartbeat(&self) {
        let Some(link) = &self.link else { return };
        let step = link.step.load(Ordering::Relaxed);
        let phase = PHASES[usize::from(link.phase.load(Ordering::Relaxed))];
        let busy_s = link.busy.load(Ordering::Relaxed) as f64 / 1e6;
        let micro_batches = link.micro_batches();
        self.send(&FromRank::Heartbeat { step, phase, exchange: link.in_flight.words(), busy_s, micro_batches });
    }
}

impl Link {
    fn micro_batches(&self) -> Option<MicroBatches> {
        let halves = self.micro_batches.load(Ordering::Relaxed);
        (halves > 0).then_some(MicroBatches { done: (halves >> 32) as u32, all: halves as u32 })
    }
}

/// Address of the launcher, and the first message to it.
struct Door {
    address: String,
    hello: FromRank,
    silence_max: Duration,
}

impl Door {
    /// Connects and sends the hello; tries again until `until` while there is no connection.
    fn knock(&self, until: Instant) -> io::Result<TcpStream> {
        let mut stream = connect(&self.address, until)?;
        stream.set_nodelay(true)?;
        setsockopt(&stream, TcpUserTimeout, &(self.silence_max.as_millis() as u32))?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        // If the connection ends before it has taken the hello, the reader that waits for the welcome notices.
        let _ = write_line(&mut stream, &self.hello);
        Ok(stream)
    }

    /// Waits for `timeout`, since a stop that the lost launcher began may still be going on. Returns true, earlier,
    /// if the launcher ran on this machine and nothing listens at its address any more; a launcher that is only
    /// suspended still listens.
    fn await_end(&self, timeout: Duration) -> bool {
        let (until, [mut pause, pause_max]) = (Instant::now() + timeout, LOOK_PAUSES);
        let here = self.address.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
        while let left @ 1.. = until.saturating_duration_since(Instant::now()).as_millis() {
            let refuses = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
            if here.is_some_and(|address| TcpStream::connect_timeout(&address, pause).is_err_and(refuses)) {
                return true;
            }
            std::thread::sleep(pause.min(Duration::from_millis(left as u64)));
            pause = (2 * pause).min(pause_max);
        }
        false
    }
}

/// Obeys the launcher until it is gone: until its connection ends after it has welcomed this rank, or until `until`
/// without a welcome. A connection that ends without a welcome may have been pushed out by strangers, so another one
/// follows.
fn follow(mut reader: TcpStream, link: &Link, door: &Door, until: Instant, requests: &Requests) {
    while !obey(&mut BufReader::new(&reader), requests) && Instant::now() + CONNECT_PAUSE < until {
        std::thread::sleep(CONNECT_PAUSE);
        let Ok(stream) = door.knock(until) else { return };
        let Ok(next) = stream.try_clone() else { return };
        *link.stream.lock().unwrap_or_else(PoisonError::into_inner) = stream;
        reader = next;
    }
}

/// Connects to `address`; tries again until `end`.
fn connect(address: &str, end: Instant) -> io::Result<TcpStream> {
    loop {
        let left = end.saturating_duration_since(Instant::now()).max(CONNECT_PAUSE);
        let tried = address.to_socket_addrs().and_then(|mut found| {
            let first = found.next().ok_or_else(|| io::Error::other("it has no address"))?;
            TcpStream::connect_timeout(&first, left)
        });
        match tried {
            Err(_) if Instant::now() + CONNECT_PAUSE < end => std::thread::sleep(CONNECT_PAUSE),
            result => return result,
        }
    }
}

/// The phases, indexed by their code in [`Link::phase`].
const PHASES: [Phase; 5] = [Phase::Starting, Phase::Training, Phase::Evaluating, Phase::Scoring, Phase::Saving];

fn phase_code(phase: Phase) -> u8 {
    PHASES.iter().position(|p| *p == phase).unwrap_or(0) as u8
}

/// Follows the launcher's messages until the connection ends, or a line longer than any message shows that the peer
/// is no launcher. Returns whether the launcher has welcomed this rank.
fn obey(reader: &mut impl BufRead, requests: &Requests) -> bool {
    let mut is_welcome = false;
    loop {
        match read_line::<ToRank>(reader, MESSAGE_BYTES_MAX) {
            Ok(Some(ToRank::Welcome)) => is_welcome = true,
            Ok(Some(ToRank::Stop)) => requests.ask_for_stop(),
            Ok(Some(ToRank::Save)) => requests.ask_for_save(),
            Ok(Some(ToRank::Stacks)) => stacks::print_all(),
            // A newer launcher may send more; unknown messages are ignored.
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                tracing::warn!("the launcher sent something that this worker does not know: {error}");
            }
            Err(error) => {
                tracing::warn!("the control connection is over: {error}");
                return is_welcome;
            }
            Ok(None) => return is_welcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn a_rank_that_strangers_push_out_before_it_is_welcome_comes_again() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let launcher = LauncherAddress { address: &address, token: "t", lost_timeout: Duration::from_secs(3600) };
        let of = (Rank(1), WorldSize::new(2).unwrap());
        let on_lost = |error: JobError| panic!("{error}");
        let requests = Requests::default();
        let control = Control::connect(&launcher, of, Arc::default(), &requests, on_lost).unwrap();
        drop(listener.accept().unwrap());
        let (mut second, _) = listener.accept().unwrap();
        let mut heard = BufReader::new(second.try_clone().unwrap());
        let hello = read_line::<FromRank>(&mut heard, MESSAGE_BYTES_MAX).unwrap();
        assert!(matches!(hello, Some(FromRank::Hello { rank: Rank(1), .. })), "{hello:?}");
        write_line(&mut second, &ToRank::Welcome).unwrap();
        write_line(&mut second, &ToRank::Save).unwrap();
        while !requests.take_save() {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Messages sent from now on go to the new connection, too.
        control.send(&FromRank::Notice { text: "here".into() });
        let notice = FromRank::Notice { text: "here".into() };
        while read_line::<FromRank>(&mut heard, MESSAGE_BYTES_MAX).unwrap().unwrap() != notice {}
    }

    #[test]
    fn a_heartbeat_says_how_many_micro_batches_of_the_step_are_done() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let launcher = LauncherAddress { address: &address, token: "t", lost_timeout: Duration::from_secs(3600) };
        let on_lost = |error: JobError| panic!("{error}");
        let of = (Rank(0), WorldSize::ONE);
        let control = Control::connect(&launcher, of, Arc::default(), &Requests::default(), on_lost).unwrap();
        let mut heard = BufReader::new(listener.accept().unwrap().0);
        let mut next = |of_step: u64| loop {
            match read_line::<FromRank>(&mut heard, MESSAGE_BYTES_MAX).unwrap().unwrap() {
                FromRank::Heartbeat { step, micro_batches, .. } if step == of_step => return micro_batches,
                _ => {}
            }
        };
        control.report(7, Phase::Training);
        assert_eq!(next(7), None);
        control.report_micro_batches(3, 64);
        while next(7) != Some(MicroBatches { done: 3, all: 64 }) {}
        control.report(8, Phase::Training);
        assert_eq!(next(8), None, "another step has micro batches of its own");
    }

    #[test]
    fn a_launcher_on_this_machine_that_is_gone_is_told_from_one_that_does_not_answer() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let door = Door { address, hello: FromRank::Notice { text: String::new() }, silence_max: SILENCE_MAX };
        assert!(!door.await_end(Duration::from_millis(700)));
        drop(listener);
        assert!(door.await_end(Duration::from_secs(3600)));
    }

    #[test]
    fn an_endless_line_from_whoever_poses_as_the_launcher_ends_the_connection() {
        let requests = Requests::default();
        let said = b"{\"type\":\"save\"}\n".as_slice().chain(io::repeat(b'x'));
        assert!(!obey(&mut BufReader::new(said), &requests));
        assert!(requests.take_save() && !requests.wants_stop());
    }
}
