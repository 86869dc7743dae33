//! Ranks behind one process of this machine: mpirun, or the only rank itself.
//!
//! The process runs in a session of its own. A terminal's Ctrl-C does not reach it, and all processes of this machine are
//! found again by their session: mpirun puts each rank in a process group of its own, so killing mpirun's group would leave
//! every rank behind.
//!
//! Some stops reach all processes at once, as from systemd, Slurm and container runtimes. mpirun blocks these signals: it
//! would kill the ranks a second later, while they are saving. It ends when the ranks do, when the launcher kills it, and
//! with the launcher.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread::Builder;
use std::time::Duration;

use common::topology::Rank;
use common::worker_contract::{StartLine, write_line};
use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getpid, getppid, setsid};

use super::Ranks;
use super::launch_plan::LaunchPlan;
use super::open_mpi::Series;
use super::tagged_output::TaggedOutput;
use crate::cause::evidence::ProcessEnd;
use crate::error::{A_THREAD, LaunchError};
use crate::event::{Event, Stream};

/// How many times the session is searched for live processes after a kill.
const KILL_ROUNDS: u32 = 100;
/// Longest line of output; longer ones are taken for several lines.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// Pause between two rounds of killing.
const KILL_PAUSE: Duration = Duration::from_millis(20);
/// Signals that mpirun blocks. The ranks that it starts do not.
const KEPT_FROM_MPIRUN: [Signal; 3] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];
/// Prefixes of variables that tell a process which rank of a job it is. The launcher itself has them where srun or mpirun has
/// started it; ranks do not inherit them.
const IDENTITIES: [&str; 5] = ["OMPI_COMM_WORLD_", "PMI_", "PMIX_NAMESPACE", "PMIX_RANK", "PMIX_SERVER_"];

/// The session of a running attempt on this machine.
pub struct ProcessRanks {
    child: Child,
    session: Pid,
    session_folder: Option<PathBuf>,
    is_reaped: bool,
}

/// Starts the ranks of `plan`, and gives rank 0 its `start_line` if it waits for one. Output arrives as events.
///
/// Must be called on a thread that lasts as long as the ranks: Linux ends them with it.
#[allow(unsafe_code, reason = "`pre_exec` runs code between fork and exec")]
pub fn start(
    plan: &LaunchPlan,
    start_line: Option<&StartLine>,
    events: &Sender<Event>,
) -> Result<ProcessRanks, LaunchError> {
    let mut command = Command::new(&plan.program);
    command.args(&plan.arguments).envs(plan.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let is_identity = |name: &str| IDENTITIES.iter().any(|start| name.starts_with(start));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_identity)) {
        command.env_remove(name);
    }
    let (launcher, is_mpirun) = (getpid(), plan.series.is_some());
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; these are system calls, and nothing allocates.
    unsafe { command.pre_exec(move || before_exec(launcher, is_mpirun).map_err(io::Error::from)) };
    let program = || plan.program.clone();
    let mut child = command.spawn().map_err(|source| LaunchError::Start { program: program(), source })?;
    let session = Pid::from_raw(child.id().cast_signed());
    let series = plan.series;
    let outputs = [(Stream::Out, child.stdout.take().map(boxed)), (Stream::Err, child.stderr.take().map(boxed))];
    let stdin = child.stdin.take();
    // From here on the ranks end when this value is dropped.
    let ranks = ProcessRanks { child, session, session_folder: plan.session_folder.clone(), is_reaped: false };
    for (stream, output) in outputs {
        let (Some(output), events) = (output, events.clone()) else { continue };
        let read = move || read_output(stream, output, series, &events);
        Builder::new().name("output".into()).spawn(read).map_err(LaunchError::system(A_THREAD))?;
    }
    if let (Some(mut stdin), Some(start_line)) = (stdin, start_line) {
        // A process that has ended already does not read; its status tells why.
        let _ = write_line(&mut stdin, start_line);
    }
    Ok(ranks)
}

/// Prepares a child of `launcher` before it becomes mpirun or the only rank.
fn before_exec(launcher: Pid, is_mpirun: bool) -> nix::Result<()> {
    setsid()?;
    // A launcher that is killed cannot end the child any more.
    set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != launcher {
        return Err(Errno::ESRCH);
    }
    if is_mpirun { KEPT_FROM_MPIRUN.into_iter().collect::<SigSet>().thread_block() } else { Ok(()) }
}

impl Ranks for ProcessRanks {
    /// Sends `signal` to mpirun, which passes it on to every rank, or to the only rank.
    fn signal(&self, signal: Signal) {
        if !self.is_reaped {
            // The process may have ended by now, which is noticed elsewhere.
            let _ = kill(self.session, signal);
        }
    }

    /// Returns whether mpirun, or the only rank, has ended. Its process id stays taken until [`Ranks::finish`].
    fn have_ended(&mut self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(self.session), flags) {
            Ok(status) => status != WaitStatus::StillAlive,
            Err(error) => error != Errno::EINTR,
        }
    }

    /// Kills every process of the session, in any process group.
    fn kill(&mut self) {
        for _ in 0..KILL_ROUNDS {
            let alive = members(self.session);
            if self.is_reaped || alive.is_empty() {
                return;
            }
            for process in alive {
                let _ = kill(process, Signal::SIGKILL);
            }
            std::thread::sleep(KILL_PAUSE);
        }
        tracing::warn!("processes of session {} do not die; see `ps -s {}`", self.session, self.session);
    }

    /// Makes sure that nothing of the attempt is left, and returns how it ended.
    fn finish(&mut self) -> io::Result<ProcessEnd> {
        self.kill();
        let status = self.child.wait()?;
        self.is_reaped = true;
        // Processes that ended in good order have removed the folder themselves.
        let _ = self.session_folder.as_ref().map(fs::remove_dir_all);
        Ok(match (status.code(), status.signal()) {
            (Some(code), _) => ProcessEnd::Status(code),
            (None, signal) => ProcessEnd::Signal(signal.unwrap_or_default()),
        })
    }
}

impl Drop for ProcessRanks {
    fn drop(&mut self) {
        if !self.is_reaped {
            let _ = self.finish();
        }
    }
}

/// Returns the processes of `session` that have not ended.
fn members(session: Pid) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        is_alive_in(&stat, session)
    })
    .map(Pid::from_raw)
    .collect()
}

/// Returns whether `/proc/PID/stat` shows a live process of `session`. State, parent, group and session follow the name,
/// which may contain any character.
fn is_alive_in(stat: &str, session: Pid) -> bool {
    let Some((_, fields)) = stat.rsplit_once(')') else { return false };
    let fields: Vec<&str> = fields.split_whitespace().take(4).collect();
    matches!(fields[..], [state, _, _, of] if state != "Z" && state != "X" && of.parse() == Ok(session.as_raw()))
}

fn boxed(output: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(output)
}

/// Sends every line of `output` as an event, until all processes that could write to it have ended.
fn read_output(stream: Stream, output: Box<dyn Read + Send>, series: Option<Series>, events: &Sender<Event>) {
    let mut reader = BufReader::new(output);
    let (mut bytes, mut tagged) = (Vec::new(), series.map(TaggedOutput::new));
    while let Ok(1..) = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes) {
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end();
        let (rank, line) = match &mut tagged {
            Some(tagged) => tagged.complete(text),
            None => (Some(Rank::ZERO), text.to_owned()),
        };
        let sent = events.send(Event::Output { rank, stream, line });
        if sent.is_err() {
            return;
        }
        bytes.clear();
    }
    for (rank, line) in tagged.into_iter().flat_map(TaggedOutput::rest) {
        // Nobody listens any more once an attempt has been given up.
        let _ = events.send(Event::Output { rank: Some(rank), stream, line });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn output_that_never_ends_a_line_is_not_kept_until_it_does() {
        let (sender, events) = channel();
        let output = boxed(io::repeat(b'x').take(10 * LINE_BYTES_MAX));
        read_output(Stream::Out, output, None, &sender);
        drop(sender);
        let is_bounded = |event| matches!(event, Event::Output { line, .. } if line.len() as u64 == LINE_BYTES_MAX);
        assert_eq!(events.iter().map(is_bounded).collect::<Vec<_>>(), [true; 10]);
    }

    #[test]
    fn sessions_are_read_whatever_a_process_calls_itself() {
        let session = Pid::from_raw(42);
        assert!(is_alive_in("77 (a) b (c) S 1 77 42 0 -1", session));
        assert!(!is_alive_in("77 (worker) Z 1 77 42 0 -1", session));
        assert!(!is_alive_in("77 (worker) S 1 42 77 0 -1", session));
        assert!(!is_alive_in("", session));
    }
}
