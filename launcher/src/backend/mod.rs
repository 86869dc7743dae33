//! What starts the ranks of an attempt, and where: a file for each kind of place.
//!
//! [`local`] is this machine, [`mpirun`] many hosts by ssh, or the nodes of an allocation of [`slurm`]. Each is a command line
//! that [`process`] runs here, planned by [`placement`] and [`launch_plan`]; [`remote`] is how other hosts are asked for anything else,
//! [`shared_memory`] what ranks need there, and [`address`] where they find this one. [`error`] is why none can be started. [`kubernetes`] is a cluster, in which another
//! launcher runs mpirun; [`relay`] is what that one tells this one.
//!
//! What is not here: what ranks say (they connect to [`crate::control`] by themselves), and what it means when they end
//! ([`crate::cause`]).

mod address;
pub mod error;
pub mod kubernetes;
pub mod launch_plan;
pub mod local;
pub mod mpirun;
pub mod placement;
pub mod process;
pub mod relay;
pub mod remote;
pub mod shared_memory;
pub mod slurm;
pub mod tagged_output;

use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;

use common::worker_contract::{StartLine, ToRank};
use nix::sys::signal::Signal;

use crate::cause::evidence::ProcessEnd;
use crate::error::LaunchError;
use crate::event::Event;
use placement::Placement;

/// Where ranks run, and how an attempt of them is started. One conformance suite holds for every backend.
pub trait Backend {
    /// Exactly what would be run, for people and for `launcher render`: a command line, a script, manifests. Holds no secret.
    fn render(&self) -> Result<String, LaunchError>;

    /// Where the ranks of the next attempt are to run: it looks who is there, so the answer may differ each time.
    fn place(&self) -> Result<Placement, LaunchError>;

    /// The same question for another thread while an attempt runs; `None` where the answer is always the same.
    fn scout(&self) -> Option<Scout> {
        None
    }

    /// The address of this machine by which ranks at `placement` can reach it.
    fn control_address(&self, placement: &Placement) -> Result<IpAddr, LaunchError>;

    /// Starts the ranks of one attempt. What they print and what befalls them arrives as events.
    fn start(&self, start: &AttemptStart<'_>, events: &Sender<Event>) -> Result<Box<dyn Ranks>, LaunchError>;
}

/// Says where ranks could run by now, see [`Backend::place`].
pub type Scout = Box<dyn Fn() -> Result<Placement, LaunchError> + Send>;

/// The running ranks of an attempt; dropping them kills every one, on every host that can be reached.
pub trait Ranks {
    /// Sends `signal` to every rank.
    fn signal(&self, signal: Signal);

    /// Whether a launcher beside the ranks watches them, too: it sees to it that they stop in time, and ends them where they
    /// stand still. Then they have no control connections here, and what they say arrives as events all the same.
    fn are_watched_elsewhere(&self) -> bool {
        false
    }

    /// Has the launcher beside the ranks, where there is one, pass a request on to them.
    fn pass_on(&self, _request: ToRank) {}

    /// Whether all have ended.
    fn have_ended(&mut self) -> bool;

    /// Kills every process of the attempt.
    fn kill(&mut self);

    /// Makes sure that nothing of the attempt is left, and says how it ended.
    fn finish(&mut self) -> io::Result<ProcessEnd>;
}

/// What every rank is started as.
pub struct RankProgram {
    /// The executable, at the same path on every host.
    pub executable: PathBuf,
    /// Its arguments, by the number of compute threads.
    pub arguments: Box<dyn Fn(u32) -> Vec<OsString>>,
}

impl RankProgram {
    /// The whole command.
    pub fn words(&self, threads_per_rank: u32) -> Vec<OsString> {
        let mut words = vec![self.executable.clone().into_os_string()];
        words.extend((self.arguments)(threads_per_rank));
        words
    }
}

/// Hardware threads of this machine that this process may use.
pub fn cores() -> u32 {
    u32::try_from(common::threads::cores()).unwrap_or(u32::MAX)
}

/// What differs from attempt to attempt.
pub struct AttemptStart<'a> {
    /// The attempt's number; 0 for ranks that only look, and for which nobody has claimed the run.
    pub number: u32,
    /// Where its ranks run.
    pub placement: &'a Placement,
    /// What rank 0 reads first, where the job waits for it.
    pub start_line: Option<&'a StartLine>,
    /// Set once somebody has asked to stop: a start that is held up need not come about any more.
    pub gives_up: &'a AtomicBool,
}
