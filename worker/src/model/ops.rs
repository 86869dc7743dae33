//! Operations that the layers are made of, in every precision and on every device; [`crate::kernels`] has those that are kernels of
//! Convoy's own somewhere.
//!
//! Weights and activations are of one kind, float32 (float64 in tests) or bfloat16; gradients of weights may be of a wider
//! one. On a CPU bfloat16 means that operands and results are rounded, and that everything in between is float32: matrix
//! products of bfloat16 are many times slower there, and it is for tests.

use tch::{Kind, TchError, Tensor};

use crate::kernels::columns::GELU;
use crate::kernels::{RowGradient, is_only_stored, operand};
use crate::libtorch::{self, attention::Attended};

/// `x` [N, in] times `weight` [in, out] plus `bias` [out].
pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    operand(bias).addmm(&operand(x), &operand(weight)).to_kind(x.kind())
}

/// The gradient of a linear layer's input [N, in], given that of its output, `dy` [N, out].
pub(super) fn linear_input_gradient(dy: &Tensor, weight: &Tensor) -> Tensor {
    operand(dy).mm(&operand(weight).tr()).to_kind(dy.kind())
}

/// `x` [N, in] times the transpose of `weight` [out, in].
pub(super) fn product_with_transpose(x: &Tensor, weight: &Tensor) -> Tensor {
    operand(x).mm(&operand(weight).tr()).to_kind(x.kind())
}

/// The weight gradients of one linear layer, once its part of backward is known.
pub(super) struct WeightGradient {
    /// The layer's input, [N, in].
    pub x: Tensor,
    /// The gradient of its output, [N, out].
    pub dy: RowGradient,
    /// Where the weight's gradient [in, out] goes.
    pub dweight: Tensor,
    /// Where the bias's gradient [out] goes.
    pub dbias: Tensor,
    /// Whether they are added to what is there.
    pub accumulate: bool,
}

impl WeightGradient {
    /// Computes both.
    pub fn compute(self) -> Result<(), TchError> {
        let RowGradient { rows, sum } = &self.dy;
        add_product(&self.dweight, &self.x.tr(), rows, self.accumulate)?;
        let sum = sum.as_ref().map_or_else(|| rows.sum_dim_intlist(0, false, wide(rows)), Tensor::shallow_clone);
        add(&self.dbias, &sum, self.accumulate);
        Ok(())
    }
}

/// The kind that a reduction of `x` is done in.
fn wide(x: &Tensor) -> Kind {
    if x.kind() == Kind::BFloat16 { Kind::Float } else { x.kind() }
}

/// `out` becomes `a` times `b`, with what it was added if `accumulate`; `out` may be of a wider kind.
pub(super) fn add_product(out: &Tensor, a: &Tensor, b: &Tensor, accumulate: bool) -> Result<(), TchError> {
    let (a, b) = (operand(a), operand(b));
    match is_only_stored(out) {
        true => add(out, &a.mm(&b), accumulate),
        false => libtorch::add_product(out, &a, &b, accumulate)?,
    }
    Ok(())
}

/// `out` becomes `x`, with what it was added if `accumulate`.
pub(super) fn add(out: &Tensor, x: &Tensor, accumulate: bool) {
    let mut out = out.shallow_clone();
    match accumulate {
        true => _ = out.g_add_(&x.to_kind(out.kind())),
        false => out.copy_(x),
    }
}

/// GELU of `x`.
pub(super) fn gelu(x: &Tensor) -> Tensor {
    operand(x).gelu(GELU).to_kind(x.kind())
}

/// What the forward of attention leaves for its backward.
pub(super) enum AttentionState {
    /// On a GPU.
    Cuda(Attended),
    /// On a CPU.
    Cpu {
        /// [B, H, T, D]
        out: Tensor,
        /// Log of each row's softmax denominator, [B, H, T].
        log_sum_exp: Tensor,
    },
}

impl AttentionState {
    /// The result, [B, H, T, D].
    pub fn out(&self) -> &Tensor {
        match self {
            AttentionState::Cuda(attended) => &attended.out,
            AttentionState::Cpu { out, .. } => out,
        }
    }
}

/// Causal attention of `q`, `k` and `v` [B, H, T, D], by the fastest exact kernel of the device.
pub(super) fn attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<AttentionState, TchError> {
    if q.device().is_cuda() {
        return Ok(AttentionState::Cuda(libtorch::attention::attention(q, k, v)?));
    }
    let [qf, kf, vf] = [q, k, v].map(operand);
    let (out, log_sum_exp) =
        Tensor::f_internal_scaled_dot_product_flash_attention_for_cpu(&qf, &kf, &vf, 0.0, true, None::<Tensor>, None)?;
    Ok(AttentionState::Cpu { out: out.to_kind(q.kind()), log_sum_exp })
}

/// The gradients of `q`, `k` and `v`, given that of the output, `dout`; all [B, H, T, D].
pub(super) fn attention_backward(
    dout: &Tensor,
    [q, k, v]: [&Tensor; 3],
    state: &AttentionState,
) -> Result<[Tensor; 3], TchError> {
    let (out, log_sum_exp) = match state {
        AttentionState::Cuda(attended) => return libtorch::attention::attention_backward(dout, [q, k, v], attended),
        AttentionState::Cpu { out, log_sum_exp } => (out, log_sum_exp),
    };
    let [dout, qf, kf, vf, out] = [dout, q, k, v, out].map(operand);
    let (dq, dk, dv) = Tensor::f_internal_scaled_dot_product_flash_attention_for_cpu_backward(
        &dout,
        &qf,
        &kf,
        &vf,
        &out,
        log_sum_exp,
        0.0,
        true,
        None::<Tensor>,
        None,
    )?;
    Ok([dq, dk, dv].map(|d| d.to_kind(q.kind())))
}
