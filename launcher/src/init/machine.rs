//! Looks at this machine: cores, memory, GPUs, and whether ranks can run beside each other.

use std::process::Command;

use common::preflight::{GpuFacts, available_memory};

use crate::backend::cores;
use crate::backend::shared_memory::SharedMemory;
use crate::programs;

/// Most ranks that a config is written for.
const RANKS_MAX: u32 = 16;

/// Floating-point operations per second of a hardware thread, by what `/proc/cpuinfo` calls the best that its processor has. A
/// cautious guess: two threads may share a core, and a laptop grows hot. The steps of 124M parameters of docs/benchmarks.md are
/// 204 GFLOP/s a thread with AMX and 64 with AVX2, at 6 x 124M + 12 x 12 x 768 x 1,024 operations a token; no rate of AVX-512
/// alone was measured here.
const CORE_FLOPS: [(&str, f64); 2] = [("amx_bf16", 100e9), ("avx512f", 50e9)];
/// That of other processors.
const CORE_FLOPS_MIN: f64 = 30e9;

/// What matters of a machine for the sizes of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Number of hardware threads.
    pub cores: u32,
    /// Floating-point operations per second that a hardware thread is expected to do.
    pub core_flops: f64,
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
            core_flops: core_flops(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            memory_bytes: available_memory(),
            ranks_max: together.unwrap_or(1),
            gpus: if wants_gpus { gpus() } else { Vec::new() },
        }
    }
}

/// Returns the speed that is expected of each hardware thread of the processor that `cpuinfo` describes.
fn core_flops(cpuinfo: &str) -> f64 {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    CORE_FLOPS.iter().find(|(flag, _)| has(flag)).map_or(CORE_FLOPS_MIN, |(_, flops)| *flops)
}

/// Returns the GPUs that the driver lists.
fn gpus() -> Vec<GpuFacts> {
    let [program, arguments @ ..] = GpuFacts::COMMAND;
    let output = Command::new(program).args(arguments).output();
    GpuFacts::parse_all(&output.map(|output| output.stdout).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_as_fast_as_the_best_that_it_has() {
        let of = |flags: &str| core_flops(&format!("processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: spectre_v1\n"));
        let found = ["fpu avx2 avx512f amx_bf16 amx_tile", "avx2 avx512f", "avx2 avx512_vnni"].map(of);
        assert_eq!(found, [100e9, 50e9, CORE_FLOPS_MIN]);
        assert_eq!(core_flops(""), CORE_FLOPS_MIN);
    }
}
