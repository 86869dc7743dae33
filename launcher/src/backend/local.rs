//! Ranks on this machine: the executable itself where there is one, mpirun where there are several.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::Sender;

use super::{AttemptStart, Backend, Placement, Ranks, process};
use crate::error::LaunchError;
use crate::event::Event;
use crate::plan::LaunchPlan;

/// This machine, and the command that starts all ranks on it.
pub struct Local {
    /// The command.
    pub plan: LaunchPlan,
    /// The same for every attempt.
    pub placement: Placement,
}

impl Backend for Local {
    fn render(&self) -> Result<String, LaunchError> {
        Ok(self.plan.to_string())
    }

    fn place(&self) -> Result<Placement, LaunchError> {
        Ok(self.placement.clone())
    }

    fn control_address(&self) -> Result<IpAddr, LaunchError> {
        Ok(Ipv4Addr::LOCALHOST.into())
    }

    fn start(&self, start: &AttemptStart<'_>, events: &Sender<Event>) -> Result<Box<dyn Ranks>, LaunchError> {
        Ok(Box::new(process::start(&self.plan, start.start_line, events)?))
    }
}
