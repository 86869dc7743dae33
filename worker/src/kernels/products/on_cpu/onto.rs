//! Values that products are added to.

use crate::kernels::cpu::matrix::{Matrix, Number};

/// Values that a product is added to; `R` is a row, as a tensor or a matrix.
#[derive(Clone, Copy)]
pub enum Onto<R> {
    /// Nothing: the product takes the place of the result.
    Zero,
    /// The present values of the result.
    Present,
    /// This row, `[N]`, in each row of the result.
    Row(R),
}

impl<R> Onto<R> {
    /// Converts the row by `of`.
    pub fn map<S>(self, of: impl FnOnce(R) -> S) -> Onto<S> {
        match self {
            Onto::Zero => Onto::Zero,
            Onto::Present => Onto::Present,
            Onto::Row(row) => Onto::Row(of(row)),
        }
    }
}

impl<T: Number> Onto<Matrix<T>> {
    /// Restricts the row to `width` columns from `left` on.
    pub fn columns(self, left: usize, width: usize) -> Self {
        self.map(|row| row.part(0, left, 1, width))
    }

    /// Copies the row, if there is one, into all rows of `out`. Returns whether the product is then to be added to
    /// `out`.
    ///
    /// # Safety
    /// Both are in live memory, apart from each other; nothing else writes to them or reads `out`.
    pub unsafe fn prepare(self, out: Matrix<T>) -> bool {
        if let Onto::Row(row) = self {
            // SAFETY: the caller's promise.
            unsafe { out.set_rows(row) };
        }
        !matches!(self, Onto::Zero)
    }
}
