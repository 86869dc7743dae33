//! Products of float32 by AVX2, for processors with nothing wider, such as AMD's before Zen 4: see
//! `libtorch/avx2_products.cpp`. They reach nine tenths of the multiplying units' peak there, not counting packing.
//! Tests limit the mean error to 1.5 times that of libtorch's products (1 to 1.14 when measured).

use super::packed::PanelKernel;
use crate::kernels::cpu::functions;
use crate::kernels::cpu::matrix::Matrix;

/// Panel kernel for AVX2 and FMA.
pub struct Avx2;

impl PanelKernel for Avx2 {
    const PANEL: usize = 48;
    /// The result is read and written once per slab of this many terms. The panels of a tile's rows then take 295 KB
    /// of a core's cache.
    const DEPTH: usize = 768;
    /// A slab holds all of a layer of GPT-2 124M.
    const SIDE: usize = 3072;
    const BLOCK: (usize, usize) = (96, 528);
    const LEAST_SIDE: usize = 96;
    const LEAST_DEPTH: usize = 32;

    fn is_there() -> bool {
        has_instructions()
    }

    fn panel_bytes(terms: usize) -> usize {
        size_of::<f32>() * terms * Self::PANEL
    }

    unsafe fn pack(to: *mut u8, from: Matrix<f32>, is_right: bool) {
        // SAFETY: the caller's promise.
        unsafe {
            functions::convoy_cpu_avx2_pack(
                to.cast(),
                from.start,
                from.column_stride as i64,
                from.row_stride as i64,
                from.columns as i64,
                from.rows as i64,
                is_right,
            );
        }
    }

    unsafe fn multiply(out: Matrix<f32>, a: *const u8, b: *const u8, terms: usize, add: bool) {
        // SAFETY: the caller's promise.
        unsafe {
            functions::convoy_cpu_avx2_multiply(
                out.start,
                out.row_stride as i64,
                out.rows as i64,
                out.columns as i64,
                a.cast(),
                b.cast(),
                terms as i64,
                add,
            );
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_instructions() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_instructions() -> bool {
    false
}
