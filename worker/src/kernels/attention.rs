//! Causal self-attention (Vaswani et al., 2017), from queries, keys and values side by side to the results of all heads side by side.
//!
//! On a CPU the scores of a block of queries are computed at once against all keys that these may see, and stay in a core's own
//! cache; half of the products are never made. Backward makes the probabilities again, as FlashAttention does (Dao et al., 2022).

use tch::{Device, Kind, TchError, Tensor};

use super::columns::join;
use super::matrix::Matrix;
use super::threads::each_in_turn;
use super::{RowGradient, ffi, operand, suits_cpu_kernel};
use crate::libtorch::attention as libtorch;

/// What the rows of attention are: N = B T of them.
#[derive(Clone, Copy)]
pub struct Shape {
    /// B
    pub batch: i64,
    /// T
    pub sequence: i64,
    /// H
    pub heads: i64,
}

/// The result, and what backward needs of it.
pub enum Attended {
    /// By a kernel of libtorch on a GPU.
    Cuda(libtorch::Attended),
    /// By the kernel here.
    Cpu {
        /// [N, C]
        rows: Tensor,
        /// Log of each row's softmax denominator, float32, [B H, T].
        log_sum_exp: Tensor,
    },
    /// By libtorch on a CPU.
    Twin {
        /// [B, H, T, D]
        out: Tensor,
        /// Log of each row's softmax denominator, in the kernel's own shape.
        log_sum_exp: Tensor,
    },
}

impl Attended {
    /// [N, C]
    pub fn rows(&self) -> Tensor {
        match self {
            Attended::Cuda(attended) => merge_heads(&attended.out),
            Attended::Cpu { rows, .. } => rows.shallow_clone(),
            Attended::Twin { out, .. } => merge_heads(out),
        }
    }
}

/// Views of queries, keys and values [B, H, T, D] in `qkv` [N, 3C].
fn split_heads(qkv: &Tensor, shape: Shape) -> [Tensor; 3] {
    let parts = qkv.view([shape.batch, shape.sequence, 3, shape.heads, -1]).permute([2, 0, 3, 1, 4]); // [3, B, H, T, D]
    [0, 1, 2].map(|i| parts.select(0, i))
}

/// [B, H, T, D] to [N, C].
fn merge_heads(x: &Tensor) -> Tensor {
    let size = x.size();
    x.transpose(1, 2).reshape([size[0] * size[2], -1])
}

/// Attention between the rows of `qkv` [N, 3C].
pub fn attention(qkv: &Tensor, shape: Shape) -> Result<Attended, TchError> {
    if qkv.device().is_cuda() {
        let [q, k, v] = split_heads(qkv, shape);
        return Ok(Attended::Cuda(libtorch::attention(&q, &k, &v)?));
    }
    let wide = operand(qkv);
    if !suits_cpu_kernel(&wide) {
        return twin(qkv, shape);
    }
    let (rows, log_sum_exp) = on_cpu(&wide, shape);
    Ok(Attended::Cpu { rows: rows.to_kind(qkv.kind()), log_sum_exp })
}

/// The gradient of `qkv` [N, 3C], given that of the result, `dy` [N, C].
pub fn attention_backward(dy: Tensor, qkv: &Tensor, attended: Attended, shape: Shape) -> Result<RowGradient, TchError> {
    let d = match &attended {
        Attended::Cpu { rows, log_sum_exp } => {
            let [dy, wide, rows] = [&dy, qkv, rows].map(operand);
            return Ok(on_cpu_backward(&dy, &wide, &rows, log_sum_exp, shape).to_kind(qkv.kind()).into());
        }
        Attended::Cuda(attended) => {
            let [q, k, v] = split_heads(qkv, shape);
            libtorch::attention_backward(&heads_of(&dy, shape), [&q, &k, &v], attended)?
        }
        Attended::Twin { out, log_sum_exp } => twin_backward(&dy, qkv, out, log_sum_exp, shape)?,
    };
    drop((attended, dy));
    let [dq, dk, dv] = d.map(|d| merge_heads(&d)); // [N, C] each
    join([&dq, &dk, &dv])
}

/// [N, C] to a view [B, H, T, D].
fn heads_of(rows: &Tensor, shape: Shape) -> Tensor {
    rows.view([shape.batch, shape.sequence, shape.heads, -1]).transpose(1, 2)
}

/// The same by libtorch's operations on a CPU.
pub fn twin(qkv: &Tensor, shape: Shape) -> Result<Attended, TchError> {
    let [q, k, v] = split_heads(&operand(qkv), shape);
    let (out, log_sum_exp) =
        Tensor::f_internal_scaled_dot_product_flash_attention_for_cpu(&q, &k, &v, 0.0, true, None::<Tensor>, None)?;
    Ok(Attended::Twin { out: out.to_kind(qkv.kind()), log_sum_exp })
}

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

/// Queries whose scores are computed at once.
const BLOCK: usize = 64;

/// The result [N, C] and the logs of the softmax denominators [B H, T] of `qkv` [N, 3C].
fn on_cpu(qkv: &Tensor, shape: Shape) -> (Tensor, Tensor) {
    let Shape { batch, sequence, heads } = shape;
    let float = (Kind::Float, Device::Cpu);
    let out = Tensor::empty([qkv.size()[0], qkv.size()[1] / 3], float);
    let log_sum_exp = Tensor::empty([batch * heads, sequence], float);
    let places = [qkv, &out, &log_sum_exp].map(Matrix::of);
    each_in_turn((batch * heads) as usize, &|number| {
        let head = Head::new(number, shape);
        let [qkv, out, log_sum_exp] = places;
        // SAFETY: the tensors live until all tasks are done, and each writes what is its head's.
        unsafe { head.forward(head.thirds(&qkv), head.of(&out), log_sum_exp.row_mut(number)) }
    });
    (out, log_sum_exp)
}

/// The gradient of `qkv` [N, 3C], given that of the result, `dy` [N, C].
fn on_cpu_backward(dy: &Tensor, qkv: &Tensor, out: &Tensor, log_sum_exp: &Tensor, shape: Shape) -> Tensor {
    let dqkv = qkv.empty_like();
    let places = [dy, qkv, out, log_sum_exp, &dqkv].map(Matrix::of);
    each_in_turn((shape.batch * shape.heads) as usize, &|number| {
        let head = Head::new(number, shape);
        let [dy, qkv, out, log_sum_exp, dqkv] = places;
        let result = [head.of(&dy), head.of(&out)];
        // SAFETY: the tensors live until all tasks are done, and each writes what is its head's.
        unsafe { head.backward(result, head.thirds(&qkv), log_sum_exp.row(number), head.thirds(&dqkv)) }
    });
    dqkv
}

/// One head of one sequence.
struct Head {
    /// Its first row.
    top: usize,
    /// Its number among the heads.
    number: usize,
    /// T
    rows: usize,
    heads: usize,
}

impl Head {
    /// The `number`-th of [B H].
    fn new(number: usize, shape: Shape) -> Self {
        let (rows, heads) = (shape.sequence as usize, shape.heads as usize);
        Head { top: number / heads * rows, number: number % heads, rows, heads }
    }

    /// Its part [T, D] of [N, C].
    fn of(&self, rows: &Matrix<f32>) -> Matrix<f32> {
        let columns = rows.columns / self.heads;
        rows.part(self.top, self.number * columns, self.rows, columns)
    }

    /// Its part of each third of [N, 3C].
    fn thirds(&self, rows: &Matrix<f32>) -> [Matrix<f32>; 3] {
        let width = rows.columns / 3;
        [0, 1, 2].map(|third| self.of(&rows.part(0, third * width, rows.rows, width)))
    }

    /// Its blocks of queries, as the first and their number; the last, which see all keys, come first.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let rows = self.rows;
        (0..rows).step_by(BLOCK).rev().map(move |first| (first, BLOCK.min(rows - first)))
    }

    /// From queries, keys and values [T, D] to the result [T, D] and the logs of the softmax denominators [T].
    ///
    /// # Safety
    /// All are live, and nobody else writes to them or reads `out`.
    unsafe fn forward(&self, [q, k, v]: [Matrix<f32>; 3], out: Matrix<f32>, log_sum_exp: &mut [f32]) {
        let (depth, scale) = (q.columns, scale(q.columns));
        let (mut keys, mut scores) = (vec![0.0; depth * self.rows], vec![0.0; BLOCK * self.rows]);
        // SAFETY: as the caller says; and what is ours is apart from it.
        unsafe {
            let keys = k.transposed_into(&mut keys);
            for (first, rows) in self.blocks() {
                let seen = first + rows;
                let scores = Matrix::in_slice(&mut scores, rows, seen);
                scores.set_product(q.part(first, 0, rows, depth), keys.part(0, 0, depth, seen), scale, false);
                let mut sums = [0.0; BLOCK];
                let logs = log_sum_exp[first..seen].as_mut_ptr();
                ffi::convoy_cpu_causal_exp(scores.start, rows as i64, seen as i64, sums.as_mut_ptr(), logs);
                let out = out.part(first, 0, rows, depth);
                out.set_product(scores, v.part(0, 0, seen, depth), 1.0, false);
                for (row, sum) in sums[..rows].iter().enumerate() {
                    out.row_mut(row).iter_mut().for_each(|x| *x /= sum);
                }
            }
        }
    }

    /// The gradients of queries, keys and values, given that of the result, both [T, D].
    ///
    /// # Safety
    /// All are live, and nobody else writes to them or reads the gradients.
    unsafe fn backward(
        &self,
        [dy, out]: [Matrix<f32>; 2],
        [q, k, v]: [Matrix<f32>; 3],
        log_sum_exp: &[f32],
        [dq, dk, dv]: [Matrix<f32>; 3],
    ) {
        let (depth, scale) = (q.columns, scale(q.columns));
        let [mut keys, mut values] = [(); 2].map(|()| vec![0.0; depth * self.rows]);
        let [mut scores, mut dscores] = [(); 2].map(|()| vec![0.0; BLOCK * self.rows]);
        // SAFETY: as the caller says; and what is ours is apart from it.
        unsafe {
            let (keys, values) = (k.transposed_into(&mut keys), v.transposed_into(&mut values));
            for (first, rows) in self.blocks() {
                let seen = first + rows;
                // The last block reaches all keys and comes first: the others add.
                let add = seen < self.rows;
                let [q, dy, out] = [q, dy, out].map(|matrix| matrix.part(first, 0, rows, depth));
                let scores = Matrix::in_slice(&mut scores, rows, seen);
                let dscores = Matrix::in_slice(&mut dscores, rows, seen);
                scores.set_product(q, keys.part(0, 0, depth, seen), scale, false);
                dscores.set_product(dy, values.part(0, 0, depth, seen), 1.0, false);
                let sums: [f32; BLOCK] =
                    std::array::from_fn(|row| if row < rows { dot(dy.row(row), out.row(row)) } else { 0.0 });
                ffi::convoy_cpu_causal_softmax_backward(
                    scores.start,
                    dscores.start,
                    rows as i64,
                    seen as i64,
                    log_sum_exp[first..seen].as_ptr(),
                    sums.as_ptr(),
                );
                dv.part(0, 0, seen, depth).set_product(scores.transposed(), dy, 1.0, add);
                dk.part(0, 0, seen, depth).set_product(dscores.transposed(), q, scale, add);
                dq.part(first, 0, rows, depth).set_product(dscores, k.part(0, 0, seen, depth), scale, false);
            }
        }
    }
}

/// What scores of queries and keys of length `depth` are multiplied by.
fn scale(depth: usize) -> f32 {
    1.0 / (depth as f32).sqrt()
}

/// The sum of the products of two rows' elements.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B, T, H, D: one token, blocks with and without a rest, heads of the model's size and others.
    const SHAPES: [(i64, i64, i64, i64); 6] =
        [(1, 1, 1, 4), (2, 5, 3, 8), (1, 64, 2, 64), (2, 65, 2, 64), (1, 200, 1, 80), (3, 128, 4, 16)];

    #[test]
    fn the_kernel_is_its_twin() {
        tch::manual_seed(9);
        for (batch, sequence, heads, depth) in SHAPES {
            for spread in [1.0, 3.0] {
                let (rows, width) = (batch * sequence, heads * depth);
                let shape = Shape { batch, sequence, heads };
                let qkv = Tensor::randn([rows, 3 * width], (Kind::Float, Device::Cpu)) * spread;
                let dy = Tensor::randn([rows, width], (Kind::Float, Device::Cpu));
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
        for bad in [f64::NAN, f64::INFINITY] {
            let qkv = Tensor::ones([3, 12], (Kind::Float, Device::Cpu));
            let _ = qkv.narrow(0, 1, 1).fill_(bad);
            let finite = attention(&qkv, shape).unwrap().rows().isfinite();
            assert_eq!([1, 2].map(|row| finite.get(row).any().int64_value(&[])), [0, 0]);
        }
    }
}
