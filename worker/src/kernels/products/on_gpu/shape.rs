//! Properties by which cuBLASLt's products differ, and whether cuBLASLt takes them.

use std::ffi::c_int;

use tch::{Kind, Tensor};

use super::library::{BFLOAT16, FLOAT32, Layout};
use super::then::Then;

/// Least alignment of every pointer and row in bytes: with less, other kernels would run.
const ALIGNMENT_MIN: usize = 16;
/// Alignment from which more makes no difference.
const ALIGNMENT_MAX: usize = 256;

/// Properties by which products differ: each combination has a plan of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Layouts of A, B and D.
    pub layouts: [Layout; 3],
    pub is_transposed: [bool; 2],
    pub epilogue: c_int,
    pub accumulate: bool,
    pub alignment: usize,
}

/// Returns the column-major layout of an operand `[rows, columns]`, and whether that is of its transpose.
fn operand(tensor: &Tensor) -> Option<(Layout, bool)> {
    let (size, stride) = (tensor.size(), tensor.stride());
    let (&[rows, columns], &[down, across]) = (&size[..], &stride[..]) else { return None };
    let lies = |rows: i64, columns: i64, leading: i64| {
        let is_aligned = (leading as usize * size_of::<u16>()).is_multiple_of(ALIGNMENT_MIN);
        let suits = tensor.kind() == Kind::BFloat16 && is_aligned && rows > 0 && columns > 0 && leading >= rows;
        suits.then_some(Layout { kind: BFLOAT16, rows: rows as u64, columns: columns as u64, leading })
    };
    // A row-major matrix is, column-major, its transpose.
    match (down, across) {
        (_, 1) => Some((lies(columns, rows, down)?, false)),
        (1, _) => Some((lies(rows, columns, across)?, true)),
        _ => None,
    }
}

/// Returns the largest power of two, up to [`ALIGNMENT_MAX`], that all pointers are a multiple of.
fn alignment<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> usize {
    let bits = tensors.fold(ALIGNMENT_MAX, |bits, tensor| bits | tensor.data_ptr() as usize);
    1 << bits.trailing_zeros()
}

impl Shape {
    /// Returns the properties of a product; `None` if cuBLASLt does not take it.
    pub fn of(out: &Tensor, a: &Tensor, b: &Tensor, accumulate: bool, then: Then) -> Option<Self> {
        // Row-major, `out = A B` is, column-major, `out' = B' A'`.
        let ((first, first_is_transposed), (second, second_is_transposed)) = (operand(b)?, operand(a)?);
        let (m, n, k) = (a.size()[0], b.size()[1], a.size()[1]);
        let kind = match out.kind() {
            Kind::BFloat16 => BFLOAT16,
            Kind::Float => FLOAT32,
            _ => return None,
        };
        let is_like_out = |t: &Tensor| t.size() == [m, n] && t.is_contiguous() && t.kind() == Kind::BFloat16;
        let is_row = |t: &Tensor| t.size() == [n] && t.is_contiguous() && t.kind() == Kind::BFloat16;
        let fits = b.size()[0] == k && out.size() == [m, n] && out.is_contiguous();
        let fits = fits && then.row().is_none_or(is_row) && then.beside().is_none_or(is_like_out);
        // A row and a tensor beside the result must be of the result's kind.
        let fits = fits && (kind == BFLOAT16 || matches!(then, Then::Store));
        let all = || [out, a, b].into_iter().chain(then.row()).chain(then.beside());
        let fits = fits && all().all(|tensor| tensor.device() == out.device());
        let is_aligned = (n as usize * size_of::<u16>()).is_multiple_of(ALIGNMENT_MIN);
        let alignment = alignment(all());
        (fits && is_aligned && alignment >= ALIGNMENT_MIN).then_some(Shape {
            layouts: [first, second, Layout { kind, rows: n as u64, columns: m as u64, leading: n }],
            is_transposed: [first_is_transposed, second_is_transposed],
            epilogue: then.epilogue(),
            accumulate,
            alignment,
        })
    }
}
