//! A real S3 server over a local folder: `s3s-fs` behind HTTP on 127.0.0.1, with planned [`Faults`].
//!
//! Its create-only put looks and then writes, so it proves nothing about races between writers.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::Method;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder as HttpServer;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{RwLock, oneshot};

use crate::faults::Faults;
use crate::large_reads::LargeReads;

/// Access key that the server knows.
pub const ACCESS_KEY: &str = "convoy";
/// Secret of [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "convoy-secret";

/// Another access key that the server knows, with an equal secret, for credentials that are replaced.
pub const OTHER_ACCESS_KEY: &str = "convoy-2";

/// A server that runs until it is dropped.
pub struct Server {
    address: SocketAddr,
    faults: Arc<Faults>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves the folder `root`, which must exist, on a free port. Creates those of `buckets` that are missing.
    pub fn start(root: &Path, buckets: &[&str]) -> Self {
        Self::start_on(0, root, buckets)
            .unwrap_or_else(|e| panic!("cannot serve {} as S3: {e}; check that it is a folder", root.display()))
    }

    /// Serves `root` as [`Server::start`] does, on port `port`; 0 takes a free one.
    pub fn start_on(port: u16, root: &Path, buckets: &[&str]) -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, port).into(), root, buckets)
    }

    /// Serves `root` as [`Server::start`] does, at `address`.
    pub fn start_at(address: SocketAddr, root: &Path, buckets: &[&str]) -> io::Result<Self> {
        for bucket in buckets {
            std::fs::create_dir_all(root.join(bucket))?;
        }
        let mut builder = S3ServiceBuilder::new(LargeReads::new(root)?);
        let mut keys = SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY);
        keys.register(OTHER_ACCESS_KEY.to_owned(), SECRET_KEY.into());
        builder.set_auth(keys);
        let (service, faults) = (builder.build(), Arc::new(Faults::default()));

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(address))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let (faults_of_server, completions) = (faults.clone(), Completions::default());
        let thread = std::thread::Builder::new().name("s3-server".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(&listener, &service, &faults_of_server, &completions) => {}
                    _ = stopped => {}
                }
                // A request that a fault holds up is not waited for.
                let _ = tokio::time::timeout(Duration::from_secs(1), completions.write()).await;
            });
        })?;
        Ok(Server { address, faults, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns the server's URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the server's faults: the plan, and what has happened.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Returns the environment variables with which a process reaches this server through `s3://` URLs.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.endpoint().as_str()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", "us-east-1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Lock that requests hold while they complete an upload; a server that ends waits for them. In a real store, an upload is
/// either complete or still in progress when a server ends. `s3s-fs` forgets the upload before it creates the object.
type Completions = Arc<RwLock<()>>;

/// Answers connections, each in a task of its own, for as long as it is polled.
async fn serve(listener: &TcpListener, service: &S3Service, faults: &Arc<Faults>, completions: &Completions) {
    loop {
        // A client may have given up its connection while it waited, which is no reason to end.
        let Ok((socket, _)) = listener.accept().await else { continue };
        let (service, faults, completions) = (service.clone(), faults.clone(), completions.clone());
        tokio::spawn(async move {
            let _ = serve_connection(socket, service, faults, completions).await;
        });
    }
}

/// Answers the requests of one connection. Where an answer breaks off, the connection does, too.
async fn serve_connection(
    socket: TcpStream,
    service: S3Service,
    faults: Arc<Faults>,
    completions: Completions,
) -> io::Result<()> {
    // Without this, the end of an answer waits until the client confirms the beginning, on an idle machine for 40 ms.
    socket.set_nodelay(true)?;
    let socket = socket.into_std()?;
    let same_socket = TcpStream::from_std(socket.try_clone()?)?;
    let answer = service_fn(move |request: hyper::Request<_>| {
        let (service, faults, completions) = (service.clone(), faults.clone(), completions.clone());
        async move {
            let _held = match *request.method() {
                Method::POST => Some(completions.read().await),
                _ => None,
            };
            faults.answer(&service, request).await
        }
    });
    let io = TokioIo::new(TcpStream::from_std(socket)?);
    match HttpServer::new(TokioExecutor::new()).serve_connection(io, answer).await {
        Err(error) if is_reset(error.as_ref()) => same_socket.set_zero_linger(),
        _ => Ok(()),
    }
}

fn is_reset(error: &(dyn Error + 'static)) -> bool {
    let is_it = error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::ConnectionReset);
    is_it || error.source().is_some_and(is_reset)
}
