//! What products are added to.

use crate::kernels::cpu::matrix::{Matrix, Number};

/// What a product is added to; `R` is a row, as a tensor or a matrix.
#[derive(Clone, Copy)]
pub enum Onto<R> {
    /// Nothing.
    Zero,
    /// What is in its place.
    Present,
    /// This in each row, `[N]`.
    Row(R),
}

impl<R> Onto<R> {
    /// The same with the row as `of` makes it.
    pub fn map<S>(self, of: impl FnOnce(R) -> S) -> Onto<S> {
        match self {
            Onto::Zero => Onto::Zero,
            Onto::Present => Onto::Present,
            Onto::Row(row) => Onto::Row(of(row)),
        }
    }
}

impl<T: Number> Onto<Matrix<T>> {
    /// The same for `width` columns from `left` on.
    pub fn columns(self, left: usize, width: usize) -> Self {
        self.map(|row| row.part(0, left, 1, width))
    }

    /// Puts the row into all rows of `out`; whether the product is to be added to what is there then.
    ///
    /// # Safety
    /// Both are in live memory, apart from each other; nobody else writes to them or reads `out`.
    pub unsafe fn prepare(self, out: Matrix<T>) -> bool {
        if let Onto::Row(row) = self {
            // SAFETY: as the caller says.
            unsafe { out.set_rows(row) };
        }
        !matches!(self, Onto::Zero)
    }
}
