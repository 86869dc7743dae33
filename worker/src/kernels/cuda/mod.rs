//! CUDA for Convoy's kernels: compiles their sources for this machine's GPU by NVRTC when a job starts, loads and
//! launches them, and keeps the compiled code for the next job. The list of kernels is not here: each kernel has its
//! source and its launches beside its twin, in its `on_gpu.rs`.
//!
//! - [`source`]: sources of kernels.
//! - [`compiler`]: compiles a source by NVRTC.
//! - [`cache`]: compiled kernels on disk.
//! - [`driver`]: CUDA's driver, which loads and launches the compiled kernels.
//! - [`launch`]: the device that runs a kernel: a GPU, or, in tests, a CPU.
//! - [`arguments`]: arguments of a launch.
//!
//! Without kernels, the twins made of libtorch's operations run: a job is then slower, and no less right.

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

/// Loads the kernels of `sources` on GPU number `device`, which libtorch has been set to use. A process has one.
pub fn prepare(device: usize, sources: &[Source]) -> Result<(), NoKernels> {
    if GPU.get().is_none() {
        // If two threads do this at once, the first one's result stays.
        let _ = GPU.set(Gpu::prepare(device, sources)?);
    }
    Ok(())
}

/// Returns the GPU of `device`, if it has kernels.
pub fn on(device: Device) -> Option<&'static Gpu> {
    GPU.get().filter(|gpu| device == Device::Cuda(gpu.device()))
}

/// Returns the GPU on which `tensor` is, if it has kernels.
pub fn of(tensor: &Tensor) -> Option<&'static Gpu> {
    on(tensor.device())
}

/// Returns whether there are kernels on `device`.
pub fn are_on(device: Device) -> bool {
    on(device).is_some()
}
