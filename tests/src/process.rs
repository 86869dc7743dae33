//! Convoy's programs and mpirun as commands, and processes that neither hang nor outlive their test.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Returns the path of the built `worker`.
pub fn worker() -> PathBuf {
    program("worker")
}

/// Returns the path of the built `launcher`.
pub fn launcher() -> PathBuf {
    program("launcher")
}

/// Returns the path of the built program `name`: beside this one, or, for a test in `target/release/deps`, beside its folder.
pub fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("this executable has a path");
    let folder = this.parent().expect("an executable is in a folder");
    let release = if folder.ends_with("deps") { folder.parent().expect("it is target/release/deps") } else { folder };
    let path = release.join(name);
    assert!(
        path.is_file(),
        "{} does not exist; build what the tests run with `cargo build --release --workspace`",
        path.display()
    );
    path
}

/// Returns `mpirun` with `ranks` workers on this machine, even with fewer cores; `arguments` go to each worker.
pub fn mpirun<A: AsRef<OsStr>>(ranks: u32, arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new("mpirun");
    command
        .args(["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"])
        .args(["--mca", "mpi_yield_when_idle", "1"])
        .args(["-n", &ranks.to_string()])
        .arg(worker())
        .args(arguments)
        .env("OMP_NUM_THREADS", "1");
    command
}

/// Changes `command` so that the kernel forbids it and all its descendants to read other processes' memory, as some
/// containers do.
#[allow(unsafe_code, reason = "`pre_exec` runs code between fork and exec")]
pub fn without_reading_memory(mut command: Command) -> Command {
    let install = || {
        // The filter refuses the system call of this number, and allows all others.
        let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
        let mut program = [
            (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
            (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, libc::SYS_process_vm_readv as u32),
            (libc::BPF_RET | libc::BPF_K, 0, refused),
            (libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
        ]
        .map(|(code, jf, k)| libc::sock_filter { code: code as u16, jt: 0, jf, k });
        let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        // SAFETY: `filter` and the program behind it live as long as the calls.
        let is_installed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) == 0
        };
        if is_installed { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec nothing but two system calls is made, and nothing allocates.
    unsafe { command.pre_exec(install) };
    command
}

/// Runs `command` to its end and returns its status and all of its output.
///
/// # Panics
/// Panics if the command takes longer than `deadline`, with its output so far. It and all its descendants have been killed
/// then.
pub fn run_with_deadline(command: Command, deadline: Duration) -> Output {
    Running::start(command).finish(deadline)
}

/// A started process. It and all its descendants are killed when this value is dropped.
///
/// Descendants are recognised by a variable in their environment, which reaches ranks through mpirun, and which a process
/// keeps when its parent ends or when it starts a session of its own.
pub struct Running {
    shown: String,
    mark: String,
    child: Child,
    stdout: Option<Pipe>,
    stderr: Option<Pipe>,
    /// Folder of what Open MPI's processes share: killed ones leave it there.
    _shared: TempDir,
}

impl Running {
    /// Starts `command` with no input, in a process group of its own.
    pub fn start(mut command: Command) -> Self {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let shown = format!("{command:?}");
        let mark = format!("{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let shared = folder_in_memory();
        let mut child = command
            .env(MARK_VARIABLE, &mark)
            .env("OMPI_MCA_orte_tmpdir_base", shared.path())
            .env("OMPI_MCA_btl_vader_backing_directory", shared.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {shown}: {e}; is the program installed?"));
        let stdout = child.stdout.take().map(Pipe::collect);
        let stderr = child.stderr.take().map(Pipe::collect);
        Running { shown, mark, child, stdout, stderr, _shared: shared }
    }

    /// Returns the process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Returns the process and its descendants that run a program called `name`, for example a launcher's ranks, which are
    /// `worker`.
    pub fn processes(&self, name: &str) -> Vec<i32> {
        marked(&self.mark).into_iter().filter(|pid| program_name(*pid).as_deref() == Some(name)).collect()
    }

    /// Returns the most memory, in bytes, that one of the processes called `name` has taken so far; 0 if there is none now.
    pub fn peak_memory_bytes(&self, name: &str) -> u64 {
        let of = |pid: i32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
        };
        self.processes(name).into_iter().filter_map(of).max().unwrap_or_default()
    }

    /// Sends `signal` to the process. A process that has ended is no error.
    pub fn signal(&mut self, signal: Signal) {
        if self.status().is_none() {
            send(self.pid(), signal);
        }
    }

    /// Returns how the process has ended; `None` while it runs.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Returns what the process has written so far: standard output, and then standard error.
    pub fn printed(&self) -> String {
        [&self.stdout, &self.stderr].into_iter().flatten().map(Pipe::text).collect()
    }

    /// Waits until the process has printed `text`. Panics as [`Running::wait_until`] does.
    pub fn wait_for(&mut self, text: &str, deadline: Duration) {
        self.wait_until(&format!("it printed {text:?}"), deadline, |running| {
            running.printed().contains(text).then_some(())
        });
    }

    /// Waits until `ready` returns something.
    ///
    /// # Panics
    /// Panics if the process ends before that, or if `deadline` passes.
    pub fn wait_until<T>(&mut self, what: &str, deadline: Duration, mut ready: impl FnMut(&Self) -> Option<T>) -> T {
        let end = Instant::now() + deadline;
        loop {
            let ended = self.status();
            if let Some(value) = ready(self) {
                return value;
            }
            if ended.is_some() || Instant::now() > end {
                let why = ended.map_or(format!("{deadline:?} passed"), |status| format!("it ended with {status}"));
                let output = self.stop();
                panic!("{why} before {what}: {}\n{}", self.shown, both(&output));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits for the end of the process. Panics as [`run_with_deadline`] does.
    pub fn finish(mut self, deadline: Duration) -> Output {
        self.wait(deadline);
        self.stop()
    }

    /// Waits for the end of the process, as [`Running::finish`] does, and checks that no descendant outlives it.
    ///
    /// # Panics
    /// Also panics if a descendant is left after `deadline` has passed once more: what has just been killed needs a moment.
    pub fn finish_alone(mut self, deadline: Duration) -> Output {
        self.wait(deadline);
        let end = Instant::now() + deadline;
        while !marked(&self.mark).is_empty() {
            if Instant::now() > end {
                let left: Vec<_> = marked(&self.mark).into_iter().filter_map(program_name).collect();
                let output = self.stop();
                panic!("{left:?} outlived {}\n{}", self.shown, both(&output));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        self.stop()
    }

    fn wait(&mut self, deadline: Duration) {
        self.watch(deadline, POLL_INTERVAL, |_| ());
    }

    /// Calls `look` every `interval` until the process has ended. Panics as [`run_with_deadline`] does.
    pub fn watch(&mut self, deadline: Duration, interval: Duration, mut look: impl FnMut(&Self)) {
        let end = Instant::now() + deadline;
        while self.status().is_none() {
            if Instant::now() > end {
                let output = self.stop();
                panic!("still running after {deadline:?}: {}\n{}", self.shown, both(&output));
            }
            look(self);
            std::thread::sleep(interval);
        }
    }

    /// Kills what is left of the process and its descendants, and returns what it wrote.
    fn stop(&mut self) -> Output {
        loop {
            let left = marked(&self.mark);
            if left.is_empty() {
                break;
            }
            for pid in left {
                send(pid, Signal::SIGKILL);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        let status = self.child.wait().expect("a child can be waited for");
        let take = |pipe: Option<Pipe>| pipe.map(Pipe::finish).unwrap_or_default();
        Output { status, stdout: take(self.stdout.take()), stderr: take(self.stderr.take()) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sends `signal` to a process, for example a rank. A process that has ended is no error.
pub fn send(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

const MARK_VARIABLE: &str = "CONVOY_TEST_PROCESS";
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Returns standard output and error of a process as text.
pub fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A pipe that a thread reads to its end, so that its writer never waits.
struct Pipe {
    content: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Pipe {
    fn collect(mut pipe: impl Read + Send + 'static) -> Self {
        let content = Arc::new(Mutex::new(Vec::new()));
        let shared = content.clone();
        let reader = std::thread::spawn(move || {
            let mut part = [0; 4096];
            // What was read before an error is still worth showing.
            while let Ok(length @ 1..) = pipe.read(&mut part) {
                shared.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&part[..length]);
            }
        });
        Pipe { content, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.content.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Returns all that was read, once every process that could write to the pipe has ended.
    fn finish(self) -> Vec<u8> {
        let _ = self.reader.join();
        std::mem::take(&mut self.content.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Creates a temporary folder, in memory where possible.
fn folder_in_memory() -> TempDir {
    let (memory, mut folder) = (Path::new("/dev/shm"), tempfile::Builder::new());
    let folder = folder.prefix("convoy-test-");
    let made = if memory.is_dir() { folder.tempdir_in(memory) } else { folder.tempdir() };
    made.unwrap_or_else(|e| panic!("cannot make a folder in /dev/shm or the temporary folder: {e}"))
}

/// Returns every living process with `mark` in its environment.
fn marked(mark: &str) -> Vec<i32> {
    let variable = format!("{MARK_VARIABLE}={mark}");
    fs::read_dir("/proc")
        .expect("/proc lists the processes")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            // Other users' processes cannot be read; those that have ended have an empty environment.
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
        })
        .collect()
}

fn program_name(pid: i32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_and_status_come_back() {
        let output = run_with_deadline(shell("echo out; echo err >&2; exit 3"), Duration::from_secs(60));
        assert_eq!(output.status.code(), Some(3));
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    }

    #[test]
    fn an_overrun_kills_whatever_came_from_it() {
        let mut running = Running::start(shell("echo started; (setsid sleep 1000 &) ; sleep 1000"));
        running.wait_until("both sleep", Duration::from_secs(60), |running| {
            (running.processes("sleep").len() == 2).then_some(())
        });
        let mark = running.mark.clone();
        let overrun = std::panic::catch_unwind(AssertUnwindSafe(|| running.finish(Duration::ZERO)));
        let message = overrun.expect_err("it overran").downcast::<String>().expect("a message");
        assert!(message.contains("still running") && message.contains("started"), "{message}");
        assert_eq!(marked(&mark), [0; 0]);
    }

    #[test]
    fn an_orphan_that_holds_the_output_open_does_not_hold_up_the_end() {
        let output = run_with_deadline(shell("(setsid sleep 1000 &) ; exit 0"), Duration::from_secs(60));
        assert!(output.status.success());
    }

    #[test]
    fn what_outlives_it_is_named() {
        let running = Running::start(shell("(setsid sleep 1000 &) ; exit 0"));
        let mark = running.mark.clone();
        let finish = AssertUnwindSafe(|| running.finish_alone(Duration::from_secs(1)));
        let message = std::panic::catch_unwind(finish).expect_err("it left").downcast::<String>().expect("a message");
        assert!(message.contains("[\"sleep\"] outlived"), "{message}");
        assert_eq!(marked(&mark), [0; 0]);
    }

    #[test]
    fn what_it_prints_can_be_waited_for() {
        let mut running = Running::start(shell("echo one; sleep 1000"));
        running.wait_for("one", Duration::from_secs(60));
        assert_eq!((running.printed().as_str(), running.status()), ("one\n", None));
    }

    #[test]
    fn waiting_for_what_never_comes_ends_with_the_process() {
        let mut running = Running::start(shell("echo gone; exit 5"));
        let wait = AssertUnwindSafe(|| running.wait_until("never", Duration::from_secs(60), |_| None::<()>));
        let message = std::panic::catch_unwind(wait).expect_err("it ended").downcast::<String>().expect("a message");
        assert!(message.contains("exit status: 5") && message.contains("gone"), "{message}");
    }
}
