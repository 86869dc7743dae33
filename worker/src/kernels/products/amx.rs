//! Products of float32 by the matrix units of Intel's processors (AMX), each number as three of bfloat16: see
//! `libtorch/amx_products.cpp`. Tests hold the mean error to 1.5 times that of float32's
//! products (0.4 to 0.94 when it was measured); the units' peak is, in these terms, 2.4 times AVX-512's.
//!
//! All threads pack both operands, then compute the result in tiles: a slab of it at a time, so that what is packed takes no more than
//! 20 MB.

use std::sync::OnceLock;

use tch::{Device, Kind, Tensor};

use super::tiles::{UNIT, each_tile, even_part};
use crate::kernels::ffi;
use crate::kernels::matrix::Matrix;
use crate::kernels::threads::each_in_turn;

/// Rows and columns of a panel, and terms of a step.
const PANEL: usize = 32;
const _: () = assert!(UNIT.is_multiple_of(PANEL), "a tile would begin inside a panel");
/// Words of 16 bits that a step of a panel takes: three for each number.
const STEP_WORDS: usize = 3 * PANEL * PANEL;
/// Terms of a slab, at most: the panels of a tile's columns then take a bit more than a MiB of a core's cache.
const DEPTH: usize = 768;
/// Rows and columns of a slab, at most.
const SIDE: usize = 2048;
/// Rows and columns of a tile, at most.
pub const BLOCK: (usize, usize) = (512, 256);
/// Rows and columns from which on it pays to pack.
const LEAST_SIDE: usize = 96;

/// Whether `out` [M, N] is best computed from `a` [M, K] and `b` [K, N] here.
pub fn suits(out: &Matrix<f32>, a: &Matrix<f32>, b: &Matrix<f32>) -> bool {
    let follow = |matrix: &Matrix<f32>| matrix.row_stride == 1 || matrix.column_stride == 1;
    let is_large = out.rows.min(out.columns) >= LEAST_SIDE && a.columns >= PANEL;
    is_large && out.column_stride == 1 && follow(a) && follow(b) && is_there()
}

/// Whether the processor has such units, and the system lets this process use them.
pub fn is_there() -> bool {
    static IS_THERE: OnceLock<bool> = OnceLock::new();
    // SAFETY: asks the processor and the system.
    *IS_THERE.get_or_init(|| unsafe { ffi::convoy_cpu_amx_prepare() })
}

/// `out` [M, N], whose rows have no gaps, becomes `a` [M, K] times `b` [K, N], with what it was added if `add`.
///
/// # Safety
/// It [`suits`]; the three are in live memory, `out` apart from the others, and nobody else writes to them or reads `out`.
pub unsafe fn multiply(out: Matrix<f32>, a: Matrix<f32>, b: Matrix<f32>, add: bool) {
    assert!((a.rows, a.columns, b.columns) == (out.rows, b.rows, out.columns), "shapes do not fit");
    assert!(out.column_stride == 1, "a result with gaps");
    let [depth, rows, columns] =
        [(a.columns, DEPTH), (out.rows, SIDE), (out.columns, SIDE)].map(|(all, most)| even_part(all, most));
    let [packed_a, packed_b] = [rows, columns].map(|lanes| Packed::with_room(lanes, depth));
    for first in (0..a.columns).step_by(depth) {
        let terms = depth.min(a.columns - first);
        for top in (0..out.rows).step_by(rows) {
            let rows = rows.min(out.rows - top);
            let left_operand = (&packed_a, a.part(top, first, rows, terms).transposed(), false);
            for left in (0..out.columns).step_by(columns) {
                let width = columns.min(out.columns - left);
                let right_operand = (&packed_b, b.part(first, left, terms, width), true);
                // The left one once for all slabs beside it. The right one, where one slab spans all columns, is there still.
                let is_new = [left == 0, top == 0 || width < out.columns];
                // SAFETY: as the caller says.
                unsafe {
                    match is_new {
                        [true, true] => pack([left_operand, right_operand]),
                        [true, false] => pack([left_operand]),
                        [false, _] => pack([right_operand]),
                    }
                    multiply_packed(out.part(top, left, rows, width), &packed_a, &packed_b, terms, add || first > 0);
                }
            }
        }
    }
}

/// Memory for the packed panels of an operand.
struct Packed(Tensor);

impl Packed {
    /// For `lanes` rows or columns of `terms` terms.
    fn with_room(lanes: usize, terms: usize) -> Self {
        let words = lanes.div_ceil(PANEL) * words_of_panel(terms);
        Packed(Tensor::empty([words as i64], (Kind::Half, Device::Cpu)))
    }

    fn start(&self) -> Start {
        Start(self.0.data_ptr().cast())
    }
}

/// Packs one or two operands, each of a row for each term: the right one of a product, or the left one, transposed (`false`).
///
/// # Safety
/// There is room for them; they are in live memory, and nobody writes there.
unsafe fn pack<const N: usize>(operands: [(&Packed, Matrix<f32>, bool); N]) {
    const { assert!(N == 1 || N == 2) };
    let operands = operands.map(|(packed, operand, is_right)| (packed.start(), operand, is_right));
    let panels = operands.map(|(_, operand, _)| operand.columns.div_ceil(PANEL));
    each_in_turn(panels.iter().sum(), &|number| {
        let (which, panel) = if number < panels[0] { (0, number) } else { (N - 1, number - panels[0]) };
        let (to, operand, is_right) = operands[which];
        let Matrix { rows: terms, columns: lanes, .. } = operand;
        let lane = panel * PANEL;
        let from = operand.part(0, lane, terms, PANEL.min(lanes - lane));
        // SAFETY: a panel of its own, of memory that the caller vouches for.
        unsafe {
            ffi::convoy_cpu_amx_pack(
                to.panel(panel, terms),
                from.start,
                from.column_stride as i64,
                from.row_stride as i64,
                from.columns as i64,
                terms as i64,
                is_right,
            );
        }
    });
}

/// Words of a panel of `terms` terms.
fn words_of_panel(terms: usize) -> usize {
    terms.div_ceil(PANEL) * STEP_WORDS
}

/// Where packed operands begin.
#[derive(Clone, Copy)]
struct Start(*mut u16);

// SAFETY: threads write to panels of their own, and read when all have been written.
unsafe impl Sync for Start {}

impl Start {
    /// Where panel `number` is, all of `terms` terms.
    fn panel(&self, number: usize, terms: usize) -> *mut u16 {
        self.0.wrapping_add(number * words_of_panel(terms))
    }
}

/// `out` becomes the product of packed operands of `terms` terms, with what it was added if `add`.
///
/// # Safety
/// They have a lane for each of its rows and columns; it is live, and nobody else's.
unsafe fn multiply_packed(out: Matrix<f32>, a: &Packed, b: &Packed, terms: usize, add: bool) {
    let [a, b] = [a, b].map(Packed::start);
    each_tile(out.rows, out.columns, BLOCK, |[top, left], [rows, columns]| {
        let out = out.part(top, left, rows, columns);
        // SAFETY: a part of the result that no other task reads or writes; the operands have been packed.
        unsafe {
            ffi::convoy_cpu_amx_multiply(
                out.start,
                out.row_stride as i64,
                out.rows as i64,
                out.columns as i64,
                a.panel(top / PANEL, terms),
                b.panel(left / PANEL, terms),
                terms.div_ceil(PANEL) as i64,
                add,
            );
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::products::tests::draw;

    /// The product, onto `onto` if there is such; None, and why, where there are no units.
    fn product(a: &Tensor, b: &Tensor, onto: Option<&Tensor>) -> Option<Tensor> {
        let float = (Kind::Float, Device::Cpu);
        let out = onto.map_or_else(|| Tensor::full([a.size()[0], b.size()[1]], f64::NAN, float), Tensor::copy);
        let [place, left, right] = [&out, a, b].map(Matrix::of);
        if !suits(&place, &left, &right) {
            assert!(!is_there(), "nothing else could be wrong with these");
            println!("skipped: this processor has no matrix units, or the system keeps them to itself");
            return None;
        }
        // SAFETY: tensors that nobody else uses.
        unsafe { multiply(place, left, right, onto.is_some()) };
        Some(out)
    }

    /// The largest and the mean error against the product in float64.
    fn errors(out: &Tensor, a: &Tensor, b: &Tensor) -> [f64; 2] {
        let error = (out.to_kind(Kind::Double) - a.to_kind(Kind::Double).mm(&b.to_kind(Kind::Double))).abs();
        [error.max(), error.mean(Kind::Double)].map(|error| error.double_value(&[]))
    }

    #[test]
    fn as_exact_as_float32() {
        tch::manual_seed(3);
        // Whole panels and rests, one slab and several of rows, terms and columns.
        for (m, k, n) in [(96, 32, 96), (97, 33, 127), (256, 768, 768), (130, 2000, 2100), (2100, 100, 100)] {
            for turned in [0, 1, 2, 3] {
                let (a, b) = (draw(m, k, turned & 1 > 0, Kind::Float), draw(k, n, turned & 2 > 0, Kind::Float));
                let Some(out) = product(&a, &b, None) else { return };
                let (ours, float32) = (errors(&out, &a, &b), errors(&a.mm(&b), &a, &b));
                println!("{m} x {k} x {n}, {turned}: {ours:?}, float32 {float32:?}");
                assert!(
                    ours[0] <= 4.0 * float32[0] && ours[1] <= 1.5 * float32[1],
                    "{m} x {k} x {n}: {ours:?}, {float32:?}"
                );
            }
        }
    }

    #[test]
    fn slabs_add_up() {
        // Several slabs of rows, terms and columns, onto something: small whole numbers, whose sums are exact.
        let whole = |rows, columns| Tensor::randint_low(-8, 8, [rows, columns], (Kind::Float, Device::Cpu));
        for (m, k, n) in [(2100, 800, 2100), (2100, 1600, 96), (96, 1600, 2100)] {
            let (a, b, onto) = (whole(m, k), whole(n, k).tr(), whole(m, n));
            let Some(out) = product(&a, &b, Some(&onto)) else { return };
            assert!(out == onto + a.mm(&b), "{m} x {k} x {n}");
        }
    }

    #[test]
    fn all_24_bits_count() {
        // Whole numbers up to 2^24 times powers of two: float32 has the products exactly, and bfloat16 a third of their bits.
        let whole = Tensor::randint_low(1 << 23, 1 << 24, [128, 128], (Kind::Float, Device::Cpu));
        let powers = Tensor::eye(128, (Kind::Float, Device::Cpu)) * 0.25;
        for (a, b) in [(&whole, &powers), (&powers, &whole)] {
            let Some(out) = product(a, b, None) else { return };
            assert!(out == &whole * 0.25, "{}", (out - &whole * 0.25).abs().max());
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let float = (Kind::Float, Device::Cpu);
        for bad in [0x7fc0_0000, 0xffc0_0000, 0x7fff_ffff, 0xff80_0001, 0x7f80_0000, 0x7f7f_ffff].map(f32::from_bits) {
            // In a row of one operand, or a column of the other, which lie in either order.
            for turned in [false, true] {
                let mut x = Tensor::ones(if turned { [64, 96] } else { [96, 64] }, float);
                x = if turned { x.tr() } else { x };
                x.get(40).get(7).copy_(&Tensor::from_slice(&[bad]).get(0));
                let ones = Tensor::ones([64, 96], float);
                let Some(rows) = product(&x, &ones, None) else { return };
                let Some(columns) = product(&ones.tr(), &x.tr(), None) else { return };
                for out in [rows, columns.tr()] {
                    let finite = out.isfinite();
                    assert!(finite.get(40).any().int64_value(&[]) == 0, "{bad}, {:x}", bad.to_bits());
                    assert_eq!(finite.sum(Kind::Int64).int64_value(&[]), 95 * 96, "{bad}");
                }
            }
        }
    }
}
