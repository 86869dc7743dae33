//! Products of operands that are first packed into panels, each a number of rows of the left one, or columns of the
//! right one. A [`PanelKernel`] multiplies panels.
//!
//! All threads pack both operands, then compute the result in tiles. They take a slab of the product at a time, so
//! that packed data never exceeds 20 MB.

use std::marker::PhantomData;

use tch::{Device, Kind, Tensor};

use super::onto::Onto;
use super::tiles::{Tiles, each_tile, even_part};
use crate::kernels::cpu::matrix::Matrix;
use crate::kernels::cpu::threads::each_in_turn;

/// Unit of the number of terms in a slab; only the last slab may have a remainder.
const STEP: usize = 32;

/// A kernel that packs panels and multiplies them, on one thread.
pub trait PanelKernel {
    /// Number of rows or columns in a panel.
    const PANEL: usize;
    /// Limit of the number of terms in a slab.
    const DEPTH: usize;
    /// Limit of the numbers of rows and columns in a slab.
    const SIDE: usize;
    /// Limits of the rows and columns in a tile.
    const BLOCK: (usize, usize);
    /// Number of rows and columns from which packing pays.
    const LEAST_SIDE: usize;
    /// Number of terms from which packing pays.
    const LEAST_DEPTH: usize;

    /// Returns whether the processor and the system let this process use the kernel.
    fn is_there() -> bool;

    /// Returns the bytes of a panel of `terms` terms, a multiple of 64.
    fn panel_bytes(terms: usize) -> usize;

    /// Packs a panel: rows of a left operand, which is passed transposed, or columns of a right one. `from` has a row
    /// for each term; one of its strides is 1.
    ///
    /// # Safety
    /// The kernel [`is_there`](PanelKernel::is_there); `to` has room for a panel, which nothing else uses; `from` is
    /// in live memory, where nothing writes.
    unsafe fn pack(to: *mut u8, from: Matrix<f32>, is_right: bool);

    /// Sets `out`, whose rows are contiguous, to the product of the panels that begin at `a` and `b`, added to its
    /// present values if `add`.
    ///
    /// # Safety
    /// The kernel [`is_there`](PanelKernel::is_there); there are packed panels of `terms` terms for all rows and
    /// columns; `out` is in live memory, which nothing else uses.
    unsafe fn multiply(out: Matrix<f32>, a: *const u8, b: *const u8, terms: usize, add: bool);
}

/// Returns how a result is cut into tiles, which are whole panels.
pub const fn tiles<K: PanelKernel>() -> Tiles {
    const {
        assert!(K::BLOCK.0.is_multiple_of(K::PANEL) && K::BLOCK.1.is_multiple_of(K::PANEL), "tiles are whole panels");
        assert!(K::SIDE.is_multiple_of(K::PANEL) && K::DEPTH.is_multiple_of(STEP), "and so are slabs");
    }
    Tiles { most: K::BLOCK, unit: K::PANEL }
}

/// Returns whether `out [M, N]` is best computed from `a [M, K]` and `b [K, N]` by this kernel.
pub fn suits<K: PanelKernel>(out: &Matrix<f32>, a: &Matrix<f32>, b: &Matrix<f32>) -> bool {
    let follow = |matrix: &Matrix<f32>| matrix.row_stride == 1 || matrix.column_stride == 1;
    let is_large = out.rows.min(out.columns) >= K::LEAST_SIDE && a.columns >= K::LEAST_DEPTH;
    is_large && out.column_stride == 1 && follow(a) && follow(b) && K::is_there()
}

/// Sets `out [M, N]`, whose rows are contiguous, to `a [M, K]` times `b [K, N]` onto `onto`.
///
/// # Safety
/// The kernel [`suits`]; the three are in live memory, `out` apart from the others, and nothing else writes to them
/// or reads `out`.
pub unsafe fn multiply<K: PanelKernel>(out: Matrix<f32>, a: Matrix<f32>, b: Matrix<f32>, onto: Onto<Matrix<f32>>) {
    assert!((a.rows, a.columns, b.columns) == (out.rows, b.rows, out.columns), "shapes do not fit");
    assert!(out.column_stride == 1, "a result with gaps");
    let depth = even_part(a.columns, K::DEPTH, STEP);
    let [rows, columns] = [out.rows, out.columns].map(|all| even_part(all, K::SIDE, K::PANEL));
    let [packed_a, packed_b] = [rows, columns].map(|lanes| Packed::<K>::with_room(lanes, depth));
    for first in (0..a.columns).step_by(depth) {
        let terms = depth.min(a.columns - first);
        for top in (0..out.rows).step_by(rows) {
            let rows = rows.min(out.rows - top);
            let left_operand = (&packed_a, a.part(top, first, rows, terms).transposed(), false);
            for left in (0..out.columns).step_by(columns) {
                let width = columns.min(out.columns - left);
                let right_operand = (&packed_b, b.part(first, left, terms, width), true);
                // The left operand is packed once for all slabs beside it. The right one stays packed if one slab
                // spans all columns.
                let is_new = [left == 0, top == 0 || width < out.columns];
                let onto = if first > 0 { Onto::Present } else { onto.columns(left, width) };
                // SAFETY: the caller's promise.
                unsafe {
                    match is_new {
                        [true, true] => pack([left_operand, right_operand]),
                        [true, false] => pack([left_operand]),
                        [false, _] => pack([right_operand]),
                    }
                    multiply_packed(out.part(top, left, rows, width), &packed_a, &packed_b, terms, onto);
                }
            }
        }
    }
}

/// Memory for the packed panels of an operand.
struct Packed<K>(Tensor, PhantomData<K>);

impl<K: PanelKernel> Packed<K> {
    /// Allocates memory for `lanes` rows or columns of `terms` terms.
    fn with_room(lanes: usize, terms: usize) -> Self {
        let bytes = lanes.div_ceil(K::PANEL) * K::panel_bytes(terms);
        Packed(Tensor::empty([bytes as i64], (Kind::Uint8, Device::Cpu)), PhantomData)
    }

    fn start(&self) -> Start {
        Start(self.0.data_ptr().cast())
    }
}

/// Packs one or two operands, each with a row for each term: the right operand of a product (`true`), or the left
/// one, transposed (`false`).
///
/// # Safety
/// There is room for the operands; they are in live memory, and nothing writes there.
unsafe fn pack<K: PanelKernel, const N: usize>(operands: [(&Packed<K>, Matrix<f32>, bool); N]) {
    const { assert!(N == 1 || N == 2) };
    let operands = operands.map(|(packed, operand, is_right)| (packed.start(), operand, is_right));
    let panels = operands.map(|(_, operand, _)| operand.columns.div_ceil(K::PANEL));
    each_in_turn(panels.iter().sum(), &|number| {
        let (which, panel) = if number < panels[0] { (0, number) } else { (N - 1, number - panels[0]) };
        let (to, operand, is_right) = operands[which];
        let Matrix { rows: terms, columns: lanes, .. } = operand;
        let lane = panel * K::PANEL;
        let from = operand.part(0, lane, terms, K::PANEL.min(lanes - lane));
        // SAFETY: each task has a panel of its own, in memory that the caller vouches for.
        unsafe { K::pack(to.panel::<K>(panel, terms), from, is_right) };
    });
}

/// Start of packed operands.
#[derive(Clone, Copy)]
struct Start(*mut u8);

// SAFETY: threads write to panels of their own, and read only after all panels have been written.
unsafe impl Sync for Start {}

impl Start {
    /// Returns the address of panel `number`; all panels have `terms` terms.
    fn panel<K: PanelKernel>(&self, number: usize, terms: usize) -> *mut u8 {
        self.0.wrapping_add(number * K::panel_bytes(terms))
    }
}

/// Sets `out` to the product of packed operands of `terms` terms onto `onto`.
///
/// # Safety
/// The operands have a lane for each row and column of `out`, which is live and used by nothing else.
unsafe fn multiply_packed<K: PanelKernel>(
    out: Matrix<f32>,
    a: &Packed<K>,
    b: &Packed<K>,
    terms: usize,
    onto: Onto<Matrix<f32>>,
) {
    let [a, b] = [a, b].map(Packed::start);
    each_tile(out.rows, out.columns, tiles::<K>(), |[top, left], [rows, columns]| {
        let out = out.part(top, left, rows, columns);
        // SAFETY: a part of the result that no other task reads or writes; the operands have been packed.
        unsafe {
            let add = onto.columns(left, columns).prepare(out);
            K::multiply(out, a.panel::<K>(top / K::PANEL, terms), b.panel::<K>(left / K::PANEL, terms), terms, add);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::any::type_name;

    use super::super::tests::draw;
    use super::super::{Amx, Avx2, row_of};
    use super::*;
    use crate::libtorch::random::Random;

    /// Returns the product in `out`, onto `onto`. Prints why and returns `None` if the processor lacks the
    /// instructions.
    fn product<K: PanelKernel>(out: Tensor, a: &Tensor, b: &Tensor, onto: Onto<&Tensor>) -> Option<Tensor> {
        let [place, left, right] = [&out, a, b].map(Matrix::of);
        if !suits::<K>(&place, &left, &right) {
            assert!(!K::is_there(), "nothing else could be wrong with these");
            println!("skipped: this processor has no {}, or the system keeps it to itself", type_name::<K>());
            return None;
        }
        // SAFETY: tensors that nothing else uses.
        unsafe { multiply::<K>(place, left, right, onto.map(row_of)) };
        Some(out)
    }

    /// Returns the product in a new tensor, onto nothing.
    fn plain<K: PanelKernel>(a: &Tensor, b: &Tensor) -> Option<Tensor> {
        let out = Tensor::full([a.size()[0], b.size()[1]], f64::NAN, (Kind::Float, Device::Cpu));
        product::<K>(out, a, b, Onto::Zero)
    }

    /// Returns the largest and the mean error, compared with the product in float64.
    fn errors(out: &Tensor, a: &Tensor, b: &Tensor) -> [f64; 2] {
        let error = (out.to_kind(Kind::Double) - a.to_kind(Kind::Double).mm(&b.to_kind(Kind::Double))).abs();
        [error.max(), error.mean(Kind::Double)].map(|error| error.double_value(&[]))
    }

    #[test]
    fn as_exact_as_float32() {
        as_exact_as_float32_by::<Amx>();
        as_exact_as_float32_by::<Avx2>();
    }

    fn as_exact_as_float32_by<K: PanelKernel>() {
        let random = Random::seeded(3);
        // Whole panels and remainders, one slab of terms and several.
        for (m, k, n) in [(96, 32, 96), (97, 33, 127), (256, 768, 768), (130, 2000, 2100), (2100, 100, 100)] {
            for turned in [0, 1, 2, 3] {
                let (a, b) = (
                    draw(&random, m, k, turned & 1 > 0, Kind::Float),
                    draw(&random, k, n, turned & 2 > 0, Kind::Float),
                );
                let Some(out) = plain::<K>(&a, &b) else { return };
                let (ours, float32) = (errors(&out, &a, &b), errors(&a.mm(&b), &a, &b));
                println!("{}: {m} x {k} x {n}, {turned}: {ours:?}, float32 {float32:?}", type_name::<K>());
                assert!(
                    ours[0] <= 4.0 * float32[0] && ours[1] <= 1.5 * float32[1],
                    "{m} x {k} x {n}: {ours:?}, {float32:?}"
                );
            }
        }
    }

    #[test]
    fn slabs_add_up() {
        slabs_add_up_by::<Amx>();
        slabs_add_up_by::<Avx2>();
    }

    fn slabs_add_up_by<K: PanelKernel>() {
        // Small whole numbers, whose sums are exact; several slabs of rows, terms and columns, with and without
        // remainders.
        let random = Random::seeded(4);
        let whole = |rows, columns| random.integers(-8, 8, &[rows, columns], (Kind::Float, Device::Cpu));
        let [side, depth] = [K::SIDE + 52, K::DEPTH + 20].map(|all| all as i64);
        for (m, k, n) in [(side, 40, side), (side, 2 * depth, 100), (100, 2 * depth, side), (100, depth, 100)] {
            let (a, b, row) = (whole(m, k), whole(n, k).tr(), whole(1, n).get(0));
            // A part of a wider tensor.
            let out = || whole(m, n + 1).narrow(1, 0, n);
            let expected = a.mm(&b);
            let Some(ours) = product::<K>(out(), &a, &b, Onto::Zero) else { return };
            assert!(ours == expected, "{m} x {k} x {n}");
            let ours = product::<K>(out(), &a, &b, Onto::Row(&row));
            assert!(ours.unwrap() == &expected + &row, "{m} x {k} x {n} and a row");
            let present = out();
            let ours = product::<K>(present.copy(), &a, &b, Onto::Present);
            assert!(ours.unwrap() == expected + present, "{m} x {k} x {n} onto something");
        }
    }

    #[test]
    fn all_24_bits_count() {
        all_24_bits_count_by::<Amx>();
        all_24_bits_count_by::<Avx2>();
    }

    fn all_24_bits_count_by<K: PanelKernel>() {
        // Whole numbers up to 2^24 times powers of two: float32 represents their products exactly, and bfloat16 a
        // third of their bits.
        let whole = Random::seeded(5).integers(1 << 23, 1 << 24, &[128, 128], (Kind::Float, Device::Cpu));
        let powers = Tensor::eye(128, (Kind::Float, Device::Cpu)) * 0.25;
        for (a, b) in [(&whole, &powers), (&powers, &whole)] {
            let Some(out) = plain::<K>(a, b) else { return };
            assert!(out == &whole * 0.25, "{}", (out - &whole * 0.25).abs().max());
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let bad = [0x7fc0_0000, 0xffc0_0000, 0x7fff_ffff, 0xff80_0001, 0x7f80_0000].map(f32::from_bits);
        what_is_not_finite_stays_so_by::<Avx2>(&bad);
        what_is_not_finite_stays_so_by::<Amx>(&bad);
        // Close to infinity.
        what_is_not_finite_stays_so_by::<Amx>(&[f32::MAX]);
    }

    fn what_is_not_finite_stays_so_by<K: PanelKernel>(bad: &[f32]) {
        let float = (Kind::Float, Device::Cpu);
        for &bad in bad {
            // In a row of one operand or a column of the other, in either memory order.
            for turned in [false, true] {
                let mut x = Tensor::ones(if turned { [64, 96] } else { [96, 64] }, float);
                x = if turned { x.tr() } else { x };
                x.get(40).get(7).copy_(&Tensor::from_slice(&[bad]).get(0));
                let ones = Tensor::ones([64, 96], float);
                let Some(rows) = plain::<K>(&x, &ones) else { return };
                let Some(columns) = plain::<K>(&ones.tr(), &x.tr()) else { return };
                for out in [rows, columns.tr()] {
                    let finite = out.isfinite();
                    assert!(finite.get(40).any().int64_value(&[]) == 0, "{bad}, {:x}", bad.to_bits());
                    assert_eq!(finite.sum(Kind::Int64).int64_value(&[]), 95 * 96, "{bad}");
                }
            }
        }
    }
}
