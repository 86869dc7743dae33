//! LayerNorm (Ba et al., 2016) of a residual stream that a branch is added to first: one pass through memory forward,
//! and one backward.
//!
//! For a row x `[C]`, the sum of the stream and the branch:
//!
//! ```text
//! xhat = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon)
//! y = xhat * weight + bias
//! dx = (dy weight - mean(dy weight) - xhat mean(dy weight xhat)) / sqrt(mean((x - mean(x))^2) + epsilon) + dresidual
//! dweight = sum of dy xhat over all rows, dbias = sum of dy over all rows
//! ```
//!
//! Source: `worker/kernels/layer_norm.cu`; on a CPU, libtorch's operations.

pub(super) mod on_gpu;
mod stream;

use tch::{Kind, TchError, Tensor};

use super::cuda;
use super::operand::operand;
use crate::libtorch;
pub use stream::{Branch, LayerNormGradient, Normalised};

/// LayerNorm's epsilon in GPT-2.
const EPSILON: f64 = 1e-5;

/// Returns whether the bias of a branch of `columns`, of the kind and on the device of `x`, is best added by the norm
/// that follows.
pub fn takes_bias(x: &Tensor, columns: i64) -> bool {
    cuda::are_on(x.device()) && x.kind() == Kind::BFloat16 && on_gpu::norm_takes_columns(columns)
}

/// [`layer_norm`] by libtorch's operations.
pub fn twin(x: Tensor, branch: Option<Branch>, weight: &Tensor, bias: &Tensor) -> Result<Normalised, TchError> {
    let x = match branch {
        Some(Branch { mut rows, bias }) => {
            if let Some(bias) = bias {
                let _ = rows.f_add_(&bias)?;
            }
            rows.f_add_(&x)?
        }
        None => x,
    };
    let c = *x.size().last().unwrap_or(&0);
    let (weight, bias) = (operand(weight), operand(bias));
    let (y, mean, rstd) = operand(&x).f_native_layer_norm([c], Some(&weight), Some(&bias), EPSILON)?;
    Ok(Normalised { y: y.to_kind(x.kind()), x, mean, rstd })
}

/// [`layer_norm_backward`] by libtorch's operations.
pub fn backward_twin(
    dy: &Tensor,
    x: &Tensor,
    (mean, rstd): (&Tensor, &Tensor),
    (weight, bias): (&Tensor, &Tensor),
    dresidual: Option<&Tensor>,
) -> Result<LayerNormGradient, TchError> {
    let (dx, weight, bias) =
        libtorch::layer_norm_backward(&operand(dy), &operand(x), mean, rstd, &operand(weight), &operand(bias))?;
    let mut dx = dx.to_kind(x.kind());
    if let Some(dresidual) = dresidual {
        let _ = dx.f_add_(dresidual)?;
    }
    Ok(LayerNormGradient { x: dx.into(), weight, bias })
}

/// Normalises the rows of `x [N, C]` plus `branch`, if there is one. The sum may take the branch's memory.
///
/// Normalising the sum later, without a branch, gives identical bits.
pub fn layer_norm(x: Tensor, branch: Option<Branch>, weight: &Tensor, bias: &Tensor) -> Result<Normalised, TchError> {
    match cuda::of(&x).filter(|_| on_gpu::norm_takes_rows(&x)) {
        Some(gpu) => on_gpu::layer_norm(gpu, x, branch, (weight, bias), EPSILON),
        None => twin(x, branch, weight, bias),
    }
}

/// Returns the gradients, given the gradient of the normalised form, `dy [N, C]`. `dresidual [N, C]` is added to the
/// gradient of the input.
pub fn layer_norm_backward(
    dy: &Tensor,
    x: &Tensor,
    statistics: (&Tensor, &Tensor),
    parameters: (&Tensor, &Tensor),
    dresidual: Option<&Tensor>,
) -> Result<LayerNormGradient, TchError> {
    match cuda::of(x).filter(|_| [dy, x].iter().all(|rows| on_gpu::norm_takes_rows(rows))) {
        Some(gpu) => on_gpu::layer_norm_backward(gpu, (dy, x), statistics, parameters.0, dresidual),
        None => backward_twin(dy, x, statistics, parameters, dresidual),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::places::{assert_close, places};
    use crate::libtorch::random::Random;

    /// Rows and columns: one warp and several, a width that is no multiple of a warp's, more rows than blocks.
    const SHAPES: [(i64, i64); 5] = [(1, 8), (7, 64), (33, 768), (300, 1600), (5, on_gpu::NORM_COLUMNS_MAX)];

    #[test]
    fn the_kernels_for_gpus_are_their_twins() {
        for (gpu, device) in places() {
            for (rows, columns) in SHAPES {
                let random = Random::seeded(rows as u64);
                let draw = |shape: &[i64]| random.normal(shape, (Kind::Float, device)).to_kind(Kind::BFloat16);
                let [x, branch, dy, dresidual] = std::array::from_fn(|_| draw(&[rows, columns]));
                let [weight, bias] = std::array::from_fn(|_| draw(&[columns]));
                let parameters = (&weight, &bias);
                for (with_residual, with_bias) in [(true, true), (true, false), (false, false)] {
                    let of_branch = || with_bias.then(|| bias.copy());
                    let added = || with_residual.then(|| Branch { rows: branch.copy(), bias: of_branch() });
                    let ours = on_gpu::layer_norm(gpu, x.copy(), added(), parameters, EPSILON).unwrap();
                    let theirs = twin(x.copy(), added(), &weight, &bias).unwrap();
                    assert_close(&ours.x, &theirs.x, if with_bias { 8e-3 } else { 0.0 });
                    let theirs = twin(ours.x.copy(), None, &weight, &bias).unwrap();
                    let again = on_gpu::layer_norm(gpu, ours.x.copy(), None, parameters, EPSILON).unwrap();
                    assert_eq!(again.y, ours.y, "computed again it has other bits");
                    assert_close(&ours.y, &theirs.y, 8e-3);
                    assert_close(&ours.mean, &theirs.mean, 1e-5);
                    assert_close(&ours.rstd, &theirs.rstd, 1e-5);

                    let (x, statistics) = (&theirs.x, (&theirs.mean, &theirs.rstd));
                    let residual = with_residual.then_some(&dresidual);
                    let ours = on_gpu::layer_norm_backward(gpu, (&dy, x), statistics, &weight, residual).unwrap();
                    let theirs = backward_twin(&dy, x, statistics, parameters, residual).unwrap();
                    assert_close(&ours.x.rows, &theirs.x.rows, 1.6e-2);
                    assert_close(&ours.weight, &theirs.weight.to_kind(Kind::Float), 8e-3);
                    assert_close(&ours.bias, &theirs.bias.to_kind(Kind::Float), 8e-3);
                    // The sums are of gradients before they are rounded.
                    let [dy, x, weight, bias] = [&dy, x, &weight, &bias].map(|t| t.to_kind(Kind::Float));
                    let residual = residual.map(|rows| rows.to_kind(Kind::Float));
                    let wide = backward_twin(&dy, &x, statistics, (&weight, &bias), residual.as_ref()).unwrap();
                    assert_close(&ours.x.sum.unwrap(), &wide.x.rows.sum_dim_intlist(0, false, None::<Kind>), 1e-5);
                }
            }
        }
    }
}
