//! Causal self-attention (Vaswani et al., 2017), from adjacent queries, keys and values to the adjacent results of
//! the heads: by libtorch's kernels on a GPU, and by `on_cpu` on a CPU.
//!
//! For each head, with queries, keys and values `[T, D]`:
//!
//! ```text
//! out = softmax over the keys up to the query's own of (Q K^T / sqrt(D)), times V
//! ```

mod on_cpu;
mod shape;

use tch::{TchError, Tensor};

use super::columns::join;
use super::cpu::{matrix, suits_cpu_kernel};
use super::operand::operand;
use super::row_gradient::RowGradient;
use crate::libtorch::attention as on_gpu;
pub use shape::Shape;

/// Result of attention, with the values that backward needs.
pub enum Attended {
    /// Computed by a kernel of libtorch on a GPU.
    Gpu(on_gpu::Attended),
    /// Computed by the kernel for CPUs.
    Cpu {
        /// Result, `[N, C]`.
        rows: Tensor,
        /// Log of each row's softmax denominator, float32, `[B H, T]`.
        log_sum_exp: Tensor,
    },
    /// Computed by libtorch on a CPU.
    Twin {
        /// Result, `[B, H, T, D]`.
        out: Tensor,
        /// Log of each row's softmax denominator, in the kernel's own shape.
        log_sum_exp: Tensor,
    },
}

impl Attended {
    /// Returns the result, `[N, C]`.
    pub fn rows(&self) -> Tensor {
        match self {
            Attended::Gpu(attended) => merge_heads(&attended.out),
            Attended::Cpu { rows, .. } => rows.shallow_clone(),
            Attended::Twin { out, .. } => merge_heads(out),
        }
    }
}

/// Returns views of queries, keys and values `[B, H, T, D]` in `qkv [N, 3C]`.
fn split_heads(qkv: &Tensor, shape: Shape) -> [Tensor; 3] {
    let parts = qkv.view([shape.batch, shape.sequence, 3, shape.heads, -1]).permute([2, 0, 3, 1, 4]); // [3, B, H, T, D]
    [0, 1, 2].map(|i| parts.select(0, i))
}

/// Turns `[B, H, T, D]` into `[N, C]`.
fn merge_heads(x: &Tensor) -> Tensor {
    let size = x.size();
    x.transpose(1, 2).reshape([size[0] * size[2], -1])
}

/// Computes attention between the rows of `qkv [N, 3C]`.
pub fn attention(qkv: &Tensor, shape: Shape) -> Result<Attended, TchError> {
    if qkv.device().is_cuda() {
        let [q, k, v] = split_heads(qkv, shape);
        return Ok(Attended::Gpu(on_gpu::attention(&q, &k, &v)?));
    }
    let wide = operand(qkv);
    if !suits_cpu_kernel(&wide) || !matrix::can_multiply() {
        return twin(qkv, shape);
    }
    let (rows, log_sum_exp) = on_cpu::forward(&wide, shape);
    Ok(Attended::Cpu { rows: rows.to_kind(qkv.kind()), log_sum_exp })
}

/// Returns the gradient of `qkv [N, 3C]`, given the gradient of the result, `dy [N, C]`.
pub fn attention_backward(dy: Tensor, qkv: &Tensor, attended: Attended, shape: Shape) -> Result<RowGradient, TchError> {
    let d = match &attended {
        Attended::Cpu { rows, log_sum_exp } => {
            let [dy, wide, rows] = [&dy, qkv, rows].map(operand);
            return Ok(on_cpu::backward(&dy, &wide, &rows, log_sum_exp, shape).to_kind(qkv.kind()).into());
        }
        Attended::Gpu(attended) => {
            let [q, k, v] = split_heads(qkv, shape);
            on_gpu::attention_backward(&heads_of(&dy, shape), [&q, &k, &v], attended)?
        }
        Attended::Twin { out, log_sum_exp } => twin_backward(&dy, qkv, out, log_sum_exp, shape)?,
    };
    drop((attended, dy));
    let [dq, dk, dv] = d.map(|d| merge_heads(&d)); // [N, C] each
    join([&dq, &dk, &dv])
}

/// Returns a view `[B, H, T, D]` of `rows [N, C]`.
fn heads_of(rows: &Tensor, shape: Shape) -> Tensor {
    rows.view([shape.batch, shape.sequence, shape.heads, -1]).transpose(1, 2)
}

/// [`attention`] by libtorch's operation on a CPU.
fn twin(qkv: &Tensor, shape: Shape) -> Result<Attended, TchError> {
    let [q, k, v] = split_heads(&operand(qkv), shape);
    let (out, log_sum_exp) =
        Tensor::f_internal_scaled_dot_product_flash_attention_for_cpu(&q, &k, &v, 0.0, true, None::<Tensor>, None)?;
    Ok(Attended::Twin { out: out.to_kind(qkv.kind()), log_sum_exp })
}

/// Returns the gradients of queries, keys and values, `[B, H, T, D]` each, given the gradient of [`twin`]'s result,
/// `dy [N, C]`.
fn twin_backward(
    dy: &Tensor,
    qkv: &Tensor,
    out: &Tensor,
    log_sum_exp: &Tensor,
    shape: Shape,
) -> Result<[Tensor; 3], TchError> {
    let [q, k, v] = split_heads(&operand(qkv), shape);
    let (dq, dk, dv) = Tensor::f_internal_scaled_dot_product_flash_attention_for_cpu_backward(
        &heads_of(&operand(dy), shape),
        &q,
        &k,
        &v,
        &operand(out),
        log_sum_exp,
        0.0,
        true,
        None::<Tensor>,
        None,
    )?;
    Ok([dq, dk, dv].map(|d| d.to_kind(qkv.kind())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libtorch::random::Random;
    use tch::{Device, Kind};

    /// B, T, H, D: one token, blocks with and without a remainder, heads of the model's size and others.
    const SHAPES: [(i64, i64, i64, i64); 6] =
        [(1, 1, 1, 4), (2, 5, 3, 8), (1, 64, 2, 64), (2, 65, 2, 64), (1, 200, 1, 80), (3, 128, 4, 16)];

    #[test]
    fn the_kernel_is_its_twin() {
        if !matrix::can_multiply() {
            return println!("skipped: on this processor there is the twin alone");
        }
        let random = Random::seeded(9);
        for (batch, sequence, heads, depth) in SHAPES {
            for spread in [1.0, 3.0] {
                let (rows, width) = (batch * sequence, heads * depth);
                let shape = Shape { batch, sequence, heads };
                let qkv = random.normal(&[rows, 3 * width], (Kind::Float, Device::Cpu)) * spread;
                let dy = random.normal(&[rows, width], (Kind::Float, Device::Cpu));
                let [ours, twins] = [&qkv, &qkv.to_kind(Kind::Double)].map(|qkv| {
                    let attended = attention(qkv, shape).unwrap();
                    assert_eq!(matches!(attended, Attended::Cpu { .. }), qkv.kind() == Kind::Float);
                    let result = attended.rows();
                    [result, attention_backward(dy.to_kind(qkv.kind()), qkv, attended, shape).unwrap().rows]
                });
                for (ours, twin) in ours.iter().zip(&twins) {
                    let error = (ours.to_kind(Kind::Double) - twin).abs().max().double_value(&[]);
                    let most = 1e-5 * twin.abs().max().double_value(&[]);
                    assert!(error < most, "{batch} x {sequence} x {heads} x {depth}, spread {spread}: {error:e}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let shape = Shape { batch: 1, sequence: 3, heads: 1 };
        let float = (Kind::Float, Device::Cpu);
        for bad in [f64::NAN, f64::INFINITY] {
            // One element each of a query, a key and a value.
            for column in [1, 5, 9] {
                let qkv = Tensor::ones([3, 12], float);
                let _ = qkv.narrow(0, 1, 1).narrow(1, column, 1).fill_(bad);
                let attended = attention(&qkv, shape).unwrap();
                assert!(!is_finite(&attended.rows()), "{bad} in column {column}");
                let dqkv = attention_backward(Tensor::ones([3, 4], float), &qkv, attended, shape).unwrap().rows;
                assert!(!is_finite(&dqkv), "{bad} in column {column}");
            }
            let (qkv, dy) = (Tensor::ones([3, 12], float), Tensor::ones([3, 4], float));
            let _ = dy.narrow(0, 2, 1).fill_(bad);
            let attended = attention(&qkv, shape).unwrap();
            assert!(!is_finite(&attention_backward(dy, &qkv, attended, shape).unwrap().rows));
        }
    }

    fn is_finite(x: &Tensor) -> bool {
        x.isfinite().all().int64_value(&[]) == 1
    }
}
