//! Tells whether a process lives, as far as this machine can know: it cannot for another machine or another container.

use std::fs;

use serde::{Deserialize, Serialize};

/// Identity of a process, distinct from every other, also from a later process with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// Id of the machine's boot.
    boot: String,
    /// Namespace of process numbers, which each container has for itself.
    namespace: String,
    pid: u32,
    /// Clock ticks from the machine's boot to the process's start.
    started: u64,
}

impl ProcessId {
    /// Returns the identity of this process, or `None` if the system does not tell.
    pub fn of_this() -> Option<Self> {
        let (boot, namespace) = numbering()?;
        let pid = std::process::id();
        Some(ProcessId { boot, namespace, pid, started: started(pid)? })
    }

    /// Returns the identity of process `pid` of a simulated machine.
    #[cfg(test)]
    pub fn simulated(machine: u64, pid: u32) -> Self {
        ProcessId { boot: machine.to_string(), namespace: String::new(), pid, started: 0 }
    }

    /// Returns whether the process is known to have ended. A suspended process has not.
    pub fn is_gone(&self) -> bool {
        let is_ours = numbering().is_some_and(|(boot, namespace)| boot == self.boot && namespace == self.namespace);
        is_ours && started(self.pid) != Some(self.started)
    }
}

/// Returns the boot and the namespace that number processes here.
fn numbering() -> Option<(String, String)> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned();
    Some((boot, namespace))
}

/// Returns when process `pid` started, or `None` if it has ended.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The fields, state first, follow the name, which may itself contain any characters.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let has_ended = matches!(fields.first(), Some(&"Z" | &"X"));
    fields.get(19).filter(|_| !has_ended)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_gone_when_it_has_ended_and_not_where_nobody_can_know() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let (boot, namespace) = numbering().unwrap();
        let process = ProcessId { boot, namespace, pid: child.id(), started: started(child.id()).unwrap() };
        assert!(!process.is_gone());
        let successor = ProcessId { started: process.started + 1, ..process.clone() };
        assert!(successor.is_gone(), "another process has its number");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(process.is_gone());
        assert!(!ProcessId { boot: "elsewhere".into(), ..process.clone() }.is_gone());
        assert!(!ProcessId { namespace: "another container".into(), ..process }.is_gone());
    }
}
