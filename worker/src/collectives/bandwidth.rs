//! The bandwidth of an all-reduce between the ranks of a run, measured at its start.

use std::fmt;
use std::time::Instant;

use common::topology::WorldSize;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use super::{Collectives, CollectivesError, Label, ReduceOp};

/// Bytes of the first measurement, which decides the size of the second.
const FIRST_BYTES: u64 = 1 << 20;
/// Upper bound of the bytes in a measurement.
const BYTES_MAX: u64 = 64 << 20;
/// Target duration of a measurement.
const SECONDS: f64 = 0.3;

const LABEL: Label = Label::new("measuring the bandwidth");

/// Result of one measured all-reduce.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bandwidth {
    /// Number of ranks that took part.
    pub ranks: WorldSize,
    /// Number of hosts that they ran on.
    pub hosts: usize,
    /// Bytes that were reduced on each rank.
    pub bytes: u64,
    /// Time that the slowest rank took.
    pub seconds: f64,
}

impl Bandwidth {
    /// Measures an all-reduce of float32 tensors on `device`; `None` in a world of one rank. Takes less than a
    /// second, unless 1 MiB alone takes longer. All ranks must call this, and all get an identical result.
    pub fn measure(ranks: &dyn Collectives, hosts: usize, device: Device) -> Result<Option<Self>, CollectivesError> {
        let world = ranks.world_size();
        if world == WorldSize::ONE {
            return Ok(None);
        }
        // The first operation also makes connections.
        time(ranks, FIRST_BYTES, device)?;
        let first = time(ranks, FIRST_BYTES, device)?;
        let bytes = bytes_within(SECONDS, first);
        let seconds = if bytes == FIRST_BYTES { first } else { time(ranks, bytes, device)? };
        Ok(Some(Bandwidth { ranks: world, hosts, bytes, seconds }))
    }

    /// Returns the bytes per rank that are reduced in a second.
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.seconds
    }

    /// Returns the bytes that each rank sends and receives in a second: the figure by which links are sold.
    pub fn bus_bytes_per_second(&self) -> f64 {
        let ranks = f64::from(self.ranks.get());
        self.bytes_per_second() * 2.0 * (ranks - 1.0) / ranks
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "all-reduce between {} ranks on {} host{}: {:.2} GB/s (bus bandwidth {:.2} GB/s, {} MiB)",
            self.ranks,
            self.hosts,
            if self.hosts == 1 { "" } else { "s" },
            self.bytes_per_second() / 1e9,
            self.bus_bytes_per_second() / 1e9,
            self.bytes >> 20
        )
    }
}

/// Returns the largest power of two of bytes that should fit into `seconds`, where [`FIRST_BYTES`] took
/// `first_seconds`.
fn bytes_within(seconds: f64, first_seconds: f64) -> u64 {
    let mut bytes = FIRST_BYTES;
    while bytes < BYTES_MAX && (bytes * 2) as f64 / FIRST_BYTES as f64 * first_seconds <= seconds {
        bytes *= 2;
    }
    bytes
}

/// Returns the seconds that the slowest rank takes for one all-reduce, identical on all ranks.
fn time(ranks: &dyn Collectives, bytes: u64, device: Device) -> Result<f64, CollectivesError> {
    let tensor = Tensor::zeros([bytes as i64 / 4], (Kind::Float, device));
    ranks.barrier(LABEL).wait()?;
    let start = Instant::now();
    ranks.all_reduce(&tensor, ReduceOp::Sum, LABEL).wait()?;
    // Reading a value waits for the GPU.
    let _ = tensor.double_value(&[0]);
    let seconds = Tensor::from_slice(&[start.elapsed().as_secs_f64()]);
    ranks.all_reduce(&seconds, ReduceOp::Max, LABEL).wait()?;
    Ok(seconds.double_value(&[0]).max(1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectives::single::Single;

    #[test]
    fn a_slow_network_is_measured_with_less() {
        assert_eq!(bytes_within(0.3, 0.001), 64 << 20);
        assert_eq!(bytes_within(0.3, 0.05), 4 << 20);
        assert_eq!(bytes_within(0.3, 7.0), 1 << 20);
    }

    #[test]
    fn figures_are_those_of_the_definition() {
        let ranks = WorldSize::new(8).unwrap();
        let bandwidth = Bandwidth { ranks, hosts: 1, bytes: 64 << 20, seconds: 0.05 };
        let text = "all-reduce between 8 ranks on 1 host: 1.34 GB/s (bus bandwidth 2.35 GB/s, 64 MiB)";
        assert_eq!(bandwidth.to_string(), text);
    }

    #[test]
    fn one_rank_has_nothing_to_measure() {
        assert_eq!(Bandwidth::measure(&Single::default(), 1, Device::Cpu).unwrap(), None);
    }
}
