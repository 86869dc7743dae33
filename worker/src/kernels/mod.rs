//! Convoy's own kernels. Each has a twin made of libtorch's operations, which is its test, and which runs where there
//! is no kernel.
//!
//! - [`layer_norm`]: LayerNorm of a residual stream that a branch is added to, and its backward.
//! - [`attention`]: causal attention and its backward.
//! - [`gelu`]: GELU and its backward.
//! - [`columns`]: sums of columns, and backward of attention's split with its sums.
//! - [`cross_entropy`]: the loss and its gradient, in place over the logits.
//! - [`adamw`]: one update of a flat range.
//! - [`products`]: matrix products, also combined with GELU before or after.
//! - [`norm`]: the norm of flat gradients.
//! - [`rounding`]: stochastic rounding of float32 weights to bfloat16.
//!
//! A kernel's module has its formula, its sources, its twin, and the function that chooses what runs. Its `on_gpu`
//! launches the kernel for GPUs, and its `on_cpu` is a kernel for CPUs that is made of products. All kernels share:
//!
//! - `cuda`: compiles, loads and launches the kernels for GPUs; their sources are in `worker/kernels`.
//! - `cpu`: calls the kernels for CPUs. Most are in `worker/libtorch/cpu_kernels.cpp`; [`products`] and [`attention`]
//!   are here.
//! - `operand`, `row_gradient`: operands of kernels, and the gradients that backward passes on.

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

/// Prepares kernels and products on GPU number `device`, which libtorch has been set to use. A process has one.
/// Either may work without the other; the error says which does not.
pub fn prepare(device: usize) -> Result<(), NoKernels> {
    let products = products::on_gpu::prepare(device)
        .map_err(|message| NoKernels(format!("matrix products are libtorch's: {message}")));
    match (cuda::prepare(device, &SOURCES), products) {
        (Err(NoKernels(kernels)), Err(NoKernels(products))) => Err(NoKernels(format!("{kernels}; {products}"))),
        (kernels, products) => kernels.and(products),
    }
}
