//! `[launch]`: how processes are started, watched and restarted. Flags of the launcher override it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::hosts::Host;
use super::section::Section;

/// Section `[launch]`; may change on resume.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LaunchConfig {
    /// Backend that starts the ranks. Default `local`.
    pub backend: Backend,
    /// Number of ranks; 0 for as many as the hosts have room for. Default 1 on this machine, 0 elsewhere.
    pub ranks: u32,
    /// Smallest number of ranks with which an attempt starts when hosts do not answer; 0 waits for all. Default 0.
    pub min_ranks: u32,
    /// Hosts for the ranks, as `name` or `name:ranks`, in order of preference. Default none.
    pub hosts: Vec<String>,
    /// File that lists the hosts instead, in Open MPI's format; read again before every attempt. Default none.
    pub hostfile: String,
    /// Ranks on each host that does not give its own number; 0 for one. Default 0.
    pub ranks_per_node: u32,
    /// Compute threads of each rank; 0 divides the machine's cores evenly. Default 0.
    pub threads_per_rank: u32,
    /// What each rank is bound to. Default `cores`.
    pub bind: Bind,
    /// Network between the hosts, as a subnet such as `10.0.0.0/24` or the name of an interface; empty lets Open MPI find
    /// one. Default empty.
    pub interface: String,
    /// Address of the launcher's machine that the ranks connect to; empty derives it from `interface`, or from the route to
    /// the first other host. Default empty.
    pub control_address: String,
    /// Program that runs a command on another host, called like ssh. Default `ssh`.
    pub remote_shell: String,
    /// Arguments of `remote_shell`. Default none.
    pub ssh_arguments: Vec<String>,
    /// Options of sbatch, one word each, such as `--partition=gpu`. Default none.
    pub slurm_arguments: Vec<String>,
    /// Variables of the launcher's environment that ranks on other hosts receive, besides those that are always forwarded.
    /// Default none.
    pub forward_environment: Vec<String>,
    /// Seconds between polls of the hosts that were missing when the attempt started. When they answer, the run saves, stops
    /// and restarts with them. 0 polls only at the next restart. Default 0.
    pub host_poll_s: u64,
    /// Restarts in a row without progress before the launcher gives up. Default 3.
    pub max_restarts: u32,
    /// Seconds after which an attempt is killed and restarted unless all its ranks have reported to the launcher. Default 300.
    pub start_timeout_s: u64,
    /// Seconds without progress on any rank after which a run is killed and restarted. A rank that has lost its connection
    /// to the launcher for this long ends itself; it notices a silent host after about 20 s. Default 900.
    pub stall_timeout_s: u64,
    /// Seconds that a stop may take before the ranks are killed. Default 120.
    pub grace_s: u64,
    /// Seconds for which an attempt holds a run after its last sign of life. A start waits this long for a holder that may
    /// be dead. Default 60.
    pub claim_expiry_s: u64,
}

/// Values of `launch.backend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// This machine, with mpirun for more than one rank.
    Local,
    /// The hosts of `launch.hosts` or `launch.hostfile`, with mpirun over ssh.
    Mpirun,
    /// A Kubernetes cluster with the MPI operator.
    Kubernetes,
    /// A Slurm batch job, and inside of it the job's nodes.
    Slurm,
}

/// Values of `launch.bind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bind {
    /// Binds each rank to as many hardware threads as it has compute threads, if its host has enough for all its ranks.
    Cores,
    /// Binds to nothing, for hosts that are shared with others.
    None,
}

impl LaunchConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let backend = section.or("backend", Backend::Local);
        let launch = LaunchConfig {
            backend,
            ranks: section.or("ranks", u32::from(backend == Backend::Local)),
            min_ranks: section.or("min_ranks", 0),
            hosts: section.or("hosts", Vec::new()),
            hostfile: section.or("hostfile", String::new()),
            ranks_per_node: section.or("ranks_per_node", 0),
            threads_per_rank: section.or("threads_per_rank", 0),
            bind: section.or("bind", Bind::Cores),
            interface: section.or("interface", String::new()),
            control_address: section.or("control_address", String::new()),
            remote_shell: section.or("remote_shell", "ssh".to_owned()),
            ssh_arguments: section.or("ssh_arguments", Vec::new()),
            slurm_arguments: section.or("slurm_arguments", Vec::new()),
            forward_environment: section.or("forward_environment", Vec::new()),
            host_poll_s: section.or("host_poll_s", 0),
            max_restarts: section.or("max_restarts", 3),
            start_timeout_s: section.or("start_timeout_s", 300),
            stall_timeout_s: section.or("stall_timeout_s", 900),
            grace_s: section.or("grace_s", 120),
            claim_expiry_s: section.or("claim_expiry_s", 60),
        };
        launch.check_hosts(section);
        launch.check_words(section);
        launch
    }

    fn check_hosts(&self, section: &mut Section<'_>) {
        if self.backend != Backend::Mpirun {
            section.require(self.ranks > 0, "ranks", self.ranks, "must be at least 1");
        }
        for host in &self.hosts {
            let fault = Host::parse(host).err();
            section.require(fault.is_none(), "hosts", format!("{host:?}"), fault.unwrap_or_default());
        }
        let has_both = !self.hosts.is_empty() && !self.hostfile.is_empty();
        section.require(!has_both, "hostfile", &self.hostfile, "launch.hosts is given, too; give one of them");
        if self.backend == Backend::Mpirun {
            let has_hosts = !self.hosts.is_empty() || !self.hostfile.is_empty();
            section.require(has_hosts, "hosts", "[]", "the backend \"mpirun\" needs hosts, or a hostfile");
        }
        let hint = "must not be above launch.ranks";
        section.require(self.ranks == 0 || self.min_ranks <= self.ranks, "min_ranks", self.min_ranks, hint);
    }

    /// Checks that each value that ends up in a command line is a single word, and an option only where one is meant.
    fn check_words(&self, section: &mut Section<'_>) {
        let interface = &self.interface;
        let is_interface = interface.chars().all(|c| c.is_ascii_alphanumeric() || "._-:/,".contains(c));
        let hint = "give a subnet, such as \"10.0.0.0/24\", or the name of an interface";
        section.require(is_interface && !interface.starts_with('-'), "interface", format!("{interface:?}"), hint);
        let control = &self.control_address;
        let is_address = control.is_empty() || control.parse().is_ok_and(|address: IpAddr| !address.is_unspecified());
        section.require(is_address, "control_address", format!("{control:?}"), "give one address, such as 10.0.0.1");
        let is_word = |text: &str| text.chars().all(|c| c.is_ascii_graphic() && !"'\"\\`$;&|<>()*?#".contains(c));
        let (shell, hint) = (&self.remote_shell, "give one program, by its name or path, without arguments");
        let is_program = !shell.is_empty() && !shell.starts_with('-') && is_word(shell) && !shell.contains([':', ',']);
        section.require(is_program, "remote_shell", format!("{shell:?}"), hint);
        for argument in &self.ssh_arguments {
            let hint =
                "must be one word, since mpirun splits at spaces; what needs more belongs into ssh's own config file";
            let holds = !argument.is_empty() && is_word(argument);
            section.require(holds, "ssh_arguments", format!("{argument:?}"), hint);
        }
        for argument in &self.slurm_arguments {
            let holds = argument.starts_with('-') && argument.chars().all(|c| c.is_ascii_graphic());
            section.require(holds, "slurm_arguments", format!("{argument:?}"), "must be one word, --name=value");
        }
        for name in &self.forward_environment {
            let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let hint = "must be the name of a variable; its value is the launcher's own";
            section.require(is_name, "forward_environment", format!("{name:?}"), hint);
        }
    }
}
