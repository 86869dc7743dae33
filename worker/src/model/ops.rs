//! The operations that the layers are made of, in every precision and on every device.
//!
//! Weights and activations are of one kind, float32 (float64 in tests) or bfloat16; gradients of weights may be of a wider
//! one. On a CPU bfloat16 means that operands and results are rounded, and that everything in between is float32: matrix
//! products of bfloat16 are many times slower there, and it is for tests.

use tch::{Device, Kind, TchError, Tensor};

use crate::libtorch;

/// LayerNorm's epsilon in GPT-2.
const EPSILON: f64 = 1e-5;
/// GPT-2's GELU is the tanh approximation (Hendrycks and Gimpel, 2016).
const GELU: &str = "tanh";

/// Whether `x` is of the kind that a CPU only stores.
fn is_only_stored(x: &Tensor) -> bool {
    x.kind() == Kind::BFloat16 && x.device() == Device::Cpu
}

/// `x` as it can be computed with; on a CPU, float32 for bfloat16.
fn operand(x: &Tensor) -> Tensor {
    if is_only_stored(x) { x.to_kind(Kind::Float) } else { x.shallow_clone() }
}

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
    pub dy: Tensor,
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
        add_product(&self.dweight, &self.x.tr(), &self.dy, self.accumulate)?;
        let sum = self.dy.sum_dim_intlist(0, false, wide(&self.dy));
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

/// `x` [N, C] normalised, with its rows' means and inverse deviations, both [N, 1].
pub(super) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<(Tensor, Tensor, Tensor), TchError> {
    let c = *x.size().last().unwrap_or(&0);
    let (weight, bias) = (operand(weight), operand(bias));
    let (y, mean, rstd) = operand(x).f_native_layer_norm([c], Some(&weight), Some(&bias), EPSILON)?;
    Ok((y.to_kind(x.kind()), mean, rstd))
}

/// Gradients of a LayerNorm's input [N, C], weight [C] and bias [C], given that of its output, `dy` [N, C].
pub(super) fn layer_norm_backward(
    dy: &Tensor,
    x: &Tensor,
    (mean, rstd): (&Tensor, &Tensor),
    (weight, bias): (&Tensor, &Tensor),
) -> Result<(Tensor, Tensor, Tensor), TchError> {
    let (dx, dweight, dbias) =
        libtorch::layer_norm_backward(&operand(dy), &operand(x), mean, rstd, &operand(weight), &operand(bias))?;
    Ok((dx.to_kind(x.kind()), dweight, dbias))
}

/// GELU of `x`.
pub(super) fn gelu(x: &Tensor) -> Tensor {
    operand(x).gelu(GELU).to_kind(x.kind())
}

/// The gradient of GELU's input `x`, given that of its output.
pub(super) fn gelu_backward(x: &Tensor, dy: &Tensor) -> Tensor {
    operand(x).gelu_backward(&operand(dy), GELU).to_kind(x.kind())
}

/// What the forward of attention leaves for its backward.
pub(super) struct AttentionState {
    /// [B, H, T, D]
    pub out: Tensor,
    /// Log of each row's softmax denominator, [B, H, T].
    log_sum_exp: Tensor,
    /// State of the random numbers that CUDA's kernel could have drawn for dropout; none on a CPU.
    random: Option<[Tensor; 2]>,
}

/// Causal attention of `q`, `k` and `v` [B, H, T, D], by the fastest exact kernel of the device.
pub(super) fn attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<AttentionState, TchError> {
    if q.device().is_cuda() {
        let (out, log_sum_exp, random) = libtorch::flash_attention(q, k, v)?;
        return Ok(AttentionState { out, log_sum_exp, random: Some(random) });
    }
    let [qf, kf, vf] = [q, k, v].map(operand);
    let (out, log_sum_exp) =
        Tensor::f_internal_scaled_dot_product_flash_attention_for_cpu(&qf, &kf, &vf, 0.0, true, None::<Tensor>, None)?;
    Ok(AttentionState { out: out.to_kind(q.kind()), log_sum_exp, random: None })
}

/// The gradients of `q`, `k` and `v`, given that of the output, `dout`; all [B, H, T, D].
pub(super) fn attention_backward(
    dout: &Tensor,
    [q, k, v]: [&Tensor; 3],
    state: &AttentionState,
) -> Result<[Tensor; 3], TchError> {
    let AttentionState { out, log_sum_exp, random } = state;
    if let Some(random) = random {
        return libtorch::flash_attention_backward(dout, [q, k, v], out, log_sum_exp, random);
    }
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
