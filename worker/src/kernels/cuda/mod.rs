//! CUDA for Convoy's kernels: compiles their sources for this machine's GPU by NVRTC when a job starts, loads and launches them, and
//! keeps what was compiled for the next job. Which kernels there are, it is told: each kernel has its source and its launches beside
//! its twin, in its `on_gpu.rs`.
//!
//! - [`source`]: what is compiled. [`compiler`]: NVRTC. [`cache`]: compiled kernels on disk.
//! - [`driver`]: what CUDA's driver does with the result.
//! - [`launch`]: where kernels run: a GPU, or, in tests, a CPU. [`arguments`]: what they are launched with.
//!
//! Where kernels cannot be had, for whatever reason, the twins of libtorch's operations serve: a job is slower, and no less right.

pub mod arguments;
mod cache;
mod compiler;
mod driver;
mod error;
pub mod launch;
pub mod source;

use std::sync::OnceLock;

use tch::{Device, Tensor};

pub use driver::Gpu;
pub use error::NoKernels;
use source::Source;

static GPU: OnceLock<Gpu> = OnceLock::new();

/// Makes the kernels of `sources` ready on GPU number `device`, which libtorch has been told to use. A process has one.
pub fn prepare(device: usize, sources: &[Source]) -> Result<(), NoKernels> {
    if GPU.get().is_none() {
        // The first of two at once stays.
        let _ = GPU.set(Gpu::prepare(device, sources)?);
    }
    Ok(())
}

/// `device`, where it is a GPU that has kernels.
pub fn on(device: Device) -> Option<&'static Gpu> {
    GPU.get().filter(|gpu| device == Device::Cuda(gpu.device()))
}

/// The GPU on which `tensor` lies, where it has kernels.
pub fn of(tensor: &Tensor) -> Option<&'static Gpu> {
    on(tensor.device())
}

/// Whether there are kernels on `device`.
pub fn are_on(device: Device) -> bool {
    on(device).is_some()
}
