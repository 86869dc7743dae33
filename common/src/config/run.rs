//! `[run]`: what the run is called, where it lives, what it runs on.

use serde::{Deserialize, Serialize};

use super::section::Section;

/// `[run]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSection {
    /// Name of the run, for people.
    pub name: String,
    /// The run folder, a storage URL or a local path: config, checkpoints, metrics, events, logs.
    pub output: String,
    /// Seed of initialisation and data order. Default 1337.
    pub seed: u64,
    /// What to compute on. Default `auto`.
    pub device: DeviceKind,
    /// Peak dense FLOP/s of what one rank computes on, for the MFU in metrics and progress; 0 shows none. Default 0.
    pub peak_flops: f64,
}

/// `run.device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A GPU where libtorch's CUDA libraries are and see one, the CPU elsewhere.
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU for each rank of a host; without one the run is refused.
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
