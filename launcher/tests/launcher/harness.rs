//! Runs the launcher with a fake worker, in a folder of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;
use serde_json::Value;
use tests::base_config::BASE;
use tests::cluster::Cluster;
use tests::s3::Server;
use tests::scratch::Scratch;

/// A folder with a config, and a plan for the fake worker.
pub struct Rig {
    folder: tempfile::TempDir,
    /// Run folder.
    run: PathBuf,
    environment: Vec<(String, String)>,
    flags: Vec<String>,
    // Servers that end with the rig.
    _servers: Option<(Cluster, Server)>,
}

/// Exit code and output of a launcher that has ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A running launcher.
pub struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    read: String,
}

/// Returns whether the programs that the fake needs are installed; prints which is not.
pub fn can_run(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing =
        programs.iter().find(|program| !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    if let Some(program) = missing {
        println!("skipped: there is no {program} on PATH");
    }
    missing.is_none()
}

/// Returns the built launcher, to be run in `folder` without fakes.
pub fn launcher_in(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_launcher"));
    command.current_dir(folder).env_remove("RUST_LOG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs `command` on `input`; returns its exit code, standard output and standard error.
pub fn piped(command: &mut Command, input: &[u8]) -> (Option<i32>, Vec<u8>, String) {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // A command that refuses its arguments does not read its input.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    (output.status.code(), output.stdout, String::from_utf8(output.stderr).unwrap())
}

impl Rig {
    /// Creates a rig; `plan` is a JSON list, see `fake_worker.py`, and `flags` are those of `launcher train`.
    pub fn new(plan: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("run.toml"), BASE).unwrap();
        let fake = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/launcher/fake_worker.py");
        let here = folder.path().to_str().unwrap();
        // The launcher checks the data before it starts ranks; the fake does not read it.
        drop(Scratch::at(&format!("file://{here}/data")));
        let environment =
            [("FAKE_PLAN", plan), ("FAKE_FOLDER", here), ("CONVOY_WORKER", fake), ("CONVOY_PREPARE", fake)];
        Rig {
            run: folder.path().join("run"),
            environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            folder,
            _servers: None,
        }
    }

    /// Creates a rig with a cluster, and with its run folder in an object store, as pods need it.
    pub fn in_cluster(plan: &str, flags: &[&str]) -> Self {
        let mut rig = Self::new(plan, flags);
        let store = rig.folder.path().join("store");
        fs::create_dir(&store).unwrap();
        let server = Server::start(&store, &["bucket"]);
        // The URL is unique to this test: an attempt ends what earlier ones have left at its URL.
        let place = format!("bucket/{}/run", rig.folder.path().file_name().unwrap().display());
        rig.run = store.join(&place);
        rig.environment.extend(server.environment());
        let cluster = Cluster::start(Path::new(env!("CARGO_BIN_EXE_launcher")), &rig.environment);
        rig.environment.push(("KUBECONFIG".into(), cluster.kubeconfig().to_str().unwrap().into()));
        for set in [&format!("run.output=s3://{place}"), "data.train=[{ url = \"s3://bucket/data\" }]"] {
            rig.flags.extend(["--set".to_owned(), set.to_owned()]);
        }
        rig._servers = Some((cluster, server));
        rig
    }

    /// Puts `folder` first on `PATH`.
    pub fn with_programs_of(mut self, folder: &Path) -> Self {
        let path = std::env::var("PATH").unwrap_or_default();
        self.environment.push(("PATH".into(), format!("{}:{path}", folder.display())));
        self
    }

    /// Returns the launcher in the rig's folder, with the fake in the place of its siblings.
    pub fn launcher(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_launcher"));
        command.current_dir(self.folder.path()).envs(self.environment.iter().cloned()).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Returns `launcher NAME` with the config and the flags.
    pub fn command(&self, name: &str) -> Command {
        let mut command = self.launcher();
        command.args([name, "--config", "run.toml"]).args(&self.flags);
        command
    }

    /// Starts `launcher train`.
    pub fn start(&self) -> Running {
        Self::spawn(&mut self.command("train"))
    }

    /// Starts `launcher train` with limits for it and its ranks, as a shell's `ulimit` sets them.
    pub fn start_within(&self, limits: &str) -> Running {
        let train = self.command("train");
        let mut limited = Command::new("sh");
        limited
            .args(["-c", &format!("{limits} && exec \"$0\" \"$@\"")])
            .arg(train.get_program())
            .args(train.get_args());
        limited.current_dir(self.folder.path()).envs(self.environment.iter().cloned()).env_remove("RUST_LOG");
        limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::spawn(&mut limited)
    }

    /// Starts `command` of the launcher.
    #[allow(unsafe_code, reason = "`pre_exec` runs code between fork and exec")]
    pub fn spawn(command: &mut Command) -> Running {
        // The tests may run under nohup.
        // SAFETY: no handler is installed.
        let hear = || unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) }.map(drop).map_err(std::io::Error::from);
        // SAFETY: between fork and exec only async-signal-safe calls are allowed; this is a system call, and nothing allocates.
        unsafe { command.pre_exec(hear) };
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Running { child, stderr, read: String::new() }
    }

    /// Runs `launcher train` to its end.
    pub fn train(&self) -> Ended {
        let ended = self.start().wait();
        self.assert_nothing_is_left();
        ended
    }

    /// Returns a path in the run folder.
    pub fn run(&self, name: &str) -> PathBuf {
        self.run.join(name)
    }

    /// Creates a file for the fake worker in the rig's folder.
    pub fn touch(&self, name: &str) {
        fs::write(self.folder.path().join(name), "").unwrap();
    }

    /// Returns whether the rig's folder has the file `name`.
    pub fn has(&self, name: &str) -> bool {
        self.folder.path().join(name).exists()
    }

    /// Returns the address at which the launcher of a running attempt listens for ranks.
    pub fn control_address(&self) -> String {
        self.start_line()["control_address"].as_str().unwrap().to_owned()
    }

    /// Returns what rank 0 of an attempt was told.
    pub fn start_line(&self) -> Value {
        let entries = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let is_start = |path: &PathBuf| path.extension().is_none() && path.display().to_string().contains("/start-");
        serde_json::from_slice(&fs::read(entries.into_iter().find(is_start).unwrap()).unwrap()).unwrap()
    }

    /// Returns the names in a folder of the run folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.run(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Returns the claims of attempts in the run folder.
    pub fn claims(&self) -> Vec<String> {
        self.names("attempts").into_iter().filter(|name| name.ends_with(".json")).collect()
    }

    /// Returns the launcher's events of an attempt.
    pub fn events(&self, attempt: u32) -> Vec<Value> {
        let folder = format!("events/attempt-{attempt:04}-launcher");
        let parts = self.names(&folder);
        let text: String = parts.iter().map(|part| fs::read_to_string(self.run(&folder).join(part)).unwrap()).collect();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns the kinds of the launcher's events of an attempt.
    pub fn kinds(&self, attempt: u32) -> Vec<String> {
        self.events(attempt).iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
    }

    /// Checks that the children which the fake ranks started, each in a process group of its own, are gone.
    pub fn assert_nothing_is_left(&self) {
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if !path.file_name().unwrap().to_str().unwrap().starts_with("child-") {
                continue;
            }
            let pid = fs::read_to_string(&path).unwrap();
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            assert!(!command.starts_with("sleep"), "{} still runs", path.display());
        }
    }
}

impl Running {
    /// Reads standard error until a line contains `text`.
    pub fn wait_for(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            let bytes = self.stderr.read_line(&mut line).unwrap();
            self.read.push_str(&line);
            assert!(bytes > 0, "ended without {text:?}:\n{}", self.read);
        }
    }

    /// Reads standard output until it contains `text`.
    pub fn wait_for_output(&mut self, text: &str) {
        let (stdout, mut bytes) = (self.child.stdout.as_mut().unwrap(), Vec::new());
        while !String::from_utf8_lossy(&bytes).contains(text) {
            let mut byte = [0];
            assert!(stdout.read(&mut byte).unwrap() > 0, "ended without {text:?}");
            bytes.push(byte[0]);
        }
    }

    /// Sends the launcher a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits for the launcher's end.
    pub fn wait(mut self) -> Ended {
        let mut stdout = String::new();
        self.stderr.read_to_string(&mut self.read).unwrap();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        Ended { code: self.child.wait().unwrap().code(), stdout, stderr: self.read }
    }
}
