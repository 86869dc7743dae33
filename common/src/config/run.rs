//! `[run]`: name, folder, seed and device of a run.

use serde::{Deserialize, Serialize};

use super::section::Section;

/// Section `[run]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSection {
    /// Name of the run, for people.
    pub name: String,
    /// Run folder, a storage URL or a local path: config, checkpoints, metrics, events, logs.
    pub output: String,
    /// Seed of the initialisation and of the data order. Default 1337.
    pub seed: u64,
    /// Device to compute on. Default `auto`.
    pub device: DeviceKind,
    /// Peak dense FLOP/s of one rank's device, for the MFU in metrics and progress; 0 shows no MFU. Default 0.
    pub peak_flops: f64,
}

/// Values of `run.device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A GPU if libtorch has its CUDA libraries and they see one, the CPU otherwise.
    Auto,
    /// The CPU.
    Cpu,
    /// One GPU per rank of a host. A run is refused if a rank has none.
    Cuda,
}

impl RunSection {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        RunSection {
            name: section.or("name", "run".to_owned()),
            output: section.required("output", "give the run folder, such as \"file:///data/runs/first\""),
            seed: section.or("seed", 1337),
            device: section.or("device", DeviceKind::Auto),
            peak_flops: section.or("peak_flops", 0.0),
        }
    }
}
