//! Attention's kernel for CPUs. The scores of a block of queries, against all keys that these may see, are computed
//! at once and used while they are in the cache. Most scores that no query may see are never computed. Backward
//! computes the probabilities again (Dao et al., 2022). A thread takes a head at a time, so at most as many threads
//! work as there are heads and sequences.

use tch::{Device, Kind, Tensor};

use super::shape::Shape;
use crate::kernels::cpu::functions;
use crate::kernels::cpu::matrix::Matrix;
use crate::kernels::cpu::threads::each_in_turn;

/// Number of queries whose scores are computed at once.
const BLOCK: usize = 64;

/// Returns the result `[N, C]` and the logs of the softmax denominators `[B H, T]` of `qkv [N, 3C]`.
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
        // SAFETY: the tensors live until all tasks are done, and each task writes only its own head's part.
        unsafe { head.forward(head.thirds(&qkv), head.of(&out), log_sum_exp.part(number, 0, 1, head.rows)) }
    });
    (out, log_sum_exp)
}

/// Returns the gradient of `qkv [N, 3C]`, given the gradient of the result, `dy [N, C]`.
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
        // SAFETY: the tensors live until all tasks are done, and each task writes only its own head's part.
        unsafe { head.backward(result, head.thirds(&qkv), log_sum_exp.row(number), head.thirds(&dqkv)) }
    });
    dqkv
}

/// One head of one sequence.
struct Head {
    /// First row.
    top: usize,
    /// Number among the heads.
    number: usize,
    /// T, the number of rows.
    rows: usize,
    /// H, the number of heads.
    heads: usize,
}

impl Head {
    /// Returns head `number` of all B H heads.
    fn new(number: usize, shape: Shape) -> Self {
        let (rows, heads) = (shape.sequence as usize, shape.heads as usize);
        Head { top: number / heads * rows, number: number % heads, rows, heads }
    }

    /// Returns this head's part `[T, D]` of `rows [N, C]`.
    fn of(&self, rows: &Matrix<f32>) -> Matrix<f32> {
        let columns = rows.columns / self.heads;
        rows.part(self.top, self.number * columns, self.rows, columns)
    }

    /// Returns this head's part of each third of `rows [N, 3C]`.
    fn thirds(&self, rows: &Matrix<f32>) -> [Matrix<f32>; 3] {
        let width = rows.columns / 3;
        [0, 1, 2].map(|third| self.of(&rows.part(0, third * width, rows.rows, width)))
    }

    /// Returns the blocks of queries, as their first query and their length, beginning with the last block, which
    /// sees all keys.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let rows = self.rows;
        (0..rows).step_by(BLOCK).rev().map(move |first| (first, BLOCK.min(rows - first)))
    }

    /// Computes the result `[T, D]` and the logs of the softmax denominators `[1, T]` from queries, keys and values
    /// `[T, D]`.
    ///
    /// # Safety
    /// All matrices are live, and nothing else writes to them or reads `out`.
    unsafe fn forward(&self, [q, k, v]: [Matrix<f32>; 3], out: Matrix<f32>, log_sum_exp: Matrix<f32>) {
        let (depth, scale) = (q.columns, scale(q.columns));
        let (mut keys, mut scores) = (vec![0.0; depth * self.rows], vec![0.0; BLOCK * self.rows]);
        // SAFETY: the caller's promise; memory of this function is apart from it.
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

    /// Computes the gradients of queries, keys and values, given the gradient of the result; all are `[T, D]`.
    ///
    /// # Safety
    /// All matrices are live, and nothing else writes to them or reads the gradients.
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
        // SAFETY: the caller's promise; memory of this function is apart from it.
        unsafe {
            let (keys, values) = (k.transposed_into(&mut keys), v.transposed_into(&mut values));
            for (first, rows) in self.blocks() {
                let seen = first + rows;
                // The last block reaches all keys and comes first: the others add to its result.
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

/// Returns the factor of the scores of queries and keys of length `depth`.
fn scale(depth: usize) -> f32 {
    1.0 / (depth as f32).sqrt()
}

/// Returns the dot product of two rows.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
