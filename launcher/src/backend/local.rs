//! Ranks on this machine: a single rank as the executable itself, several by mpirun.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::Sender;

use common::random::random_hex;

use super::launch_plan::{LaunchPlan, Marked};
use super::open_mpi::OpenMpi;
use super::placement::Placement;
use super::{AttemptStart, Backend, RankProgram, Ranks, process, remote, shared_memory};
use crate::error::LaunchError;
use crate::event::Event;

/// The backend for this machine.
pub struct Local {
    /// Placement of every attempt.
    pub placement: Placement,
    /// Program that every rank runs.
    pub program: RankProgram,
    /// Open MPI of this machine; `None` with a single rank.
    pub open_mpi: Option<OpenMpi>,
    /// Prefix of the marks of all attempts at this job.
    pub mark: String,
}

impl Local {
    fn plan(&self, mark: &str) -> LaunchPlan {
        let words = self.program.words(self.placement.threads_per_rank);
        match &self.open_mpi {
            Some(open_mpi) => LaunchPlan::local(&self.placement, &Marked { open_mpi, mark }, words),
            None => LaunchPlan::alone(&self.placement, mark, words),
        }
    }
}

impl Backend for Local {
    fn render(&self) -> Result<String, LaunchError> {
        Ok(self.plan(&format!("{}-NUMBER-RANDOM", self.mark)).to_string())
    }

    fn place(&self) -> Result<Placement, LaunchError> {
        if self.open_mpi.is_some() {
            shared_memory::check(&self.placement, |_| None)?;
        }
        Ok(self.placement.clone())
    }

    fn control_address(&self, _placement: &Placement) -> Result<IpAddr, LaunchError> {
        Ok(Ipv4Addr::LOCALHOST.into())
    }

    fn start(&self, start: &AttemptStart<'_>, events: &Sender<Event>) -> Result<Box<dyn Ranks>, LaunchError> {
        // Ranks that only look (attempt 0) have not claimed the run, so another attempt at it may be in progress.
        if start.number > 0 {
            remote::make_room_here(&self.mark)?;
        }
        let mark = format!("{}-{:04}-{}", self.mark, start.number, random_hex());
        Ok(Box::new(process::start(&self.plan(&mark), start.start_line, events)?))
    }
}
