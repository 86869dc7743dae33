//! Convoy's own kernels. Each has a twin made of libtorch's operations, which is its test, and runs where there is no kernel.
//!
//! - [`layer_norm`]: LayerNorm of a residual stream that a branch is added to, and its backward.
//! - [`attention`]: causal attention and its backward.
//! - [`gelu`]: GELU and its backward.
//! - [`columns`]: backward of attention's split, with the sums of columns.
//! - [`cross_entropy`]: the loss and its gradient, in place over the logits.
//! - [`adamw`]: one update of a flat range.
//! - [`products`]: matrix products, and those that GELU comes before or after.
//! - [`norm`]: the norm of flat gradients.
//! - [`rounding`]: float32 weights to bfloat16 by chance.
//!
//! A kernel's module has its formula, its sources, its twin, and the function that chooses what runs; `on_gpu` in it launches the
//! kernel for GPUs, and `on_cpu` is a kernel for CPUs that is made of products. All kernels share:
//!
//! - `cuda`: how kernels for GPUs are compiled, loaded and launched; their sources are in `worker/kernels`.
//! - `cpu`: how those for CPUs are called; most are in `worker/libtorch/cpu_kernels.cpp`, and [`products`] and [`attention`] here.
//! - `operand`, `row_gradient`: what kernels take, and what backward hands on.

#![allow(unsafe_code, reason = "calls kernels of C++ and CUDA with addresses in tensors")]

pub mod adamw;
pub mod attention;
pub mod columns;
mod cpu;
pub mod cross_entropy;
mod cuda;
pub mod gelu;
pub mod layer_norm;
pub mod norm;
mod operand;
#[cfg(test)]
pub mod places;
pub mod products;
pub mod rounding;
mod row_gradient;

use cuda::source::{COMMON, Source};

pub use cuda::NoKernels;
pub use operand::{is_only_stored, operand};
pub use row_gradient::RowGradient;

/// All sources for GPUs, in the order in which they are compiled as one.
const SOURCES: [Source; 7] = [
    COMMON,
    rounding::on_gpu::SOURCE,
    adamw::on_gpu::SOURCE,
    columns::on_gpu::SOURCE,
    cross_entropy::on_gpu::SOURCE,
    layer_norm::on_gpu::SOURCE,
    norm::on_gpu::SOURCE,
];

/// Makes kernels and products ready on GPU number `device`, which libtorch has been told to use. A process has one. Of the two, one may
/// be there without the other, which the error says.
pub fn prepare(device: usize) -> Result<(), NoKernels> {
    let products = products::on_gpu::prepare(device)
        .map_err(|message| NoKernels(format!("matrix products are libtorch's: {message}")));
    match (cuda::prepare(device, &SOURCES), products) {
        (Err(NoKernels(kernels)), Err(NoKernels(products))) => Err(NoKernels(format!("{kernels}; {products}"))),
        (kernels, products) => kernels.and(products),
    }
}
