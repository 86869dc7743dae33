//! Causal attention on CUDA, by the fastest exact kernel that libtorch has for the tensors: cuDNN's or FlashAttention
//! for bfloat16, a memory-efficient one for float32. With [`set_deterministic`](super::set_deterministic), only
//! kernels with a fixed order of summation are used.

use std::ffi::{c_char, c_int};
use std::ptr;

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use super::check;

/// Result of the forward pass, with the values that backward needs.
pub struct Attended {
    /// Result, `[B, H, T, D]`.
    pub out: Tensor,
    /// Log of each row's softmax denominator, in the kernel's own shape.
    log_sum_exp: Tensor,
    /// State of the random numbers that the kernel could have drawn for dropout.
    random: [Tensor; 2],
    /// The kernel that ran, by the shim's number.
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

/// Computes attention of `q`, `k` and `v [B, H, T, D]`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Attended, TchError> {
    let (mut out, mut kernel) = ([ptr::null_mut(); 4], 0);
    // SAFETY: every pointer is a live at::Tensor; the shim writes all outputs or returns a message.
    check(unsafe { ffi::convoy_attention(q.as_ptr(), k.as_ptr(), v.as_ptr(), out.as_mut_ptr(), &mut kernel) })?;
    // SAFETY: the shim allocated each with `new at::Tensor`, which is what Tensor's drop deletes.
    let [out, log_sum_exp, seed, offset] = out.map(|tensor| unsafe { Tensor::from_ptr(tensor) });
    Ok(Attended { out, log_sum_exp, random: [seed, offset], kernel })
}

/// Returns the gradients of [`attention`]'s `q`, `k` and `v`, given the gradient of the result.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::places::{assert_close, places};
    use crate::libtorch::random::Random;
    use tch::{Device, Kind};

    /// Returns the result and the gradients by plain operations in float32.
    fn plain([q, k, v]: [&Tensor; 3], dout: &Tensor) -> [Tensor; 4] {
        let [q, k, v] = [q, k, v].map(|x| x.to_kind(Kind::Float).detach().set_requires_grad(true));
        let (t, d) = (q.size()[2], q.size()[3]);
        let hidden = Tensor::ones([t, t], (Kind::Bool, q.device())).triu(1);
        let scores = q.matmul(&k.transpose(-1, -2)) / (d as f64).sqrt();
        let out = scores.masked_fill(&hidden, f64::NEG_INFINITY).softmax(-1, Kind::Float).matmul(&v);
        let summed = (&out * dout.to_kind(Kind::Float)).sum(Kind::Float);
        let d = Tensor::run_backward(&[summed], &[&q, &k, &v], false, false);
        let [dq, dk, dv] = <[Tensor; 3]>::try_from(d).unwrap();
        [out.detach(), dq, dk, dv]
    }

    /// Runs cuDNN's kernel, FlashAttention and the memory-efficient one, by length and kind.
    #[test]
    fn the_kernels_agree_with_plain_softmax() {
        if !places().iter().any(|(_, device)| device.is_cuda()) {
            return println!("skipped: no GPU here; scripts/gpu_check.sh runs it where there is one");
        }
        for (t, kind, error) in [(256, Kind::BFloat16, 2e-2), (100, Kind::BFloat16, 2e-2), (100, Kind::Float, 1e-4)] {
            let random = Random::seeded(t as u64);
            let draw = || {
                let x = random.normal(&[2, t, 3, 64], (Kind::Float, Device::Cuda(0))).to_kind(kind);
                x.transpose(1, 2) // [B, H, T, D]
            };
            let [q, k, v, dout] = std::array::from_fn(|_| draw());
            let attended = attention(&q, &k, &v).unwrap();
            let gradients = attention_backward(&dout, [&q, &k, &v], &attended).unwrap();
            let [out, expected @ ..] = plain([&q, &k, &v], &dout);
            assert_close(&attended.out, &out, error);
            for (gradient, expected) in gradients.iter().zip(&expected) {
                assert_close(gradient, expected, error);
            }
        }
    }
}
