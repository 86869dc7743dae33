//! The shim over those parts of libtorch that tch lacks, and process-wide settings of libtorch.
//!
//! - this file: operators that tch lacks.
//! - [`attention`]: causal attention on a GPU.
//! - [`streams`]: streams and events of a GPU.
//! - [`cuda`]: loading the CUDA libraries.
//! - [`host_memory`]: host memory that tensors are copied to and files are written from.
//! - [`random`]: random numbers that one seed determines.

#![allow(unsafe_code, reason = "calls the C++ shim with pointers to tensors")]

pub mod attention;
pub mod cuda;
pub mod host_memory;
pub mod random;
pub mod streams;

use std::ffi::{CStr, c_char};
use std::sync::atomic::{AtomicBool, Ordering};

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

#[allow(non_camel_case_types, reason = "the C side's names")]
mod ffi {
    use super::{C_tensor, c_char};

    unsafe extern "C" {
        pub fn convoy_free_message(message: *mut c_char);
        pub fn convoy_layer_norm_backward(
            grad: *const C_tensor,
            x: *const C_tensor,
            mean: *const C_tensor,
            rstd: *const C_tensor,
            weight: *const C_tensor,
            bias: *const C_tensor,
            out: *mut *mut C_tensor,
        ) -> *mut c_char;
        pub fn convoy_add_product(
            out: *const C_tensor,
            a: *const C_tensor,
            b: *const C_tensor,
            accumulate: bool,
        ) -> *mut c_char;
        pub fn convoy_add_rows(out: *const C_tensor, indices: *const C_tensor, rows: *const C_tensor) -> *mut c_char;
        pub fn convoy_copy_without_waiting(from: *const C_tensor, to: *const C_tensor) -> *mut c_char;
        pub fn convoy_set_deterministic() -> *mut c_char;
        pub fn convoy_use_own_host_allocator();
        pub fn convoy_pin_memory(tensor: *const C_tensor, out: *mut *mut C_tensor) -> *mut c_char;
        pub fn convoy_adamw(
            parameters: *const *const C_tensor,
            gradients: *const *const C_tensor,
            exp_avgs: *const *const C_tensor,
            exp_avg_sqs: *const *const C_tensor,
            count: usize,
            step: *const C_tensor,
            learning_rate: f64,
            beta1: f64,
            beta2: f64,
            weight_decay: f64,
            epsilon: f64,
            grad_scale: *const C_tensor,
            found_inf: *const C_tensor,
        ) -> *mut c_char;
    }
}

/// Turns the shim's message, if there is one, into an error.
fn check(message: *mut c_char) -> Result<(), TchError> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: the shim returns null or a NUL-terminated string from strdup, which is freed once, here.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        ffi::convoy_free_message(message);
        text
    };
    Err(TchError::Torch(text))
}

/// Returns the gradients of a LayerNorm over the last dimension: of its input `x [N, C]`, its weight `[C]` and its
/// bias `[C]`.
///
/// `mean` and `rstd [N, 1]` are from the forward pass.
pub fn layer_norm_backward(
    grad: &Tensor,
    x: &Tensor,
    mean: &Tensor,
    rstd: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
) -> Result<(Tensor, Tensor, Tensor), TchError> {
    let mut out = [std::ptr::null_mut(); 3];
    // SAFETY: every pointer is a live at::Tensor; the shim writes all three outputs or returns a message.
    check(unsafe {
        ffi::convoy_layer_norm_backward(
            grad.as_ptr(),
            x.as_ptr(),
            mean.as_ptr(),
            rstd.as_ptr(),
            weight.as_ptr(),
            bias.as_ptr(),
            out.as_mut_ptr(),
        )
    })?;
    // SAFETY: the shim allocated each with `new at::Tensor`, which is what Tensor's drop deletes.
    let [dx, dweight, dbias] = out.map(|tensor| unsafe { Tensor::from_ptr(tensor) });
    Ok((dx, dweight, dbias))
}

/// Sets `out [M, N]` to `a [M, K]` times `b [K, N]`, added to its present values if `accumulate`. On CUDA `out` may
/// be of a wider kind than `a` and `b`, and the product is then computed and summed in that kind.
pub fn add_product(out: &Tensor, a: &Tensor, b: &Tensor, accumulate: bool) -> Result<(), TchError> {
    // SAFETY: every pointer is a live at::Tensor.
    check(unsafe { ffi::convoy_add_product(out.as_ptr(), a.as_ptr(), b.as_ptr(), accumulate) })
}

/// Adds each of `rows [N, C]` to the row of `out [V, C]` that `indices [N]` names.
pub fn add_rows(out: &Tensor, indices: &Tensor, rows: &Tensor) -> Result<(), TchError> {
    // SAFETY: every pointer is a live at::Tensor.
    check(unsafe { ffi::convoy_add_rows(out.as_ptr(), indices.as_ptr(), rows.as_ptr()) })
}

/// Copies `from` to `to`, of equal size, without waiting for the copy if possible: between a GPU and pinned memory.
pub fn copy_without_waiting(from: &Tensor, to: &Tensor) -> Result<(), TchError> {
    // SAFETY: both are live at::Tensors.
    check(unsafe { ffi::convoy_copy_without_waiting(from.as_ptr(), to.as_ptr()) })
}

static IS_DETERMINISTIC: AtomicBool = AtomicBool::new(false);

/// Returns whether [`set_deterministic`] has been called.
pub fn is_deterministic() -> bool {
    IS_DETERMINISTIC.load(Ordering::Relaxed)
}

/// Makes every later operation give identical bits for identical input, or fail.
pub fn set_deterministic() -> Result<(), TchError> {
    IS_DETERMINISTIC.store(true, Ordering::Relaxed);
    // SAFETY: sets flags of libtorch's global context.
    check(unsafe { ffi::convoy_set_deterministic() })
}

/// Returns a copy of `tensor` in pinned host memory, from which copies to a GPU do not block.
pub fn pin_memory(tensor: &Tensor) -> Result<Tensor, TchError> {
    let mut out = std::ptr::null_mut();
    // SAFETY: a live at::Tensor; the shim writes the output or returns a message.
    check(unsafe { ffi::convoy_pin_memory(tensor.as_ptr(), &mut out) })?;
    // SAFETY: the shim allocated it with `new at::Tensor`, which is what Tensor's drop deletes.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Constants of one AdamW update (Loshchilov and Hutter, 2019).
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    /// Learning rate of this update.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Constant that is added to the denominator.
    pub epsilon: f64,
}

/// Operands of an AdamW update: lists of tensors, of corresponding shapes.
#[derive(Debug, Default)]
pub struct AdamWTensors {
    /// Weights, updated in place.
    pub parameters: Vec<Tensor>,
    /// Gradients.
    pub gradients: Vec<Tensor>,
    /// First moments, updated in place.
    pub exp_avgs: Vec<Tensor>,
    /// Second moments, updated in place.
    pub exp_avg_sqs: Vec<Tensor>,
}

impl AdamW {
    /// Makes one update in place: number `step`, from 1, with the gradients divided by `grad_scale` (and left
    /// divided), or none if `found_inf` is not 0.
    ///
    /// The three are float32 scalars on the weights' device, so that no value has to come to the host.
    pub fn update(
        &self,
        tensors: &AdamWTensors,
        step: &Tensor,
        grad_scale: &Tensor,
        found_inf: &Tensor,
    ) -> Result<(), TchError> {
        let pointers = |list: &[Tensor]| list.iter().map(Tensor::as_ptr).collect::<Vec<_>>();
        let parameters = pointers(&tensors.parameters);
        let gradients = pointers(&tensors.gradients);
        let exp_avgs = pointers(&tensors.exp_avgs);
        let exp_avg_sqs = pointers(&tensors.exp_avg_sqs);
        let count = parameters.len();
        assert!([gradients.len(), exp_avgs.len(), exp_avg_sqs.len()] == [count; 3], "AdamW lists differ in length");
        // SAFETY: four lists of `count` live at::Tensor pointers and three live scalars.
        check(unsafe {
            ffi::convoy_adamw(
                parameters.as_ptr(),
                gradients.as_ptr(),
                exp_avgs.as_ptr(),
                exp_avg_sqs.as_ptr(),
                count,
                step.as_ptr(),
                self.learning_rate,
                self.beta1,
                self.beta2,
                self.weight_decay,
                self.epsilon,
                grad_scale.as_ptr(),
                found_inf.as_ptr(),
            )
        })
    }
}

/// Variable from which cuBLAS reads the sizes of its workspaces.
const CUBLAS_WORKSPACES: &str = "CUBLAS_WORKSPACE_CONFIG";

/// Makes settings of the process that libtorch needs; no other thread may have been started.
///
/// The allocator keeps the memory of freed large tensors. By default glibc maps every large block afresh and unmaps
/// it when it is freed, so each step would fault in the pages of its activations and logits again. Tensors on the
/// host take their memory from it in a way that leaves fewer gaps than libtorch's (`worker/libtorch/allocator.cpp`).
/// cuBLAS gets workspaces of a fixed size, because otherwise [`set_deterministic`] makes it refuse matrix products.
pub fn prepare_process() {
    // SAFETY: no other thread that could allocate, or read the environment, has been started yet.
    unsafe {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        {
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        }
        if std::env::var_os(CUBLAS_WORKSPACES).is_none() {
            std::env::set_var(CUBLAS_WORKSPACES, ":4096:8");
        }
        ffi::convoy_use_own_host_allocator();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn a_cpp_exception_becomes_an_error() {
        let t = Tensor::ones([2, 3], (Kind::Float, Device::Cpu));
        let wrong = Tensor::ones([4], (Kind::Float, Device::Cpu));
        let error = layer_norm_backward(&t, &t, &t, &t, &wrong, &wrong).unwrap_err();
        assert!(error.to_string().contains("shape"), "{error}");
    }
}
