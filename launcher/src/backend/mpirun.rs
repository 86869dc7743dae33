//! Ranks on many hosts: mpirun on this machine starts a daemon on each host over ssh, and each daemon starts ranks.
//!
//! Before every attempt the hosts are asked whether they are there. At its end, each is asked to kill what is left: mpirun's
//! daemons end by themselves when mpirun does, but not where they hang, and not at once where the network does. A host that
//! cannot be reached then is cleared before ranks start on it again. Until then its ranks end by themselves, since they have
//! lost the launcher.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::mpsc::Sender;

use common::config::LaunchConfig;
use common::config::hosts::Host;
use common::random::random_hex;
use nix::sys::signal::Signal;

use super::error::BackendError;
use super::launch_plan::{LaunchPlan, Marked};
use super::open_mpi::OpenMpi;
use super::placement::Placement;
use super::placement::{HostAnswer, place};
use super::process::{self, ProcessRanks};
use super::remote::{RemoteShell, is_this_machine, kill_script};
use super::shared_memory::{self, LOOK, SharedMemory};
use super::{AttemptStart, Backend, RankProgram, Ranks, Scout, address};
use crate::cause::evidence::ProcessEnd;
use crate::error::LaunchError;
use crate::event::Event;

/// Backend for ranks on the hosts of a config.
pub struct Mpirun {
    hosts: Hosts,
    mpirun: OpenMpi,
    program: RankProgram,
    /// Prefix of the marks of all attempts at this run.
    mark: String,
    /// Hosts on which nothing of an earlier attempt can be left.
    clear: Rc<RefCell<BTreeSet<String>>>,
}

/// The list of hosts, and how they are reached.
#[derive(Clone)]
struct Hosts {
    launch: LaunchConfig,
    shell: RemoteShell,
    /// Nodes of an allocation; `None` where the config lists the hosts.
    allocation: Option<Vec<Host>>,
}

impl Hosts {
    /// The hosts as they are listed now; one may join a hostfile while a run goes on.
    fn list(&self) -> Result<Vec<Host>, BackendError> {
        if let Some(nodes) = &self.allocation {
            return Ok(nodes.clone());
        }
        let path = &self.launch.hostfile;
        let hosts = if path.is_empty() {
            self.launch.hosts.iter().map(|host| Host::parse(host)).collect()
        } else {
            std::fs::read_to_string(path)
                .map_err(|error| error.to_string())
                .and_then(|text| Host::parse_hostfile(&text))
        };
        let hosts = hosts.map_err(|fault| BackendError::Hostfile { path: path.clone(), fault })?;
        let mut names = BTreeSet::new();
        match hosts.iter().find(|host| !names.insert(&host.name)) {
            Some(twice) => Err(BackendError::HostTwice { host: twice.name.clone() }),
            None if hosts.is_empty() => Err(BackendError::NoHosts { path: path.clone() }),
            None => Ok(hosts),
        }
    }

    /// Asks every host whether it is there, and places the ranks.
    fn place(&self) -> Result<Placement, LaunchError> {
        let hosts = self.list()?;
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        let answers = self.shell.run(&names, LOOK).into_iter().map(|answer| shared_memory::parse(&answer?));
        let answers: Vec<Result<(u32, SharedMemory), String>> = answers.collect();
        let memories: BTreeMap<String, SharedMemory> =
            names.iter().zip(&answers).filter_map(|(name, a)| Some(((*name).to_owned(), a.as_ref().ok()?.1))).collect();
        let cores = answers.into_iter().map(|answer| answer.map(|(cores, _)| cores));
        let answers: Vec<HostAnswer> = cores.zip(hosts).map(|(cores, host)| (host, cores)).collect();
        let placement = place(&self.launch, &answers)?;
        shared_memory::check(&placement, |host| memories.get(host).copied())?;
        Ok(placement)
    }
}

impl Mpirun {
    /// Creates the backend for ranks of `program` on the hosts of `launch`. A process with a mark that begins with `mark`
    /// belongs to this run, and is killed before an attempt starts.
    pub fn new(launch: &LaunchConfig, mpirun: OpenMpi, program: RankProgram, mark: String) -> Self {
        let hosts = Hosts { launch: launch.clone(), shell: RemoteShell::new(launch), allocation: None };
        Mpirun { hosts, mpirun, program, mark, clear: Rc::default() }
    }

    /// Changes the hosts to the nodes of the Slurm allocation that this process is in.
    pub fn in_allocation(mut self, nodes: Vec<Host>) -> Self {
        self.hosts.shell = RemoteShell::of_slurm();
        self.hosts.allocation = Some(nodes);
        self
    }

    fn plan(&self, placement: &Placement, mark: &str) -> LaunchPlan {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
        let marked = Marked { open_mpi: &self.mpirun, mark };
        LaunchPlan::over_hosts(
            &self.hosts.launch,
            placement,
            (&marked, &self.hosts.shell),
            &names,
            self.program.words(placement.threads_per_rank),
        )
    }

    /// Kills what earlier attempts have left on the hosts of `placement`.
    fn make_room(&self, placement: &Placement) -> Result<(), LaunchError> {
        let mut clear = self.clear.borrow_mut();
        let names = placement.hosts.iter().map(|on| on.host.as_str());
        let hosts: Vec<&str> = names.filter(|host| !clear.contains(*host)).collect();
        let (cleared, result) = self.hosts.shell.make_room(&hosts, &self.mark);
        clear.extend(cleared.into_iter().map(str::to_owned));
        result
    }
}

impl Backend for Mpirun {
    fn render(&self) -> Result<String, LaunchError> {
        let cores = super::cores();
        let answers: Vec<HostAnswer> = self.hosts.list()?.into_iter().map(|host| (host, Ok(cores))).collect();
        let placement = place(&self.hosts.launch, &answers)?;
        Ok(self.plan(&placement, &format!("{}-NUMBER-RANDOM", self.mark)).to_string())
    }

    fn place(&self) -> Result<Placement, LaunchError> {
        self.hosts.place()
    }

    fn scout(&self) -> Option<Scout> {
        let hosts = self.hosts.clone();
        Some(Box::new(move || hosts.place()))
    }

    fn control_address(&self, placement: &Placement) -> Result<IpAddr, LaunchError> {
        address::choose(&self.hosts.launch, placement)
    }

    fn start(&self, start: &AttemptStart<'_>, events: &Sender<Event>) -> Result<Box<dyn Ranks>, LaunchError> {
        // Ranks that only look (attempt 0) have not claimed the run, so another attempt at it may be in progress.
        if start.number > 0 {
            self.make_room(start.placement)?;
        }
        let mark = format!("{}-{:04}-{}", self.mark, start.number, random_hex());
        let plan = self.plan(start.placement, &mark);
        let hosts: Vec<String> = start.placement.hosts.iter().map(|on| on.host.clone()).collect();
        self.clear.borrow_mut().retain(|host| !hosts.contains(host));
        let process = process::start(&plan, start.start_line, events)?;
        let (shell, clear) = (self.hosts.shell.clone(), self.clear.clone());
        Ok(Box::new(HostRanks { process, shell, mark, hosts, clear, is_over: false }))
    }
}

/// The mpirun process, and what came from it on every host.
struct HostRanks {
    process: ProcessRanks,
    shell: RemoteShell,
    mark: String,
    hosts: Vec<String>,
    clear: Rc<RefCell<BTreeSet<String>>>,
    is_over: bool,
}

impl HostRanks {
    /// Kills what is left on the hosts, as far as they can be reached.
    fn clear(&mut self) {
        self.is_over = true;
        // The session on this machine has been killed already.
        let (here, others): (Vec<&str>, Vec<&str>) =
            self.hosts.iter().map(String::as_str).partition(|host| is_this_machine(host));
        let mut clear = self.clear.borrow_mut();
        clear.extend(here.into_iter().map(str::to_owned));
        for (host, answer) in others.iter().zip(self.shell.run(&others, &kill_script(&self.mark, false))) {
            match answer.as_deref().map(str::trim) {
                Ok("") => {
                    clear.insert((*host).to_owned());
                }
                Ok(left) => tracing::warn!("processes do not die on host {host}: {left}; see `ps` there"),
                Err(reason) => tracing::warn!(
                    "host {host} cannot be reached ({reason}): ranks that are left there end by themselves when they have \
                     lost the launcher for launch.stall_timeout_s"
                ),
            }
        }
    }
}

impl Ranks for HostRanks {
    fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    fn have_ended(&mut self) -> bool {
        self.process.have_ended()
    }

    fn kill(&mut self) {
        self.process.kill();
    }

    fn finish(&mut self) -> io::Result<ProcessEnd> {
        let end = self.process.finish();
        self.clear();
        end
    }
}

impl Drop for HostRanks {
    fn drop(&mut self) {
        if !self.is_over {
            let _ = self.finish();
        }
    }
}
