//! Copies micro batches to the device that computes.

use tch::{Device, TchError, Tensor};

use crate::libtorch;
use crate::libtorch::streams::Stream;
use crate::model::Batch;

/// Copies micro batches to a device: to a GPU from pinned memory and on a stream of its own, beside the computation.
pub struct Upload {
    device: Device,
    /// Number of the GPU, and the stream; `None` on a CPU.
    beside: Option<(usize, Stream)>,
}

impl Upload {
    /// Creates an upload to `device`.
    pub fn to(device: Device) -> Result<Self, TchError> {
        let beside = match device {
            Device::Cuda(index) => Some((index, Stream::beside(index)?)),
            _ => None,
        };
        Ok(Upload { device, beside })
    }

    /// Copies `batch` sequences of T + 1 tokens each, row by row.
    pub fn batch(&self, tokens: &[i32], batch: usize) -> Result<Batch, TchError> {
        let host = Tensor::from_slice(tokens).view([batch as i64, -1]); // [B, T+1]
        let Some((index, beside)) = &self.beside else { return Ok(Batch::of(&host)) };
        let pinned = libtorch::pin_memory(&host)?;
        let copied = beside.enter(|| {
            let copied = Tensor::f_empty(pinned.size(), (pinned.kind(), self.device))?; // [B, T+1]
            libtorch::copy_without_waiting(&pinned, &copied)?;
            Ok::<_, TchError>(copied)
        })??;
        let compute = Stream::current(*index)?;
        compute.wait_for(&beside.record()?)?;
        compute.uses(&copied)?;
        Ok(Batch::of(&copied))
    }
}
