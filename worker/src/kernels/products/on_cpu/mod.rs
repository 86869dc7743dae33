//! Matrix products on a CPU.
//!
//! Large products of float32 are made of [`packed`] panels on processors with matrix units ([`amx`]), or with AVX2
//! and nothing wider ([`avx2`]). On Intel's processors without matrix units all products are left to libtorch, which
//! uses MKL. All others are cut into tiles, which libtorch's threads take in turn and the `gemm` crate multiplies.
//!
//! Measured on whole steps: on AMD's processors libtorch's products take a twentieth longer than tiles, and a fifth
//! longer with few rows. Without AVX-512, AVX2's panels are 1.18 times as fast as tiles (1,024 tokens, median of five
//! pairs, 1.05 to 1.37). On Intel's processors without matrix units a step is 3 to 7 % faster by MKL than by tiles
//! with long rows, and takes as long with short ones. Other processors were not measured.

mod amx;
mod avx2;
mod onto;
mod packed;
mod tiles;

use std::sync::OnceLock;

use tch::{Device, Kind, Tensor};

use crate::kernels::cpu::matrix::{Matrix, Number, can_multiply};
use amx::Amx;
use avx2::Avx2;
pub use onto::Onto;
use packed::{PanelKernel, suits};
use tiles::{Tiles, each_tile};

/// Returns whether products with `a` are computed here.
pub fn is_here(a: &Tensor) -> bool {
    a.device() == Device::Cpu && matches!(a.kind(), Kind::Float | Kind::Double) && can_multiply() && !is_for_mkl()
}

/// Returns whether MKL is fastest on this processor.
fn is_for_mkl() -> bool {
    static IS: OnceLock<bool> = OnceLock::new();
    *IS.get_or_init(|| is_intels() && !Amx::is_there())
}

#[cfg(target_arch = "x86_64")]
fn is_intels() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat() == b"GenuineIntel"
}

#[cfg(not(target_arch = "x86_64"))]
fn is_intels() -> bool {
    false
}

/// Returns whether [`Avx2`] is fastest on this processor: the `gemm` crate uses wider registers if there are any.
fn is_for_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    return !is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Sets `out` to `a` times `b` onto `onto`, all of one kind, float32 or float64.
pub fn multiply(out: &Tensor, a: &Tensor, b: &Tensor, onto: Onto<&Tensor>) {
    match out.kind() {
        Kind::Float => in_panels_or_tiles(Matrix::of(out), Matrix::of(a), Matrix::of(b), onto.map(row_of)),
        _ => in_tiles::<f64>(Matrix::of(out), Matrix::of(a), Matrix::of(b), onto.map(row_of)),
    }
}

/// Returns `row [N]` as a matrix `[1, N]`.
fn row_of<T: Number>(row: &Tensor) -> Matrix<T> {
    Matrix::of(&row.unsqueeze(0))
}

/// Sets `out` to `a` times `b` onto `onto`, in float32, by the fastest method that suits.
fn in_panels_or_tiles(out: Matrix<f32>, a: Matrix<f32>, b: Matrix<f32>, onto: Onto<Matrix<f32>>) {
    assert_fit(&out, &a, &b, &onto);
    if suits::<Amx>(&out, &a, &b) {
        // SAFETY: tensors, which are alive and which nothing else uses.
        unsafe { packed::multiply::<Amx>(out, a, b, onto) };
    } else if is_for_avx2() && suits::<Avx2>(&out, &a, &b) {
        // SAFETY: as above.
        unsafe { packed::multiply::<Avx2>(out, a, b, onto) };
    } else {
        in_tiles(out, a, b, onto);
    }
}

/// Panics unless the shapes fit: here and not in a task, where a panic ends the process.
fn assert_fit<T>(out: &Matrix<T>, a: &Matrix<T>, b: &Matrix<T>, onto: &Onto<Matrix<T>>) {
    let fits = (a.rows, a.columns, b.columns) == (out.rows, b.rows, out.columns);
    let row_fits = match onto {
        Onto::Row(row) => row.columns == out.columns && row.column_stride == 1 && out.column_stride == 1,
        Onto::Zero | Onto::Present => true,
    };
    assert!(fits && row_fits, "shapes do not fit");
}

/// Tiles of the `gemm` crate. Larger tiles pack their operands less often; smaller ones shorten the wait for the last
/// thread.
const TILES: Tiles = Tiles { most: (1024, 384), unit: 32 };

/// Sets `out [M, N]` to `a [M, K]` times `b [K, N]` onto `onto`, all of `T`.
fn in_tiles<T: Number>(out: Matrix<T>, a: Matrix<T>, b: Matrix<T>, onto: Onto<Matrix<T>>) {
    assert_fit(&out, &a, &b, &onto);
    if out.rows == 0 || out.columns == 0 {
        return;
    }
    each_tile(out.rows, out.columns, TILES, |[top, left], [rows, columns]| {
        let out = out.part(top, left, rows, columns);
        // SAFETY: tensors that live until all tasks are done; no other task reads or writes this part of the result.
        unsafe {
            let add = onto.columns(left, columns).prepare(out);
            out.set_product(a.part(top, 0, rows, a.columns), b.part(0, left, b.rows, columns), T::ONE, add);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::tiles::tile;
    use super::*;
    use crate::kernels::products::{add_product, product, product_plus_row};
    use crate::libtorch::random::Random;

    /// Rows, inner length, columns: one, fewer than a register has, tiles with and without a remainder, and no terms
    /// at all.
    const SHAPES: [(i64, i64, i64); 8] =
        [(1, 1, 1), (3, 5, 7), (64, 64, 64), (100, 33, 1000), (1030, 70, 40), (520, 770, 390), (0, 4, 4), (4, 0, 4)];

    /// Draws a `rows` by `columns` tensor, or the transpose of one.
    pub fn draw(random: &Random, rows: i64, columns: i64, transposed: bool, kind: Kind) -> Tensor {
        match transposed {
            true => random.normal(&[columns, rows], (kind, Device::Cpu)).tr(),
            // A part of a wider tensor, as a layer's input may be.
            false => random.normal(&[rows, columns + 3], (kind, Device::Cpu)).narrow(1, 2, columns),
        }
    }

    #[test]
    fn tiles_make_the_product_of_libtorch() {
        let random = Random::seeded(3);
        for (kind, most) in [(Kind::Float, 1e-5), (Kind::Double, 3e-14)] {
            for ((m, k, n), turned) in SHAPES.into_iter().flat_map(|shape| [0, 1, 2, 3].map(|turned| (shape, turned))) {
                let (a, b) = (draw(&random, m, k, turned & 1 > 0, kind), draw(&random, k, n, turned & 2 > 0, kind));
                let row = random.normal(&[n], (kind, Device::Cpu));
                let onto = random.normal(&[m, n + 1], (kind, Device::Cpu)).narrow(1, 0, n);
                let expected = a.to_kind(Kind::Double).mm(&b.to_kind(Kind::Double));
                let check = |ours: &Tensor, expected: Tensor| {
                    let error = (ours.to_kind(Kind::Double) - expected).abs().view([-1]);
                    let error = if m > 0 { error.max().double_value(&[]) } else { 0.0 };
                    let most = most * ((k + 1) as f64).sqrt();
                    assert!(error <= most, "{m} x {k} x {n}, {turned}, {kind:?}: {error:e}");
                };
                check(&product(&a, &b), expected.shallow_clone());
                if kind == Kind::Float {
                    // The case without packed panels.
                    let out = Tensor::empty([m, n], (kind, Device::Cpu));
                    in_tiles::<f32>(Matrix::of(&out), Matrix::of(&a), Matrix::of(&b), Onto::Row(row_of(&row)));
                    check(&out, &expected + &row);
                }
                check(&product_plus_row(&a, &b, &row), &expected + &row);
                let sum = &onto + &expected;
                add_product(&onto, &a, &b, true).unwrap();
                check(&onto, sum);
                add_product(&onto, &a, &b, false).unwrap();
                check(&onto, expected);
            }
        }
    }

    #[test]
    fn there_are_tiles_for_all_threads() {
        for (rows, columns) in [(1, 1), (1, 5000), (256, 768), (1024, 2304), (50304, 768)] {
            let ways = [TILES, packed::tiles::<Amx>(), packed::tiles::<Avx2>()];
            for (threads, tiles) in [1, 2, 7, 64].into_iter().flat_map(|threads| ways.map(|tiles| (threads, tiles))) {
                let tile = tile(rows, columns, threads, tiles);
                let count = rows.div_ceil(tile.0) * columns.div_ceil(tile.1);
                assert!(count >= threads || tile.0.max(tile.1) <= tiles::LEAST_SIDE, "{rows} x {columns}: {tile:?}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let a = Tensor::from_slice(&[f32::NAN, 1.0, 0.0, f32::INFINITY]).view([2, 2]);
        let out = product(&a, &Tensor::ones([2, 2], (Kind::Float, Device::Cpu)));
        assert!(out.get(0).isnan().all().int64_value(&[]) == 1 && out.get(1).isinf().all().int64_value(&[]) == 1);
    }
}
