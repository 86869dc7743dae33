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
//! The CPU's are in `libtorch/cpu_kernels.cpp`, but for those that are made of products, [`products`] and [`attention`]; those for
//! GPUs in `kernels/`, see [`cuda`].

pub mod adamw;
pub mod attention;
pub mod columns;
pub mod cross_entropy;
pub mod cuda;
pub mod gelu;
pub mod layer_norm;
mod matrix;
pub mod norm;
pub mod products;
pub mod rounding;
mod threads;

use tch::{Device, Kind, Tensor};

/// The gradient of rows [N, C].
pub struct RowGradient {
    /// [N, C]
    pub rows: Tensor,
    /// Their sum [C], float32, perhaps of what they were before they were rounded, where what made them made it too.
    pub sum: Option<Tensor>,
}

impl From<Tensor> for RowGradient {
    fn from(rows: Tensor) -> Self {
        RowGradient { rows, sum: None }
    }
}

impl Clone for RowGradient {
    /// Another view of the same.
    fn clone(&self) -> Self {
        RowGradient { rows: self.rows.shallow_clone(), sum: self.sum.as_ref().map(Tensor::shallow_clone) }
    }
}

/// Whether `x` is of the kind that a CPU only stores.
pub fn is_only_stored(x: &Tensor) -> bool {
    x.kind() == Kind::BFloat16 && x.device() == Device::Cpu
}

/// `x` as it can be computed with; on a CPU, float32 for bfloat16.
pub fn operand(x: &Tensor) -> Tensor {
    if is_only_stored(x) { x.to_kind(Kind::Float) } else { x.shallow_clone() }
}

/// Whether the CPU's kernels can work on `tensor`: float32, in host memory, without gaps.
fn suits_cpu_kernel(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu && tensor.kind() == Kind::Float && tensor.is_contiguous()
}

/// The memory of a float32 tensor.
fn floats(tensor: &Tensor) -> *mut f32 {
    debug_assert!(suits_cpu_kernel(tensor));
    tensor.data_ptr().cast()
}

mod ffi {
    use std::ffi::c_void;

    unsafe extern "C" {
        pub fn convoy_cpu_each_in_turn(
            tasks: i64,
            task: extern "C" fn(context: *const c_void, number: i64),
            context: *const c_void,
        );
        pub fn convoy_cpu_causal_exp(scores: *mut f32, rows: i64, columns: i64, sums: *mut f32, log_sum_exp: *mut f32);
        pub fn convoy_cpu_causal_softmax_backward(
            scores: *mut f32,
            dscores: *mut f32,
            rows: i64,
            columns: i64,
            log_sum_exp: *const f32,
            sums: *const f32,
        );
        pub fn convoy_cpu_gelu(x: *const f32, y: *mut f32, n: i64);
        pub fn convoy_cpu_gelu_backward(x: *const f32, dy: *const f32, dx: *mut f32, n: i64);
        pub fn convoy_cpu_cross_entropy(
            logits: *mut f32,
            targets: *const i64,
            losses: *mut f64,
            rows: i64,
            stride: i64,
            vocabulary: i64,
            scale: f64,
        );
        pub fn convoy_cpu_adamw(
            parameters: *mut f32,
            gradients: *const f32,
            exp_avg: *mut f32,
            exp_avg_sq: *mut f32,
            n: i64,
            step: f64,
            learning_rate: f64,
            beta1: f64,
            beta2: f64,
            weight_decay: f64,
            epsilon: f64,
            grad_factor: f64,
        );
        pub fn convoy_cpu_round_stochastically(from: *const f32, to: *mut u16, n: i64, first: u64, key: u32);
        pub fn convoy_cpu_sums_of_squares(x: *const f32, n: i64, part: i64, sums: *mut f64);
        pub fn convoy_cpu_amx_prepare() -> bool;
        pub fn convoy_cpu_amx_pack(
            to: *mut u16,
            from: *const f32,
            lane_stride: i64,
            term_stride: i64,
            lanes: i64,
            terms: i64,
            right: bool,
        );
        pub fn convoy_cpu_amx_multiply(
            out: *mut f32,
            stride: i64,
            rows: i64,
            columns: i64,
            a: *const u16,
            b: *const u16,
            steps: i64,
            add: bool,
        );
        pub fn convoy_cpu_avx2_pack(
            to: *mut f32,
            from: *const f32,
            lane_stride: i64,
            term_stride: i64,
            lanes: i64,
            terms: i64,
            right: bool,
        );
        pub fn convoy_cpu_avx2_multiply(
            out: *mut f32,
            stride: i64,
            rows: i64,
            columns: i64,
            a: *const f32,
            b: *const f32,
            terms: i64,
            add: bool,
        );
    }
}
