//! Facts that ranks gather on their hosts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Precision;
use crate::topology::Rank;

/// Beginning of the line on which `worker check` prints its [`WorldFacts`] as JSON.
pub const FACTS_MARK: &str = "convoy-facts ";

/// Facts that one rank gathered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RankFacts {
    /// The rank.
    pub rank: Rank,
    /// Name of the rank's host.
    pub host: String,
    /// SHA-256 of the rank's executable, in hexadecimal.
    pub binary_sha256: String,
    /// Version of libtorch that the rank runs with.
    pub libtorch: String,
    /// Host's clock, in seconds since 1970, at a moment that all ranks share to within milliseconds.
    pub clock_unix_s: f64,
    /// Number of the rank's compute threads.
    pub threads: u32,
    /// Number of processors that the rank may use.
    pub cores: u32,
    /// Available memory of the host, in bytes.
    pub memory_bytes: u64,
    /// Free space of the folders that the run writes to on this host, in bytes.
    pub free_bytes: BTreeMap<String, u64>,
    /// Size of /dev/shm, in bytes.
    pub shared_memory_bytes: u64,
    /// Device that the rank computes on: `cpu`, or `cuda:0`.
    pub device: String,
    /// Why `run.device = "auto"` chose the CPU; `None` where there is a GPU, or the config names the device.
    pub without_gpu: Option<String>,
    /// Number of GPUs of the host that the rank may use; 0 on a CPU.
    pub visible_gpus: u32,
    /// Whether the rank may share its device with other ranks: [`SHARED_GPU_VARIABLE`] is set to 1.
    pub may_share: bool,
    /// GPUs of the host, according to its driver; none where the config chose the CPU.
    pub gpus: Vec<GpuFacts>,
}

/// NCCL's environment variable (2.30 and later) that lets ranks share a GPU.
pub const SHARED_GPU_VARIABLE: &str = "NCCL_MULTI_RANK_GPU_ENABLE";

/// A GPU of a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuFacts {
    /// Number of the GPU on its host.
    pub index: u32,
    /// Model of the GPU.
    pub name: String,
    /// Free memory, in bytes.
    pub free_bytes: u64,
    /// Total memory, in bytes.
    pub total_bytes: u64,
    /// Number of uncorrected memory errors since the driver started; `None` if the GPU does not count them.
    pub uncorrected_errors: Option<u64>,
}

/// Facts that all ranks gathered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorldFacts {
    /// Facts of each rank, by rank.
    pub ranks: Vec<RankFacts>,
    /// Memory that a step takes on each rank, in bytes, by the formulas of [`crate::cost`].
    pub step_bytes: u64,
    /// Number of sequences in a step, over all ranks.
    pub global_sequences: u64,
    /// Number of trained parameters.
    pub parameters: u64,
    /// Number format of weights and activations.
    pub precision: Precision,
    /// Measured all-reduce of each transport, `MPI` or `NCCL`.
    pub exchange: Vec<Exchange>,
}

/// A measured all-reduce.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// Transport that carried it.
    pub carrier: String,
    /// Bytes per second of each rank.
    pub bytes_per_second: f64,
    /// Description for people.
    pub text: String,
}

impl WorldFacts {
    /// Returns the ranks by host, in the order of each host's first rank.
    pub(super) fn hosts(&self) -> Vec<(&str, Vec<&RankFacts>)> {
        let mut hosts: Vec<(&str, Vec<&RankFacts>)> = Vec::new();
        for facts in &self.ranks {
            match hosts.iter_mut().find(|(host, _)| *host == facts.host) {
                Some((_, ranks)) => ranks.push(facts),
                None => hosts.push((&facts.host, vec![facts])),
            }
        }
        hosts
    }
}

impl GpuFacts {
    pub(super) fn named(&self, host: &str) -> String {
        format!("{host}: GPU {} ({})", self.index, self.name)
    }
}

/// Formats `bytes` for people.
pub(super) fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / (1_u64 << 30) as f64)
}
