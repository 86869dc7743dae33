//! What backward hands from one part to the next: a gradient of rows, and the sum that a bias needs of it.

use tch::Tensor;

/// The gradient of rows `[N, C]`.
pub struct RowGradient {
    /// `[N, C]`
    pub rows: Tensor,
    /// Their sum `[C]`, float32, perhaps of what they were before they were rounded, where what made them made it too.
    pub sum: Option<Tensor>,
}

impl From<Tensor> for RowGradient {
    fn from(rows: Tensor) -> Self {
        RowGradient { rows, sum: None }
    }
}

impl Clone for RowGradient {
    /// Another view of the same.
    fn clone(&self) -> Self {
        RowGradient { rows: self.rows.shallow_clone(), sum: self.sum.as_ref().map(Tensor::shallow_clone) }
    }
}
