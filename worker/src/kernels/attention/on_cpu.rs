//! Attention's kernel for CPUs: the scores of a block of queries, against all keys that these may see, are computed at once and
//! used while they are in the cache, and most of those that no query may see never are. Backward makes the probabilities again
//! (Dao et al., 2022). A thread takes a head at a time, so that as many work as there are heads and sequences.

use tch::{Device, Kind, Tensor};

use super::shape::Shape;
use crate::kernels::cpu::functions;
use crate::kernels::cpu::matrix::Matrix;
use crate::kernels::cpu::threads::each_in_turn;

/// Queries whose scores are computed at once.
const BLOCK: usize = 64;

/// The result `[N, C]` and the logs of the softmax denominators `[B H, T]` of `qkv [N, 3C]`.
pub fn forward(qkv: &Tensor, shape: Shape) -> (Tensor, Tensor) {
    let Shape { batch, sequence, heads } = shape;
    shape.assert_rows(qkv, 3);
    let float = (Kind::Float, Device::Cpu);
    let out = Tensor::empty([qkv.size()[0], qkv.size()[1] / 3], float);
    let log_sum_exp = Tensor::empty([batch * heads, sequence], float);
    let places = [qkv, &out, &log_sum_exp].map(Matrix::of);
    each_in_turn((batch * heads) as usize, &|number| {
        let head = Head::new(number, shape);
        let [qkv, out, log_sum_exp] = places;
        // SAFETY: the tensors live until all tasks are done, and each writes what is its head's.
        unsafe { head.forward(head.thirds(&qkv), head.of(&out), log_sum_exp.part(number, 0, 1, head.rows)) }
    });
    (out, log_sum_exp)
}

/// The gradient of `qkv [N, 3C]`, given that of the result, `dy [N, C]`.
pub fn backward(dy: &Tensor, qkv: &Tensor, out: &Tensor, log_sum_exp: &Tensor, shape: Shape) -> Tensor {
    shape.assert_rows(qkv, 3);
    [dy, out].into_iter().for_each(|rows| shape.assert_rows(rows, 1));
    assert!(dy.size() == out.size() && qkv.size()[1] == 3 * dy.size()[1], "shapes do not fit");
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
    /// H
    heads: usize,
}

impl Head {
    /// The `number`-th of [B H].
    fn new(number: usize, shape: Shape) -> Self {
        let (rows, heads) = (shape.sequence as usize, shape.heads as usize);
        Head { top: number / heads * rows, number: number % heads, rows, heads }
    }

    /// Its part `[T, D]` of `[N, C]`.
    fn of(&self, rows: &Matrix<f32>) -> Matrix<f32> {
        let columns = rows.columns / self.heads;
        rows.part(self.top, self.number * columns, self.rows, columns)
    }

    /// Its part of each third of `[N, 3C]`.
    fn thirds(&self, rows: &Matrix<f32>) -> [Matrix<f32>; 3] {
        let width = rows.columns / 3;
        [0, 1, 2].map(|third| self.of(&rows.part(0, third * width, rows.rows, width)))
    }

    /// Its blocks of queries, as the first and their number; the last, which see all keys, come first.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let rows = self.rows;
        (0..rows).step_by(BLOCK).rev().map(move |first| (first, BLOCK.min(rows - first)))
    }

    /// From queries, keys and values `[T, D]` to the result `[T, D]` and the logs of the softmax denominators `[1, T]`.
    ///
    /// # Safety
    /// All are live, and nobody else writes to them or reads `out`.
    unsafe fn forward(&self, [q, k, v]: [Matrix<f32>; 3], out: Matrix<f32>, log_sum_exp: Matrix<f32>) {
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
                let logs = log_sum_exp.part(0, first, 1, rows).start;
                functions::convoy_cpu_causal_exp(scores.start, rows as i64, seen as i64, sums.as_mut_ptr(), logs);
                let out = out.part(first, 0, rows, depth);
                out.set_product(scores, v.part(0, 0, seen, depth), 1.0, false);
                out.scale_rows(&sums.map(|sum: f32| 1.0 / sum)[..rows]);
            }
        }
    }

    /// The gradients of queries, keys and values, given that of the result, both `[T, D]`.
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
                functions::convoy_cpu_causal_softmax_backward(
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
