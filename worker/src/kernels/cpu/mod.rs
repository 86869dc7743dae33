//! Code that the CPU's kernels share. Each kernel's own part is beside its twin, for example in [`super::attention`].
//!
//! - [`functions`]: kernels written in C++, in `worker/libtorch`.
//! - [`matrix`]: matrices in host memory, and products of them on one thread.
//! - [`threads`]: work for libtorch's threads.

pub mod functions;
pub mod matrix;
pub mod threads;

use tch::{Device, Kind, Tensor};

/// Returns whether the CPU's kernels can work on `tensor`: float32, in host memory, contiguous.
pub fn suits_cpu_kernel(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu && tensor.kind() == Kind::Float && tensor.is_contiguous()
}

/// Returns the memory of a float32 tensor.
pub fn floats(tensor: &Tensor) -> *mut f32 {
    debug_assert!(suits_cpu_kernel(tensor));
    tensor.data_ptr().cast()
}
