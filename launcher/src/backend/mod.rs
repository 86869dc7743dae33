//! Backends, which start the ranks of an attempt: one file for each kind of place.
//!
//! [`local`] is this machine, [`mpirun`] many hosts by ssh, or the nodes of an allocation of [`slurm`]. Each is a command line
//! that [`process`] runs here, planned by [`placement`] and [`launch_plan`]; [`remote`] is how other hosts are asked for anything else,
//! [`shared_memory`] what ranks need there, and [`address`] where they find this one. [`open_mpi`] is whose mpirun it is. [`error`] is why none can be started. [`kubernetes`] is a cluster, in which another
//! launcher runs mpirun; [`relay`] is what that one tells this one.
//!
//! Absent here: what ranks say, who connect to [`crate::control`] by themselves; and what it means when they end, which
//! [`crate::cause`] judges.

mod address;
pub mod error;
pub mod kubernetes;
pub mod launch_plan;
pub mod local;
pub mod mpirun;
pub mod open_mpi;
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

/// A place where ranks run, and how an attempt is started there. One conformance suite holds for every backend.
pub trait Backend {
    /// Returns exactly what would be run, for people and for `launcher render`: a command line, a script, manifests. Holds no
    /// secret.
    fn render(&self) -> Result<String, LaunchError>;

    /// Places the ranks of the next attempt. The answer may differ each time, since it depends on which hosts are there.
    fn place(&self) -> Result<Placement, LaunchError>;

    /// Returns a function that places ranks from another thread while an attempt runs; `None` where the placement never
    /// changes.
    fn scout(&self) -> Option<Scout> {
        None
    }

    /// Returns the address at which ranks at `placement` reach this machine.
    fn control_address(&self, placement: &Placement) -> Result<IpAddr, LaunchError>;

    /// Returns whether a start gives way in good order, by itself, once [`AttemptStart::gives_up`] is set.
    fn gives_way(&self) -> bool {
        false
    }

    /// Starts the ranks of one attempt. Their output and their fate arrive as events.
    fn start(&self, start: &AttemptStart<'_>, events: &Sender<Event>) -> Result<Box<dyn Ranks>, LaunchError>;
}

/// Places ranks while an attempt runs, as [`Backend::place`] does before one.
pub type Scout = Box<dyn Fn() -> Result<Placement, LaunchError> + Send>;

/// The running ranks of an attempt. Dropping them kills every rank on every host that can be reached.
pub trait Ranks {
    /// Sends `signal` to every rank.
    fn signal(&self, signal: Signal);

    /// Returns whether a launcher beside the ranks watches them, too. That one sees to it that they stop in time, and ends
    /// them when they do not advance. Such ranks have no control connections here, and what they say still arrives as events.
    fn are_watched_elsewhere(&self) -> bool {
        false
    }

    /// Has the launcher beside the ranks, where there is one, pass a request on to them.
    fn pass_on(&self, _request: ToRank) {}

    /// Returns whether all ranks have ended.
    fn have_ended(&mut self) -> bool;

    /// Kills every process of the attempt.
    fn kill(&mut self);

    /// Makes sure that nothing of the attempt is left, and returns how it ended.
    fn finish(&mut self) -> io::Result<ProcessEnd>;
}

/// The command that every rank runs.
pub struct RankProgram {
    /// Path of the executable, equal on every host.
    pub executable: PathBuf,
    /// Arguments as a function of the number of compute threads.
    pub arguments: Box<dyn Fn(u32) -> Vec<OsString>>,
}

impl RankProgram {
    /// Returns the executable followed by its arguments.
    pub fn words(&self, threads_per_rank: u32) -> Vec<OsString> {
        let mut words = vec![self.executable.clone().into_os_string()];
        words.extend((self.arguments)(threads_per_rank));
        words
    }
}

/// Returns the number of this machine's hardware threads that this process may use.
pub fn cores() -> u32 {
    u32::try_from(common::threads::cores()).unwrap_or(u32::MAX)
}

/// What differs between the starts of attempts.
pub struct AttemptStart<'a> {
    /// Number of the attempt; 0 for ranks that only look, and for which nobody has claimed the run.
    pub number: u32,
    /// Where the attempt's ranks run.
    pub placement: &'a Placement,
    /// First line for rank 0 to read; `None` if the job reads none.
    pub start_line: Option<&'a StartLine>,
    /// Set once somebody has asked to stop: a start that is held up may then be abandoned.
    pub gives_up: &'a AtomicBool,
}
