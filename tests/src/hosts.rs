//! Several hosts on this machine: each has its own namespaces for network, processes, names and mounts, and an sshd. They
//! share one bridge, and an S3 server on that bridge, since hosts share no folder.
//!
//! Everything ends with the test's process: a host is a tree of processes with a root that dies with its parent, and a
//! network without processes is gone.
//!
//! Creating hosts takes root, or at least the right to create namespaces; [`Hosts::are_permitted`] prints what is missing.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::process::program;
use crate::s3::{ACCESS_KEY, SECRET_KEY};
use crate::scratch::Scratch;

/// Network between the hosts.
pub const SUBNET: &str = "10.77.0.0/24";
const S3_ADDRESS: &str = "10.77.0.254";
const S3_PORT: u16 = 9000;
/// Longest time that anything awaited here takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// Script of a host's first process: mounts the host's own file systems, and then collects orphans that end.
const INIT: &str = r#"
mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /dev/shm && mkdir -p /run/sshd /run/tmp /run/cache || exit 1
hostname "$0"
grep -q ^sshd: /etc/passwd || {
    { cat /etc/passwd; echo sshd:x:65534:65534::/run/sshd:/usr/sbin/nologin; } > /run/passwd
    mount --bind /run/passwd /etc/passwd
}
ip link set lo up
while :; do wait; sleep 0.1; done
"#;

/// The hosts. Tests start launchers on the first one.
pub struct Hosts {
    // The fields end in this order.
    hosts: Vec<Host>,
    _s3: Ending,
    switch: Ending,
    scratch: Scratch,
    keys: TempDir,
}

struct Host {
    name: String,
    address: String,
    /// First process of the host, by its id outside.
    init: i32,
    _process: Ending,
}

impl Hosts {
    /// Returns whether hosts can be created here; prints what is missing.
    pub fn are_permitted() -> bool {
        let missing =
            ["unshare", "nsenter", "ip", "ssh", "ssh-keygen", "mount"].into_iter().find(|name| !is_there(name));
        let reason = match missing {
            Some(name) => Some(format!("there is no {name}")),
            None if !sshd().is_file() => Some("there is no sshd (Debian package openssh-server)".to_owned()),
            None => {
                let mut probe = Command::new("unshare");
                probe.args(["--net", "--uts", "--mount", "--pid", "--fork", "--mount-proc"]);
                probe.args([
                    "sh",
                    "-c",
                    "mount -t tmpfs tmpfs /run && ip link add type veth && ip link add type bridge",
                ]);
                let output = probe.output().expect("unshare can be started");
                let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                (!output.status.success()).then(|| format!("namespaces are not permitted: {stderr}"))
            }
        };
        if let Some(reason) = &reason {
            println!("skipped: {reason}");
        }
        reason.is_none()
    }

    /// Starts `count` hosts, with training data in their S3 server.
    pub fn start(count: usize) -> Self {
        let keys =
            tempfile::Builder::new().prefix("convoy-hosts-").tempdir().expect("the temporary folder can be written");
        let root = keys.path().join("s3");
        fs::create_dir_all(root.join("bucket")).expect("the temporary folder can be written");
        let scratch = Scratch::at(&format!("file://{}", root.join("bucket").display()));
        key(&keys.path().join("key"));
        fs::copy(keys.path().join("key.pub"), keys.path().join("authorized_keys")).expect("a key can be copied");

        let mut switch = Command::new("unshare");
        switch.args(["--net", "sleep", "infinity"]);
        let switch = Ending::start(switch);
        wait_until("the switch has a network of its own", || is_another_network(switch.pid()));
        let mut hosts = Hosts { hosts: Vec::new(), _s3: Ending::start(Command::new("true")), switch, scratch, keys };
        hosts.on_switch("ip link set lo up; ip link add br0 type bridge; ip link set br0 up");
        hosts.on_switch(&format!("ip addr add {S3_ADDRESS}/24 dev br0"));
        hosts._s3 = hosts.start_s3(&root);
        for n in 1..=count {
            let host = hosts.start_host(n);
            hosts.hosts.push(host);
        }
        hosts.publish_keys();
        hosts
    }

    /// Returns the scratch folder, as this process sees it, that the S3 server serves as `s3://bucket`.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Returns the value of `--hosts`: every host with room for one rank.
    pub fn list(&self) -> String {
        self.hosts.iter().map(|host| format!("{}:1", host.address)).collect::<Vec<_>>().join(",")
    }

    /// Returns the address of host `n`, from 0.
    pub fn address(&self, n: usize) -> &str {
        &self.hosts[n].address
    }

    /// Returns `launcher train` on the first host, over all of them, for the scratch folder's model.
    pub fn train(&self, run: &str, settings: &[&str]) -> Command {
        let mut all = self.settings(run);
        // Time-outs are short, except for a slow start, and leave time for what happens to a run in a test.
        let own = [
            "storage.deadline_s=12",
            "parallel.timeout_s=16",
            "launch.stall_timeout_s=20",
            "launch.claim_expiry_s=5",
            "launch.max_restarts=20",
        ];
        all.extend(own.iter().chain(settings).map(|set| (*set).to_owned()));
        let config = self.scratch.config(run, &all.iter().map(String::as_str).collect::<Vec<_>>());
        let mut command = self.launcher();
        command.args(["train", "--config"]).arg(config);
        command
    }

    /// Returns the settings for these hosts, their store and their disks, for run `run`.
    pub fn settings(&self, run: &str) -> Vec<String> {
        let mut all = vec![
            format!("run.output=s3://bucket/{run}"),
            "data.train=[{ url = \"s3://bucket/train\" }]".to_owned(),
            "data.validation=[]".to_owned(),
            "data.cache_dir=/run/cache".to_owned(),
            "evaluation.every_steps=0".to_owned(),
        ];
        all.extend(self.launch_settings());
        all
    }

    /// Returns the settings by which ranks start on these hosts, whatever they do.
    pub fn launch_settings(&self) -> Vec<String> {
        vec![
            "launch.backend=mpirun".to_owned(),
            "launch.ranks=0".to_owned(),
            "launch.bind=none".to_owned(),
            format!("launch.hosts={:?}", self.list().split(',').collect::<Vec<_>>()),
            format!("launch.interface={SUBNET}"),
            format!("launch.ssh_arguments={:?}", self.ssh_arguments()),
        ]
    }

    /// Returns the launcher on the first host, with what it needs to reach the store.
    pub fn launcher(&self) -> Command {
        let mut command = self.on(0, crate::process::launcher());
        // There are more ranks than cores.
        command.env("OMPI_MCA_mpi_yield_when_idle", "1").env("TMPDIR", "/run/tmp").env_remove("RUST_LOG");
        command.env("AWS_ENDPOINT_URL", format!("http://{S3_ADDRESS}:{S3_PORT}")).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command
    }

    /// Returns a command that runs `program` on host `n`.
    pub fn on(&self, n: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        let init = self.hosts[n].init.to_string();
        command.args(["--target", &init, "--net", "--uts", "--mount", "--pid", "--"]).arg(program);
        command
    }

    /// Runs `script` on host `n`, as its root, and returns what it printed.
    pub fn shell(&self, n: usize, script: &str) -> String {
        let mut command = self.on(n, "sh");
        done(command.args(["-ec", script]))
    }

    /// Unplugs the cable of host `n`, or plugs it in.
    pub fn set_link(&self, n: usize, is_up: bool) {
        self.on_switch(&format!("ip link set {} {}", self.cable(n), if is_up { "up" } else { "down" }));
    }

    /// Returns the interface at which the cable of host `n` ends in the switch.
    pub fn cable(&self, n: usize) -> String {
        format!("v{}", n + 1)
    }

    /// Runs `script` in the switch, where the cables of the hosts end.
    pub fn on_switch(&self, script: &str) {
        let pid = self.switch.pid().to_string();
        done(Command::new("nsenter").args(["--target", &pid, "--net", "--", "sh", "-ec", script]));
    }

    /// Returns the living processes of host `n` that run a program called `name`, by their ids outside.
    pub fn processes(&self, n: usize, name: &str) -> Vec<i32> {
        self.all_processes(n).into_iter().filter(|(_, is)| is == name).map(|(pid, _)| pid).collect()
    }

    /// Switches host `n` off: nothing on it is left.
    pub fn switch_off(&mut self, n: usize) {
        crate::process::send(self.hosts[n].init, Signal::SIGKILL);
        let init = self.hosts[n].init;
        wait_until("the host is off", || !Path::new(&format!("/proc/{init}/ns")).exists() || is_zombie(init));
    }

    /// Switches host `n` on again, with empty disks.
    pub fn switch_on(&mut self, n: usize) {
        let host = self.start_host(n + 1);
        self.hosts[n] = host;
    }

    /// Ends the sshd of host `n`, so that it refuses connections.
    pub fn stop_sshd(&self, n: usize) {
        self.processes(n, "sshd").into_iter().for_each(|pid| crate::process::send(pid, Signal::SIGKILL));
    }

    /// Starts the sshd of host `n` again.
    pub fn start_sshd(&self, n: usize) {
        let config = self.keys.path().join(format!("sshd-{}.conf", n + 1));
        self.shell(n, &format!("{} -f {} -E /run/sshd.log", sshd().display(), config.display()));
    }

    /// Checks that nothing an attempt starts is left on any host: no process, no port, no file in memory or in the folder for
    /// temporary files.
    ///
    /// # Panics
    /// Panics if something is left after a while: what has been killed needs a moment.
    pub fn assert_nothing_is_left(&self) {
        for n in 0..self.hosts.len() {
            let left = || {
                let all = self.all_processes(n).into_iter().map(|(_, name)| name);
                all.filter(|name| !["sh", "sleep", "sshd"].contains(&name.as_str())).collect::<Vec<_>>()
            };
            let end = Instant::now() + DEADLINE;
            while !left().is_empty() {
                assert!(Instant::now() < end, "host {n} still runs {:?}", left());
                std::thread::sleep(Duration::from_millis(50));
            }
            let files = self.shell(n, "ls -A /dev/shm /run/tmp");
            assert_eq!(files, "/dev/shm:\n\n/run/tmp:\n", "on host {n}");
            let listening = self.shell(n, "cat /proc/net/tcp /proc/net/tcp6");
            let ports: Vec<&str> = listening.lines().filter(|line| line.contains(" 0A ")).collect();
            assert!(ports.iter().all(|line| line.contains(":0016 ")), "host {n} still listens: {ports:?}");
        }
    }

    fn ssh_arguments(&self) -> [String; 4] {
        let file = |name: &str| self.keys.path().join(name).display().to_string();
        ["-i".into(), file("key"), "-o".into(), format!("UserKnownHostsFile={}", file("known_hosts"))]
    }

    fn start_s3(&self, root: &Path) -> Ending {
        let pid = self.switch.pid().to_string();
        let ready = self.keys.path().join("s3-port");
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--net", "--"]).arg(program("s3-server")).arg("--root").arg(root);
        command.args(["--address", S3_ADDRESS, "--port", &S3_PORT.to_string(), "--port-file"]).arg(&ready);
        let s3 = Ending::start(command);
        wait_until("the S3 server serves", || ready.exists());
        s3
    }

    fn start_host(&self, n: usize) -> Host {
        let (name, address) = (format!("convoy-{n}"), format!("10.77.0.{n}"));
        let mut command = Command::new("unshare");
        command.args(["--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        let process = Ending::start({
            command.args(["sh", "-c", INIT, &name]);
            command
        });
        let parent = process.pid();
        let child = || fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?.trim().parse().ok();
        wait_until("the host has its first process", || child().is_some_and(is_another_network));
        let init: i32 = child().expect("it was there");
        let host = Host { name, address: address.clone(), init, _process: process };
        let switch = self.switch.pid();
        self.on_switch(&format!("ip link del v{n} 2>/dev/null || true"));
        done(Command::new("nsenter").args(["--target", &switch.to_string(), "--net", "--"]).args([
            "sh",
            "-ec",
            // A host that is switched on again has the hardware address that the others remember.
            &format!(
                "ip link add v{n} type veth peer name eth0 address 02:00:0a:4d:00:{n:02x} netns {init}; \
                 ip link set v{n} master br0 up"
            ),
        ]));
        let key_file = self.keys.path().join(format!("host-{n}"));
        key(&key_file);
        let config = self.keys.path().join(format!("sshd-{n}.conf"));
        let text = format!(
            "ListenAddress {address}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nPidFile none\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
             SetEnv TMPDIR=/run/tmp\n",
            key_file.display(),
            self.keys.path().join("authorized_keys").display()
        );
        fs::write(&config, text).expect("the temporary folder can be written");
        let script = format!(
            "until [ -d /run/cache ] && ip link show lo | grep -q LOWER_UP; do sleep 0.05; done\n\
             ip addr add {address}/24 dev eth0; ip link set eth0 up; {} -f {} -E /run/sshd.log",
            sshd().display(),
            config.display()
        );
        let pid = init.to_string();
        let enter = ["--target", &pid, "--net", "--uts", "--mount", "--pid", "--", "sh", "-ec", &script];
        done(Command::new("nsenter").args(enter));
        host
    }

    /// Tells ssh the public keys of all hosts.
    fn publish_keys(&self) {
        let line = |host: &Host| {
            let public = self.keys.path().join(format!("host-{}.pub", host.name.trim_start_matches("convoy-")));
            let public = fs::read_to_string(public).expect("a key was made");
            format!("{} {public}", host.address)
        };
        let known: String = self.hosts.iter().map(line).collect();
        fs::write(self.keys.path().join("known_hosts"), known).expect("the temporary folder can be written");
    }

    fn all_processes(&self, n: usize) -> Vec<(i32, String)> {
        let space = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let of_host = space(&self.hosts[n].init.to_string());
        let entries = fs::read_dir("/proc").expect("/proc lists the processes");
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let living = pids.filter(|pid| of_host.is_some() && space(pid) == of_host);
        living
            .filter_map(|pid| {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned();
                let pid = pid.parse().ok()?;
                (!is_zombie(pid)).then_some((pid, name))
            })
            .collect()
    }
}

/// A process that ends when this value is dropped, or when the test does.
struct Ending(Child);

impl Ending {
    #[allow(unsafe_code, reason = "`pre_exec` runs code between fork and exec")]
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: between fork and exec only async-signal-safe calls are allowed; prctl is one, and nothing allocates.
        unsafe { command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(Into::into)) };
        Ending(command.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}")))
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Creates a pair of keys, unless it exists.
fn key(path: &Path) {
    if !path.exists() {
        done(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path));
    }
}

/// Runs `command` to its end, which must be a success, and returns what it printed.
fn done(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !ready() {
        assert!(Instant::now() < end, "{DEADLINE:?} passed before {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_another_network(pid: i32) -> bool {
    let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    network(&pid.to_string()).is_some_and(|theirs| Some(theirs) != network("self"))
}

fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with('Z') || fields.starts_with('X'))
}

fn is_there(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Returns the path of sshd, which must be called by its path. `CONVOY_SSHD` names another one.
fn sshd() -> PathBuf {
    std::env::var_os("CONVOY_SSHD").map_or_else(|| "/usr/sbin/sshd".into(), PathBuf::from)
}
