//! The gradient that backward passes from one part to the next: rows, and their sum for a bias.

use tch::Tensor;

/// Gradient of rows `[N, C]`.
pub struct RowGradient {
    /// Gradients of the rows, `[N, C]`.
    pub rows: Tensor,
    /// Sum of the rows, `[C]`, float32, possibly taken before they were rounded; `None` if the sum was not computed
    /// along with them.
    pub sum: Option<Tensor>,
}

impl From<Tensor> for RowGradient {
    fn from(rows: Tensor) -> Self {
        RowGradient { rows, sum: None }
    }
}

impl Clone for RowGradient {
    /// Returns another view of this gradient.
    fn clone(&self) -> Self {
        RowGradient { rows: self.rows.shallow_clone(), sum: self.sum.as_ref().map(Tensor::shallow_clone) }
    }
}
