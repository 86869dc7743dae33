//! What ranks find on their hosts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::topology::Rank;

/// What the line begins with on which `worker check` prints its [`WorldFacts`], as JSON.
pub const FACTS_MARK: &str = "convoy-facts ";

/// What one rank found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RankFacts {
    /// Which.
    pub rank: Rank,
    /// Its host's name.
    pub host: String,
    /// SHA-256 of its executable, in hex.
    pub binary_sha256: String,
    /// Which libtorch it runs with.
    pub libtorch: String,
    /// The host's clock at a moment that all ranks share to some milliseconds, in seconds since 1970.
    pub clock_unix_s: f64,
    /// Compute threads of the rank.
    pub threads: u32,
    /// Processors that it may use.
    pub cores: u32,
    /// Memory of the host that is free or can be made so.
    pub memory_bytes: u64,
    /// Folders that the run writes to on this host, with what is free there.
    pub free_bytes: BTreeMap<String, u64>,
    /// Size of /dev/shm.
    pub shared_memory_bytes: u64,
    /// What it computes on: `cpu`, or `cuda:0`.
    pub device: String,
    /// Whether it may share that with other ranks: [`SHARED_GPU_VARIABLE`] is set to 1.
    pub may_share: bool,
    /// The GPUs of the host, as its driver names them.
    pub gpus: Vec<GpuFacts>,
}

/// NCCL's variable (2.30 and later) that lets ranks share a GPU.
pub const SHARED_GPU_VARIABLE: &str = "NCCL_MULTI_RANK_GPU_ENABLE";

/// One GPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuFacts {
    /// Its number on the host.
    pub index: u32,
    /// Its kind.
    pub name: String,
    /// Memory that nobody uses.
    pub free_bytes: u64,
    /// All of it.
    pub total_bytes: u64,
    /// Memory errors since the driver started that could not be corrected; `None` where it does not count them.
    pub uncorrected_errors: Option<u64>,
}

/// What all ranks found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorldFacts {
    /// By rank.
    pub ranks: Vec<RankFacts>,
    /// What a step takes on each rank, by the formulas of [`crate::cost`].
    pub step_bytes: u64,
    /// Sequences of a step, over all ranks.
    pub global_sequences: u64,
    /// What ranks exchange with, `MPI` or `NCCL`, and how fast an all-reduce is.
    pub exchange: Vec<Exchange>,
}

/// A measured all-reduce.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// What carried it.
    pub carrier: String,
    /// Each rank's bytes per second.
    pub bytes_per_second: f64,
    /// For people.
    pub text: String,
}

impl WorldFacts {
    /// Ranks by host, in the order of the first rank of each.
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

/// `bytes` for people.
pub(super) fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / (1_u64 << 30) as f64)
}
