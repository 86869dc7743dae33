//! Looks at this machine: cores, memory, GPUs, and whether ranks can run beside each other.

use std::process::Command;

use common::preflight::{GpuFacts, available_memory};

use crate::backend::cores;
use crate::backend::shared_memory::SharedMemory;
use crate::programs;

/// Most ranks that a config is written for.
const RANKS_MAX: u32 = 16;

/// What matters of a machine for the sizes of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Number of hardware threads.
    pub cores: u32,
    /// Available memory in bytes; 0 if unknown.
    pub memory_bytes: u64,
    /// Largest number of ranks that can run beside each other: 1 without mpirun, or without room in `/dev/shm`.
    pub ranks_max: u32,
    /// GPUs to train on.
    pub gpus: Vec<GpuFacts>,
}

impl Machine {
    /// Looks at this machine. Leaves its GPUs out unless they are wanted.
    pub fn look(wants_gpus: bool) -> Self {
        let shared = SharedMemory::here();
        let has_room = |ranks: &u32| shared.has_room_for(*ranks);
        let together = programs::open_mpi(2).ok().and_then(|_| (2..=RANKS_MAX).rev().find(has_room));
        Machine {
            cores: cores(),
            memory_bytes: available_memory(),
            ranks_max: together.unwrap_or(1),
            gpus: if wants_gpus { gpus() } else { Vec::new() },
        }
    }
}

/// Returns the GPUs that the driver lists.
fn gpus() -> Vec<GpuFacts> {
    let [program, arguments @ ..] = GpuFacts::COMMAND;
    let output = Command::new(program).args(arguments).output();
    GpuFacts::parse_all(&output.map(|output| output.stdout).unwrap_or_default())
}
