//! A store of one test: an S3 server over its folder, on which things go wrong, and which may be away for a while.

use std::process::Command;
use std::time::Duration;

use crate::faults::{Fault, Faults, Plan};
use crate::s3::Server;
use crate::scratch::Scratch;

/// The store, with a bucket `runs`; every other folder of the scratch is a bucket, too.
pub struct Store {
    /// What lies in it, seen from behind.
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

    /// What it does wrong, and has done.
    pub fn faults(&self) -> &Faults {
        self.server().faults()
    }

    /// From now on every request whose line contains `only` meets `fault`.
    pub fn meets(&self, fault: Fault, only: &str, silence_ms: u64) {
        let silence = Duration::from_millis(silence_ms);
        self.faults().follow(Plan { rate: 1.0, kinds: vec![fault], silence, only: only.into(), ..Plan::default() });
    }

    /// Nobody answers any more.
    pub fn goes_away(&mut self) {
        drop(self.server.take());
    }

    /// Answers again, and does nothing wrong.
    pub fn comes_back(&mut self) {
        let server = Server::start_on(self.port, self.scratch.path(), &[]);
        self.server = Some(server.expect("the port is free again"));
    }

    /// `command` as a process that reaches the store.
    pub fn environment(&self, mut command: Command) -> Command {
        command.envs(self.server().environment());
        command
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("the store is not away")
    }
}
