//! Copies numbers of a step from the device to the host, which reads them a step later.

use tch::{Device, TchError, Tensor};

use crate::libtorch;
use crate::libtorch::streams::{Event, Stream};

/// Numbers that a device computes, on their way to the host.
#[derive(Debug)]
pub struct Readback {
    /// Numbers in host memory; complete once the event has passed.
    numbers: Tensor,
    copied: Option<Event>,
}

impl Readback {
    /// Starts to copy `numbers [n]`; returns at once.
    pub fn start(numbers: &Tensor) -> Result<Self, TchError> {
        let Device::Cuda(index) = numbers.device() else {
            return Ok(Readback { numbers: numbers.shallow_clone(), copied: None });
        };
        let pinned = libtorch::pin_memory(&Tensor::zeros(numbers.size(), (numbers.kind(), Device::Cpu)))?;
        libtorch::copy_without_waiting(numbers, &pinned)?;
        Ok(Readback { numbers: pinned, copied: Some(Stream::current(index)?.record()?) })
    }

    /// Returns the numbers, on the host; waits for the device if it has not computed them yet.
    pub fn read(&self) -> Result<&Tensor, TchError> {
        if let Some(copied) = &self.copied {
            copied.synchronize()?;
        }
        Ok(&self.numbers)
    }
}
