//! Runs short scripts on several hosts at once: to see which hosts are there, and to kill what an attempt has left behind.
//!
//! A script goes to the standard input of a `sh -s` on the host, so that no shell ever reads anything except what is written
//! here, and every host has one deadline. On this machine, scripts run without ssh, as with mpirun.

use std::io::{self, Read, Write};
use std::net::{ToSocketAddrs, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::config::LaunchConfig;
use common::host_name::host_name;
use common::threads;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use crate::error::LaunchError;

/// How long a host may take for a script.
const DEADLINE: Duration = Duration::from_secs(15);
/// Seconds of `DEADLINE` that ssh may take to connect.
const CONNECT_TIMEOUT_S: u64 = 5;
/// How often the launcher looks for an answer.
const TICK: Duration = Duration::from_millis(5);
/// Number of hosts that are asked at once.
const AT_ONCE: usize = 64;

/// The program by which other hosts are reached.
#[derive(Debug, Clone)]
pub struct RemoteShell {
    program: String,
    arguments: Vec<String>,
    /// Component by which mpirun starts its daemons ("process launch module").
    daemons: &'static str,
    /// Command of a daemon, where it is not mpirun's own.
    daemon: Option<&'static str>,
}

/// Command of a daemon that blocks the signals of a stop. `scancel` sends one to all processes of a job, ranks and launcher
/// among them: they save and end, and an unblocked daemon would kill its ranks before they have saved.
const DEAF_DAEMON: &str = "env --block-signal=HUP,INT,TERM orted";

impl RemoteShell {
    /// Creates the shell that `launch` configures.
    pub fn new(launch: &LaunchConfig) -> Self {
        let mut arguments = Vec::new();
        if Path::new(&launch.remote_shell).file_name().is_some_and(|name| name == "ssh") {
            // Nobody is there to type a password. Whether to trust host keys is left to ssh.
            arguments = ["-o", "BatchMode=yes", "-o"].map(str::to_owned).into();
            arguments.push(format!("ConnectTimeout={CONNECT_TIMEOUT_S}"));
        }
        arguments.extend(launch.ssh_arguments.iter().cloned());
        RemoteShell { program: launch.remote_shell.clone(), arguments, daemons: "rsh", daemon: None }
    }

    /// Creates the shell that uses srun in the allocation that this process is in. Each script is a job step beside the
    /// ranks' own.
    pub fn of_slurm() -> Self {
        let arguments = ["--overlap", "--quiet", "--nodes=1", "--ntasks=1", "--mpi=none", "-w"];
        // Older versions of coreutils do not know this option.
        let mut trial = Command::new("env");
        trial.args(["--block-signal=HUP,INT,TERM", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
        let daemon = trial.status().is_ok_and(|status| status.success()).then_some(DEAF_DAEMON);
        RemoteShell { program: "srun".into(), arguments: arguments.map(str::to_owned).into(), daemons: "slurm", daemon }
    }

    /// Returns the command of mpirun's daemons; `None` for its own.
    pub fn daemon(&self) -> Option<&'static str> {
        self.daemon
    }

    /// Returns the component by which mpirun starts its daemons.
    pub fn daemons(&self) -> &'static str {
        self.daemons
    }

    /// Returns the program that reaches a host.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Returns the program's arguments that precede the host.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// Runs `script` on all `hosts`, and returns what it printed on each, or why there is no answer.
    pub fn run(&self, hosts: &[&str], script: &str) -> Vec<Result<String, String>> {
        threads::map(hosts, AT_ONCE, |host| self.run_on(host, script))
    }

    /// Kills what earlier attempts have left on `hosts`: processes with a mark that begins with `mark`. Removes what they
    /// shared. Returns the hosts that are clear, and the first failure.
    pub fn make_room<'h>(&self, hosts: &[&'h str], mark: &str) -> (Vec<&'h str>, Result<(), LaunchError>) {
        let (mut clear, mut result) = (Vec::new(), Ok(()));
        for (host, answer) in hosts.iter().zip(self.run(hosts, &kill_script(mark, true))) {
            let reason = match answer.as_deref().map(str::trim) {
                Ok("") => {
                    clear.push(*host);
                    continue;
                }
                Ok(left) => format!("processes of an earlier attempt do not die on {host}: {left}; see `ps` there"),
                Err(reason) => format!("host {host} does not answer: {reason}"),
            };
            result = result.and(Err(LaunchError::Hosts(reason)));
        }
        (clear, result)
    }

    #[allow(unsafe_code, reason = "`pre_exec` runs code between fork and exec")]
    fn run_on(&self, host: &str, script: &str) -> Result<String, String> {
        let mut command = if is_this_machine(host) {
            Command::new("sh")
        } else {
            let mut command = Command::new(&self.program);
            command.args(&self.arguments).args([host, "sh"]);
            command
        };
        command.arg("-s").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A terminal's Ctrl-C is not meant for it.
        command.process_group(0);
        // The child ends with this thread, which waits for it, and with the launcher, which may leave before there is an
        // answer.
        // SAFETY: between fork and exec only async-signal-safe calls are allowed; this is a system call, and nothing allocates.
        unsafe { command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)) };
        let child = command.spawn().map_err(|error| format!("cannot start {}: {error}", self.program))?;
        answer(child, script)
    }
}

/// Returns whether ranks on `host` run on this machine: `host` is its name or one of its addresses.
pub fn is_this_machine(host: &str) -> bool {
    let is_local = |address| UdpSocket::bind((address, 0)).is_ok();
    host == host_name() || (host, 0).to_socket_addrs().is_ok_and(|mut found| found.any(|to| is_local(to.ip())))
}

/// Kills what earlier attempts have left on this machine, as [`RemoteShell::make_room`] does on others.
pub fn make_room_here(mark: &str) -> Result<(), LaunchError> {
    // This machine needs no program to reach it.
    let shell = RemoteShell { program: String::new(), arguments: Vec::new(), daemons: "rsh", daemon: None };
    shell.make_room(&[&host_name()], mark).1
}

/// Returns a script that kills the processes with `mark`, removes what they shared, and prints which do not die. With
/// `prefix`, it kills those with any mark that begins with `mark`. A folder that another user has left stays: every attempt
/// has one of its own.
///
/// Ranks have the mark in their environment; mpirun and its daemons have it among their arguments. Both pass on what is set
/// for all ("MCA parameters"). The pattern reaches grep by standard input, or it would find itself.
pub fn kill_script(mark: &str, prefix: bool) -> String {
    let pattern = if prefix { format!("^{mark}") } else { format!("^{mark}$") };
    format!(
        r#"
marked() {{
    {{
        printf %s '^{MARK_VARIABLE}={pattern_in_environment}' | grep -lza -f - /proc/[0-9]*/environ
        printf %s '{pattern}' | grep -lza -f - /proc/[0-9]*/cmdline
    }} 2>/dev/null | cut -d/ -f3 | sort -u
}}
for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    left=$(marked)
    if [ -z "$left" ]; then
        rm -rf '{SESSION_FOLDER}{mark}'{any} 2>/dev/null
        exit 0
    fi
    kill -KILL $left 2>/dev/null
    sleep 0.1
done
echo $left
"#,
        pattern_in_environment = &pattern[1..],
        any = if prefix { "*" } else { "" },
    )
}

/// Path, without the mark at its end, of the folder that processes of an attempt share on a host.
pub const SESSION_FOLDER: &str = "/dev/shm/convoy-";

/// MCA parameter that holds the mark of an attempt's processes.
pub const MARK_PARAMETER: &str = "convoy_attempt";
/// Environment variable by which processes inherit [`MARK_PARAMETER`].
pub const MARK_VARIABLE: &str = "OMPI_MCA_convoy_attempt";

/// Gives `child` the script, waits for its end, and returns what it printed.
fn answer(mut child: Child, script: &str) -> Result<String, String> {
    let deadline = Instant::now() + DEADLINE;
    if let Some(mut stdin) = child.stdin.take() {
        // A shell that has already ended says why by itself.
        let _ = stdin.write_all(script.as_bytes());
    }
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(TICK),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("no answer in {} s", DEADLINE.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    };
    let stdout = child.stdout.take().map(available).unwrap_or_default();
    if status.success() {
        return Ok(stdout);
    }
    let stderr = child.stderr.take().map(available).unwrap_or_default();
    let reason = stderr.lines().map(str::trim).rfind(|line| !line.is_empty());
    Err(reason.map_or_else(|| format!("the remote shell ended with {status}"), str::to_owned))
}

/// Reads what is in a pipe, without waiting for its end: a connection that ssh keeps for later holds the pipe open.
fn available(mut pipe: impl Read + AsFd) -> String {
    let mut bytes = Vec::new();
    let result = fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(io::Error::from);
    // Reading ends with an error where nothing more is available, and `bytes` keeps what was read.
    let _ = result.and_then(|_| pipe.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn shell(program: &str) -> RemoteShell {
        RemoteShell { program: program.into(), arguments: Vec::new(), daemons: "rsh", daemon: None }
    }

    #[test]
    fn this_machine_answers_and_another_says_why_not() {
        let answers = shell("/nonexistent/ssh").run(&["127.0.0.1", "192.0.2.1"], "echo $((40 + 2))\n");
        assert_eq!(answers[0].as_deref(), Ok("42\n"));
        assert!(answers[1].as_ref().unwrap_err().starts_with("cannot start /nonexistent/ssh"), "{answers:?}");
        let failed = shell("sh").run(&["127.0.0.1"], "echo early >&2; echo why >&2; exit 3\n");
        assert_eq!(failed[0].as_ref().unwrap_err(), "why");
        assert!(is_this_machine(&host_name()) && is_this_machine("localhost") && !is_this_machine("192.0.2.1"));
    }

    #[test]
    fn marked_processes_are_killed_and_no_others() {
        let mark = |n: u32| format!("mark-of-a-test-{}-{n}", std::process::id());
        let sleeper =
            |mark: &str| Command::new("sleep").arg("1000").env("OMPI_MCA_convoy_attempt", mark).spawn().unwrap();
        let (mut one, mut other) = (sleeper(&mark(1)), sleeper(&mark(12)));
        let mut daemon = Command::new("sh").args(["-c", "read line", &mark(1)]).stdin(Stdio::piped()).spawn().unwrap();
        let run = |script: String| shell("ssh").run(&["127.0.0.1"], &script).remove(0).unwrap();
        assert_eq!(run(kill_script(&mark(1), false)), "");
        assert_eq!(one.wait().unwrap().signal(), Some(9));
        assert_eq!(daemon.wait().unwrap().signal(), Some(9));
        assert!(other.try_wait().unwrap().is_none());
        assert_eq!(run(kill_script(&mark(1), true)), "");
        assert_eq!(other.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn a_folder_in_shared_memory_that_another_user_made_blocks_nobody() {
        if !nix::unistd::geteuid().is_root() {
            return println!("skipped: it takes root to be two users");
        }
        let mark = format!("foreign-of-a-test-{}-", std::process::id());
        let folder = std::path::PathBuf::from(format!("{SESSION_FOLDER}{mark}0001"));
        std::fs::create_dir(&folder).unwrap();
        let mut command = Command::new("sh");
        command.arg("-s").uid(65534).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let answered = answer(command.spawn().unwrap(), &kill_script(&mark, true));
        assert!(folder.exists(), "the other one could remove it");
        std::fs::remove_dir(&folder).unwrap();
        assert_eq!(answered, Ok(String::new()));
    }

    #[test]
    fn what_links_in_shared_memory_lead_to_stays_when_an_attempts_folder_is_removed() {
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join("precious"), "years of work").unwrap();
        let mark = format!("link-of-a-test-{}-", std::process::id());
        let [planted, folder] = ["1", "2"].map(|end| std::path::PathBuf::from(format!("{SESSION_FOLDER}{mark}{end}")));
        std::fs::create_dir(&folder).unwrap();
        for link in [&planted, &folder.join("inside")] {
            std::os::unix::fs::symlink(elsewhere.path(), link).unwrap();
        }
        assert_eq!(shell("ssh").run(&["127.0.0.1"], &kill_script(&mark, true)).remove(0).unwrap(), "");
        assert!(!folder.exists() && planted.symlink_metadata().is_err());
        assert_eq!(std::fs::read(elsewhere.path().join("precious")).unwrap(), b"years of work");
    }
}
