//! `s3-server`: a real S3 server over a local folder, for tests by hand and the demo, and not for data that matters.
//!
//! The access key is `convoy`, and its secret `convoy-secret`. The server runs until it gets SIGTERM.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use tests::faults::Plan;
use tests::s3::Server;

/// Serves a folder as S3, with access key `convoy` and secret `convoy-secret`, until SIGTERM.
#[derive(Parser)]
struct Arguments {
    /// Folder to serve; each bucket is a folder in it.
    #[arg(long)]
    root: PathBuf,
    /// Bucket to create if it is missing; may be repeated.
    #[arg(long = "bucket", value_name = "NAME")]
    buckets: Vec<String>,
    /// Address to listen on.
    #[arg(long, default_value_t = Ipv4Addr::LOCALHOST.into())]
    address: IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Faults on purpose, for example rate=0.2,seed=1: this fraction of the requests fails in some way. Further keys:
    /// kinds=NAME+NAME, burst=N, silence_ms=N; and for a slow link latency_ms=N before each answer, bytes_per_second=N shared
    /// by the bodies of all answers.
    #[arg(long, value_name = "KEY=VALUE,...", default_value = "rate=0")]
    faults: String,
    /// File to write the port to, once the server answers.
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (root, port) = (&arguments.root, arguments.port);
    std::fs::create_dir_all(root).with_context(|| format!("cannot make --root {}", root.display()))?;
    let buckets: Vec<&str> = arguments.buckets.iter().map(String::as_str).collect();
    let plan = Plan::parse(&arguments.faults).map_err(anyhow::Error::msg).context("--faults")?;
    let address = SocketAddr::from((arguments.address, port));
    let server = Server::start_at(address, root, &buckets)
        .with_context(|| format!("cannot serve {} on {address}", root.display()))?;
    server.faults().follow(plan);
    if let Some(file) = &arguments.port_file {
        // A reader that waits for the file must never read half of it.
        let unfinished = file.with_extension("unfinished");
        std::fs::write(&unfinished, format!("{}\n", server.port()))
            .and_then(|()| std::fs::rename(&unfinished, file))
            .with_context(|| format!("cannot write --port-file {}", file.display()))?;
    }
    loop {
        std::thread::park();
    }
}
