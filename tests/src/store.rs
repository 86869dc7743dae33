//! The store of one test: an S3 server over its folder, with faults, and with times when it is away.

use std::process::Command;
use std::time::Duration;

use crate::faults::{Fault, Faults, Plan};
use crate::s3::Server;
use crate::scratch::Scratch;

/// A store with a bucket `runs`; every other folder of the scratch is a bucket, too.
pub struct Store {
    /// Scratch with the store's objects, seen from behind the server.
    pub scratch: Scratch,
    server: Option<Server>,
    port: u16,
}

impl Store {
    /// Serves the folder of `scratch`.
    pub fn over(scratch: Scratch) -> Self {
        let server = Server::start(scratch.path(), &["runs"]);
        Store { port: server.port(), server: Some(server), scratch }
    }

    /// Returns the server's faults: the plan, and what has happened.
    pub fn faults(&self) -> &Faults {
        self.server().faults()
    }

    /// Makes every request with a line that contains `only` meet `fault` from now on.
    pub fn meets(&self, fault: Fault, only: &str, silence_ms: u64) {
        let silence = Duration::from_millis(silence_ms);
        self.faults().follow(Plan { rate: 1.0, kinds: vec![fault], silence, only: only.into(), ..Plan::default() });
    }

    /// Stops the server: no request is answered any more.
    pub fn goes_away(&mut self) {
        drop(self.server.take());
    }

    /// Starts the server again, without faults.
    pub fn comes_back(&mut self) {
        let server = Server::start_on(self.port, self.scratch.path(), &[]);
        self.server = Some(server.expect("the port is free again"));
    }

    /// Returns `command` with the environment of a process that reaches the store.
    pub fn environment(&self, mut command: Command) -> Command {
        command.envs(self.server().environment());
        command
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("the store is not away")
    }
}
