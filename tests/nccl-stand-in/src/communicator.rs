//! A communicator, and the thread that performs its operations one after another.

use std::ffi::c_int;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::exchange::{answer, contribute};
use crate::job::Job;
use crate::plan::{Fault, Plan, log};
use crate::{IN_PROGRESS, REMOTE_ERROR, SUCCESS, SYSTEM_ERROR};

/// Pause between checks for an abort while a rank waits for others.
const TICK: Duration = Duration::from_millis(5);

/// Listeners of rank 0, until its communicator takes them over.
static LISTENERS: Mutex<Vec<TcpListener>> = Mutex::new(Vec::new());

/// Starts to listen on the loopback interface; returns the port.
pub fn listen() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    lock(&LISTENERS).push(listener);
    Ok(port)
}

/// One rank's end of a group of ranks.
pub struct Communicator {
    pub rank: usize,
    pub world: usize,
    plan: Plan,
    state: Mutex<State>,
    changed: Condvar,
    jobs: Mutex<Jobs>,
}

/// Jobs for the thread.
struct Jobs {
    /// Number of jobs that the thread has been given.
    given: u64,
    /// Sender of jobs; `None` once there will be no more.
    queue: Option<Sender<Job>>,
}

struct State {
    result: c_int,
    completed: u64,
    is_aborted: bool,
    /// Connections to all peers, for an abort.
    sockets: Vec<TcpStream>,
}

impl Communicator {
    /// Starts to connect to the ranks that meet at `port`.
    pub fn start(rank: usize, world: usize, port: u16) -> Arc<Self> {
        let (jobs, queue) = mpsc::channel();
        let state = State { result: IN_PROGRESS, completed: 0, is_aborted: false, sockets: Vec::new() };
        let communicator = Arc::new(Communicator {
            rank,
            world,
            plan: Plan::of_rank(rank),
            state: Mutex::new(state),
            changed: Condvar::new(),
            jobs: Mutex::new(Jobs { given: 0, queue: Some(jobs) }),
        });
        let own = communicator.clone();
        std::thread::spawn(move || own.run(port, &queue));
        communicator
    }

    pub fn result(&self) -> c_int {
        lock(&self.state).result
    }

    pub fn enqueue(&self, job: Job) -> c_int {
        let mut jobs = lock(&self.jobs);
        match self.plan.at(jobs.given) {
            Some(Fault::Hang) => hang(),
            Some(Fault::Busy) => {
                self.set(|state| state.result = IN_PROGRESS);
                return IN_PROGRESS;
            }
            _ => jobs.given += 1,
        }
        match jobs.queue.as_ref().map(|queue| queue.send(job)) {
            Some(Ok(())) => SUCCESS,
            _ => SYSTEM_ERROR,
        }
    }

    /// Waits at most `timeout` for `number` operations; returns whether they are complete.
    pub fn wait(&self, number: u64, timeout: Duration) -> bool {
        let waiting = self.changed.wait_timeout_while(lock(&self.state), timeout, |state| state.completed < number);
        let (state, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        state.completed >= number
    }

    pub fn abort(&self) {
        log(self.rank, "aborted");
        let mut state = lock(&self.state);
        state.is_aborted = true;
        state.sockets.drain(..).for_each(hang_up);
        self.changed.notify_all();
    }

    /// Ends the thread once the queue is empty.
    pub fn close(&self) {
        log(self.rank, "closed");
        drop(lock(&self.jobs).queue.take());
    }

    fn run(&self, port: u16, queue: &Receiver<Job>) {
        if self.suffers(self.plan.at_init()) {
            return;
        }
        let Ok(mut peers) = self.meet(port) else { return self.fail(REMOTE_ERROR) };
        self.set(|state| state.result = SUCCESS);
        for (number, mut job) in queue.iter().enumerate() {
            self.plan.wait();
            if self.suffers(self.plan.at(number as u64)) {
                return;
            }
            let outcome = match &mut peers[..] {
                [hub] if self.rank != 0 => contribute(hub, self.rank, &mut job),
                peers => answer(peers, self.world, &mut job),
            };
            if outcome.is_err() {
                return self.fail(REMOTE_ERROR);
            }
            self.set(|state| state.completed += 1);
        }
    }

    /// Makes `fault` happen; returns whether there was one.
    fn suffers(&self, fault: Option<Fault>) -> bool {
        match fault {
            Some(Fault::Silence) => {
                let silence = self.changed.wait_while(lock(&self.state), |state| !state.is_aborted);
                drop(silence.unwrap_or_else(PoisonError::into_inner));
            }
            Some(Fault::Error) => self.fail(SYSTEM_ERROR),
            // These are faults of a call, which does not come here.
            Some(Fault::Hang | Fault::Busy) | None => {}
        }
        fault.is_some()
    }

    /// Connects the ranks: rank 0 to all others, in rank order, and others to rank 0.
    fn meet(&self, port: u16) -> io::Result<Vec<TcpStream>> {
        let mut peers = match self.rank {
            0 => self.gather(port)?,
            _ => vec![self.connect(port)?],
        };
        let copies: io::Result<Vec<_>> = peers.iter().map(TcpStream::try_clone).collect();
        lock(&self.state).sockets = copies?;
        // All ranks are here once rank 0 says so.
        for peer in &mut peers {
            match self.rank {
                0 => peer.write_all(b"!")?,
                _ => peer.read_exact(&mut [0])?,
            }
        }
        Ok(peers)
    }

    fn gather(&self, port: u16) -> io::Result<Vec<TcpStream>> {
        let mut listeners = lock(&LISTENERS);
        let is_ours = |listener: &TcpListener| listener.local_addr().is_ok_and(|address| address.port() == port);
        let place = listeners.iter().position(is_ours).ok_or(ErrorKind::NotFound)?;
        let listener = listeners.swap_remove(place);
        drop(listeners);
        let mut peers = Vec::new();
        while peers.len() + 1 < self.world {
            let mut stream = self.retry(|| listener.accept())?.0;
            stream.set_nonblocking(false)?;
            stream.set_nodelay(true)?;
            let mut rank = [0; 8];
            stream.read_exact(&mut rank)?;
            peers.push((u64::from_le_bytes(rank), stream));
        }
        peers.sort_by_key(|(rank, _)| *rank);
        Ok(peers.into_iter().map(|(_, stream)| stream).collect())
    }

    fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let mut stream = self.retry(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)))?;
        stream.set_nodelay(true)?;
        stream.write_all(&(self.rank as u64).to_le_bytes())?;
        Ok(stream)
    }

    /// Repeats `attempt` until it succeeds or this communicator is aborted.
    fn retry<T>(&self, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(_) if lock(&self.state).is_aborted => return Err(ErrorKind::ConnectionAborted.into()),
                Err(_) => std::thread::sleep(TICK),
            }
        }
    }

    fn fail(&self, result: c_int) {
        self.set(|state| {
            state.result = result;
            state.sockets.drain(..).for_each(hang_up);
        });
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.changed.notify_all();
    }
}

/// Blocks for ever.
pub fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

fn hang_up(socket: TcpStream) {
    let _ = socket.shutdown(Shutdown::Both);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
