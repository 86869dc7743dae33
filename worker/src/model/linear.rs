//! The linear layer, and the time at which its weight gradients are computed.
//!
//! Legend: B batch, T sequence, N = B T rows, C width, H heads, D = C / H head size, L layers, V vocabulary.
//! A linear layer has in and out columns.

use tch::{TchError, Tensor};

use super::backward::Backward;
use super::ops::{self, WeightGradient};
use crate::kernels::RowGradient;
use crate::kernels::layer_norm::{Branch, takes_bias};
use crate::kernels::products::product;

/// A linear layer's parameters, or their gradients.
pub(super) struct Linear {
    /// Weight, `[in, out]`.
    pub weight: Tensor,
    /// Bias, `[out]`.
    pub bias: Tensor,
}

impl Linear {
    /// Maps `x [N, in]` to `[N, out]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        ops::linear(x, &self.weight, &self.bias) // [N, out]
    }

    /// Maps `x [N, in]` to a branch `[N, out]`, to be added to the residual stream.
    pub fn branch(&self, x: &Tensor) -> Branch {
        match takes_bias(x, self.bias.size()[0]) {
            true => Branch { rows: product(x, &self.weight), bias: Some(self.bias.shallow_clone()) }, // [N, out], [out]
            false => Branch { rows: self.forward(x), bias: None },                                    // [N, out]
        }
    }

    /// Returns the gradient of the input `x [N, in]`, given the gradient of the output, `dy [N, out]`.
    pub fn backward(
        &self,
        x: Tensor,
        dy: RowGradient,
        gradient: &Linear,
        backward: &mut Backward,
    ) -> Result<Tensor, TchError> {
        let dx = ops::product_with_transpose(&dy.rows, &self.weight); // [N, in]
        Self::backward_of_weights(x, dy, gradient, backward)?;
        Ok(dx)
    }

    /// Computes the weights' part of backward, or puts it off, given the input `x [N, in]` and the gradient of the
    /// output, `dy [N, out]`.
    pub fn backward_of_weights(
        x: Tensor,
        dy: RowGradient,
        gradient: &Linear,
        backward: &mut Backward,
    ) -> Result<(), TchError> {
        let (dweight, dbias) = (gradient.weight.shallow_clone(), gradient.bias.shallow_clone()); // [in, out], [out]
        let product = WeightGradient { x, dy, dweight, dbias, accumulate: backward.accumulate };
        match &mut backward.later {
            Some(later) => later.push(product),
            None => product.compute()?,
        }
        Ok(())
    }
}
