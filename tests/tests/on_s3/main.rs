//! Tests of storage, data, runs and pods on S3. They have a binary of their own: the credentials are in the environment of
//! its process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it leaves out"
)]
#![allow(unsafe_code, reason = "sets the environment, before other threads read it")]

mod kubernetes;
mod prepare;
mod resume;
mod storage;

use std::path::PathBuf;
use std::sync::LazyLock;

use ::tests::odd_store::addresses;
use ::tests::s3::Server;
use ::tests::scratch::folder_of_binary;

/// The server of this process, and the folder behind it. Every test waits for it before it does anything else.
static SERVER: LazyLock<(Server, PathBuf)> = LazyLock::new(|| {
    let dir = folder_of_binary(env!("CARGO_TARGET_TMPDIR"), "on_s3");
    // The address is IPv6 where this machine has it, since such addresses are the odd ones; all other tests use IPv4.
    let (_, address) = *addresses().last().unwrap();
    let server = Server::start_at((address, 0).into(), &dir, &["bucket"]).unwrap();
    for (name, value) in server.environment() {
        // SAFETY: every test of this binary waits here before it does anything else, so that no other thread reads
        // the environment meanwhile; it is never written again.
        unsafe { std::env::set_var(name, value) };
    }
    (server, dir)
});
