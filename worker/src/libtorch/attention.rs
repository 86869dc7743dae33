//! Causal attention on CUDA, by the fastest exact kernel that libtorch has for the tensors: cuDNN's or FlashAttention for bfloat16,
//! a memory-efficient one for float32. With [`set_deterministic`](super::set_deterministic) none of them whose order varies.

use std::ffi::{c_char, c_int};
use std::ptr;

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use super::check;

/// What the forward pass leaves for backward.
pub struct Attended {
    /// [B, H, T, D]
    pub out: Tensor,
    /// Log of each row's softmax denominator, in the kernel's own shape.
    log_sum_exp: Tensor,
    /// State of the random numbers that the kernel could have drawn for dropout.
    random: [Tensor; 2],
    /// Which kernel it was, by the shim's number.
    kernel: c_int,
}

#[allow(non_camel_case_types, reason = "the C side's names")]
mod ffi {
    use super::{C_tensor, c_char, c_int};

    unsafe extern "C" {
        pub fn convoy_attention(
            q: *const C_tensor,
            k: *const C_tensor,
            v: *const C_tensor,
            out: *mut *mut C_tensor,
            kernel: *mut c_int,
        ) -> *mut c_char;
        pub fn convoy_attention_backward(
            kernel: c_int,
            dout: *const C_tensor,
            q: *const C_tensor,
            k: *const C_tensor,
            v: *const C_tensor,
            attended: *const C_tensor,
            log_sum_exp: *const C_tensor,
            seed: *const C_tensor,
            offset: *const C_tensor,
            out: *mut *mut C_tensor,
        ) -> *mut c_char;
    }
}

/// Attention of `q`, `k` and `v` [B, H, T, D].
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Attended, TchError> {
    let (mut out, mut kernel) = ([ptr::null_mut(); 4], 0);
    // SAFETY: every pointer is a live at::Tensor; the shim writes all outputs or returns a message.
    check(unsafe { ffi::convoy_attention(q.as_ptr(), k.as_ptr(), v.as_ptr(), out.as_mut_ptr(), &mut kernel) })?;
    // SAFETY: the shim allocated each with `new at::Tensor`, which is what Tensor's drop deletes.
    let [out, log_sum_exp, seed, offset] = out.map(|tensor| unsafe { Tensor::from_ptr(tensor) });
    Ok(Attended { out, log_sum_exp, random: [seed, offset], kernel })
}

/// The gradients of [`attention`]'s `q`, `k` and `v`, given that of the result.
pub fn attention_backward(
    dout: &Tensor,
    [q, k, v]: [&Tensor; 3],
    attended: &Attended,
) -> Result<[Tensor; 3], TchError> {
    let Attended { out: result, log_sum_exp, random: [seed, offset], kernel } = attended;
    let mut out = [ptr::null_mut(); 3];
    // SAFETY: every pointer is a live at::Tensor; the shim writes all three outputs or returns a message.
    check(unsafe {
        ffi::convoy_attention_backward(
            *kernel,
            dout.as_ptr(),
            q.as_ptr(),
            k.as_ptr(),
            v.as_ptr(),
            result.as_ptr(),
            log_sum_exp.as_ptr(),
            seed.as_ptr(),
            offset.as_ptr(),
            out.as_mut_ptr(),
        )
    })?;
    // SAFETY: the shim allocated each with `new at::Tensor`, which is what Tensor's drop deletes.
    Ok(out.map(|tensor| unsafe { Tensor::from_ptr(tensor) }))
}
