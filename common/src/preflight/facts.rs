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
    /// Command that lists the GPUs of a host: nvidia-smi with arguments that select the values of [`GpuFacts`].
    pub const COMMAND: [&str; 3] = [
        "nvidia-smi",
        "--query-gpu=index,name,memory.free,memory.total,ecc.errors.uncorrected.volatile.total",
        "--format=csv,noheader,nounits",
    ];

    /// Parses what [`GpuFacts::COMMAND`] prints. Lines that describe no GPU are ignored.
    pub fn parse_all(printed: &[u8]) -> Vec<Self> {
        String::from_utf8_lossy(printed).lines().filter_map(Self::parse).collect()
    }

    /// Parses a line such as `0, NVIDIA H100 80GB HBM3, 81000, 81559, 0`: memory in MiB; the last value may be `[N/A]`.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let &[index, name, free, total, errors] = &fields[..] else { return None };
        let mib = |text: &str| text.parse::<u64>().ok()?.checked_mul(1 << 20);
        Some(GpuFacts {
            index: index.parse().ok()?,
            name: name.to_owned(),
            free_bytes: mib(free)?,
            total_bytes: mib(total)?,
            uncorrected_errors: errors.parse().ok(),
        })
    }

    pub(super) fn named(&self, host: &str) -> String {
        format!("{host}: GPU {} ({})", self.index, self.name)
    }
}

/// Returns the available memory of this host, in bytes; 0 where the system does not say.
pub fn available_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// Formats `bytes` for people.
pub(super) fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / (1_u64 << 30) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drivers_lines_are_gpus() {
        let found = GpuFacts::parse_all(b"1, NVIDIA H100 80GB HBM3, 80994, 81559, 0\n0, Tesla, 1, 2, [N/A]\n");
        let [h100, tesla] = &found[..] else { panic!("{found:?}") };
        assert_eq!((h100.index, &*h100.name, h100.uncorrected_errors), (1, "NVIDIA H100 80GB HBM3", Some(0)));
        assert_eq!((h100.free_bytes, h100.total_bytes), (80994 << 20, 81559 << 20));
        assert_eq!(tesla.uncorrected_errors, None);
        assert_eq!(GpuFacts::parse_all(b"No devices were found\n0, x, 99999999999999999999, 1, 0\n\xff"), []);
    }

    #[test]
    fn this_host_has_memory() {
        assert!(available_memory() > 1 << 20);
    }
}
