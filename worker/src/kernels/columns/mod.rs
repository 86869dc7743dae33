//! Sums of columns, which are the gradients of biases, and matrices joined side by side, with their sums.
//!
//! Source: `worker/kernels/columns.cu`; on a CPU, libtorch's operations.

pub(super) mod on_gpu;

use tch::{Kind, TchError, Tensor};

use super::cuda;
use super::cuda::arguments::takes_rows;
use super::row_gradient::RowGradient;

/// Returns the sums of the columns of `rows [N, C]`: `[C]`, in float32 for bfloat16.
pub fn column_sums(rows: &Tensor) -> Result<Tensor, TchError> {
    match cuda::of(rows).filter(|_| takes_rows(rows)) {
        Some(gpu) => on_gpu::column_sums(gpu, rows),
        None => column_sums_twin(rows),
    }
}

/// [`column_sums`] by libtorch's operations.
pub fn column_sums_twin(rows: &Tensor) -> Result<Tensor, TchError> {
    let kind = if rows.kind() == Kind::BFloat16 { Kind::Float } else { rows.kind() };
    rows.f_sum_dim_intlist(0, false, kind)
}

/// Joins `parts`, `[N, C]` each, side by side to `[N, 3C]`.
pub fn join(parts: [&Tensor; 3]) -> Result<RowGradient, TchError> {
    match cuda::of(parts[0]).filter(|_| parts.iter().all(|part| takes_rows(part))) {
        Some(gpu) => on_gpu::join(gpu, parts),
        None => join_twin(parts),
    }
}

/// [`join`] by libtorch's operations.
pub fn join_twin(parts: [&Tensor; 3]) -> Result<RowGradient, TchError> {
    Ok(Tensor::f_cat(&parts, 1)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::places::{assert_close, places};
    use crate::libtorch::random::Random;
    use tch::Device;

    /// Rows and columns: fewer than a block has, and more; one width is no multiple of a block's.
    const SHAPES: [(i64, i64); 4] = [(1, 8), (7, 64), (33, 768), (1000, 1600)];

    fn draw(random: &Random, rows: i64, columns: i64, device: Device) -> Tensor {
        (random.normal(&[rows, columns], (Kind::Float, device)) * 3).to_kind(Kind::BFloat16)
    }

    fn assert_is_sum(gradient: RowGradient) {
        assert_close(&gradient.sum.unwrap(), &gradient.rows.sum_dim_intlist(0, false, Kind::Float), 1e-5);
    }

    #[test]
    fn the_kernels_for_gpus_are_their_twins() {
        for (gpu, device) in places() {
            for (rows, columns) in SHAPES {
                let random = Random::seeded(rows as u64);
                let [a, b, c] = std::array::from_fn(|_| draw(&random, rows, columns, device));
                let ours = on_gpu::join(gpu, [&a, &b, &c]).unwrap();
                assert_eq!(ours.rows, join_twin([&a, &b, &c]).unwrap().rows);
                assert_is_sum(ours);
                assert_close(&on_gpu::column_sums(gpu, &a).unwrap(), &column_sums_twin(&a).unwrap(), 1e-5);
            }
        }
    }
}
