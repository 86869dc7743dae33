//! `[launch]`: how processes are started, watched and restarted. Command-line flags of the launcher override it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::hosts::Host;
use super::section::Section;

/// `[launch]`; free to change on resume.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LaunchConfig {
    /// What starts the ranks. Default `local`.
    pub backend: Backend,
    /// Number of ranks; 0 for as many as the hosts have room for. Default 1 on this machine, 0 elsewhere.
    pub ranks: u32,
    /// An attempt starts with fewer ranks, but with no fewer than so many, where hosts do not answer; 0 waits for all.
    /// Default 0.
    pub min_ranks: u32,
    /// Hosts for the ranks, `name` or `name:ranks`, those first that are to be used first. Default none.
    pub hosts: Vec<String>,
    /// A file with the hosts instead, in Open MPI's form; read again before every attempt. Default none.
    pub hostfile: String,
    /// Ranks on each host where the host does not say; 0 for one. Default 0.
    pub ranks_per_node: u32,
    /// Compute threads of each rank; 0 shares the cores of the machine evenly. Default 0.
    pub threads_per_rank: u32,
    /// What ranks are bound to. Default `cores`.
    pub bind: Bind,
    /// The network between the hosts, as a subnet such as `10.0.0.0/24` or as the name of an interface; where it is not
    /// given, Open MPI looks for one. Default none.
    pub interface: String,
    /// The address of the launcher's machine by which the ranks reach it; found by `interface`, or by the way to the first
    /// other host, where it is not given. Default none.
    pub control_address: String,
    /// The program that runs a command on another host, called as ssh is. Default `ssh`.
    pub remote_shell: String,
    /// Arguments of it. Default none.
    pub ssh_arguments: Vec<String>,
    /// Options of sbatch, one word each, such as `--partition=gpu`. Default none.
    pub slurm_arguments: Vec<String>,
    /// Variables of the launcher's environment that the ranks get on other hosts, too, besides those that always do. Default
    /// none.
    pub forward_environment: Vec<String>,
    /// Hosts that an attempt was started without are asked this often whether they answer; when they do, the run saves,
    /// stops and starts again with them. 0: they are asked at the next restart. Default 0.
    pub host_poll_s: u64,
    /// Restarts in a row without progress before giving up. Default 3.
    pub max_restarts: u32,
    /// An attempt of which not every rank has reported to the launcher by then is killed and restarted. Default 300.
    pub start_timeout_s: u64,
    /// A run whose ranks all stand still this long is killed and restarted; a rank whose connection to
    /// the launcher has been gone this long ends itself; that a host is silent it notices after about 20 s. Default 900.
    pub stall_timeout_s: u64,
    /// How long a stop may take before the ranks are killed. Default 120.
    pub grace_s: u64,
    /// How long an attempt holds a run after its last sign of life; a start waits that long for one that may be dead.
    /// Default 60.
    pub claim_expiry_s: u64,
}

/// `launch.backend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// This machine, by mpirun where there are several ranks.
    Local,
    /// The hosts of `launch.hosts` or `launch.hostfile`, by mpirun over ssh.
    Mpirun,
    /// A Kubernetes cluster with the MPI operator.
    Kubernetes,
    /// A batch job of Slurm, and inside of it its nodes.
    Slurm,
}

/// `launch.bind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bind {
    /// Each rank to as many hardware threads as it has compute threads, where a host has enough for all of its ranks.
    Cores,
    /// Nothing: the host is shared with others.
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

    /// What ends up in a command line must be one word of it, and an option only where it is meant to be one.
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
