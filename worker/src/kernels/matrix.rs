//! Matrices in host memory, for the kernels that multiply parts of them on one thread.

use gemm::Parallelism;
use tch::{Device, Kind, Tensor};

/// What matrices are made of.
pub trait Number: Copy + 'static {
    /// As libtorch names it.
    const KIND: Kind;
    /// 1
    const ONE: Self;
}

impl Number for f32 {
    const KIND: Kind = Kind::Float;
    const ONE: Self = 1.0;
}

impl Number for f64 {
    const KIND: Kind = Kind::Double;
    const ONE: Self = 1.0;
}

/// A place in memory that is read or written as a matrix.
#[derive(Clone, Copy)]
pub struct Matrix<T> {
    /// The first element.
    pub start: *mut T,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Elements from a row to the next.
    pub row_stride: isize,
    /// Elements from a column to the next.
    pub column_stride: isize,
}

// SAFETY: it says where a matrix is; whoever reads or writes it says that nobody else does.
unsafe impl<T> Sync for Matrix<T> {}

impl<T: Number> Matrix<T> {
    /// Where `tensor` [M, N], of this kind and in host memory, has its elements.
    pub fn of(tensor: &Tensor) -> Self {
        let (size, stride) = (tensor.size(), tensor.stride());
        assert!(size.len() == 2 && tensor.kind() == T::KIND && tensor.device() == Device::Cpu, "no matrix: {tensor:?}");
        Matrix {
            start: tensor.data_ptr().cast(),
            rows: size[0] as usize,
            columns: size[1] as usize,
            row_stride: stride[0] as isize,
            column_stride: stride[1] as isize,
        }
    }

    /// The start of `memory` as a matrix of `rows` without gaps. The memory is to be used through it alone.
    pub fn in_slice(memory: &mut [T], rows: usize, columns: usize) -> Self {
        assert!(rows * columns <= memory.len(), "more than there is");
        Matrix { start: memory.as_mut_ptr(), rows, columns, row_stride: columns as isize, column_stride: 1 }
    }

    /// Copies it to the start of `memory`, rows for columns: what is read many times is read faster when it lies in the order of
    /// reading.
    ///
    /// # Safety
    /// It is in live memory and nobody writes to it.
    pub unsafe fn transposed_into(&self, memory: &mut [T]) -> Self {
        /// Columns that are written at once: a line of the cache.
        const TOGETHER: usize = 16;
        for left in (0..self.columns).step_by(TOGETHER) {
            let columns = TOGETHER.min(self.columns - left);
            let part = self.part(0, left, self.rows, columns);
            for row in 0..self.rows {
                // SAFETY: as the caller says.
                let from = unsafe { part.row(row) };
                from.iter().enumerate().for_each(|(i, x)| memory[(left + i) * self.rows + row] = *x);
            }
        }
        Self::in_slice(memory, self.columns, self.rows)
    }

    /// `rows` by `columns` of it, from row `top` and column `left` on.
    pub fn part(&self, top: usize, left: usize, rows: usize, columns: usize) -> Self {
        assert!(top + rows <= self.rows && left + columns <= self.columns, "a part beyond its matrix");
        let offset = top as isize * self.row_stride + left as isize * self.column_stride;
        Matrix { start: self.start.wrapping_offset(offset), rows, columns, ..*self }
    }

    /// The same with rows for columns.
    pub fn transposed(&self) -> Self {
        Matrix {
            start: self.start,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    /// A row, whose elements follow each other.
    ///
    /// # Safety
    /// Nobody writes there while the slice lives.
    pub unsafe fn row(&self, row: usize) -> &[T] {
        let row = self.part(row, 0, 1, self.columns);
        assert!(row.column_stride == 1, "a row with gaps");
        // SAFETY: inside a matrix in which elements follow each other; nobody writes, as the caller says.
        unsafe { std::slice::from_raw_parts(row.start, row.columns) }
    }

    /// A row to be written, whose elements follow each other.
    ///
    /// # Safety
    /// Nobody else reads or writes there while the slice lives.
    #[allow(clippy::mut_from_ref, reason = "the matrix is a place, not the elements")]
    pub unsafe fn row_mut(&self, row: usize) -> &mut [T] {
        let row = self.part(row, 0, 1, self.columns);
        assert!(row.column_stride == 1, "a row with gaps");
        // SAFETY: inside a matrix in which elements follow each other; nobody else is there, as the caller says.
        unsafe { std::slice::from_raw_parts_mut(row.start, row.columns) }
    }

    /// Becomes `factor` times `a` times `b`, with what it was added if `add`.
    ///
    /// # Safety
    /// The three are in live memory, this one apart from the others, and nobody else writes to them or reads this one.
    pub unsafe fn set_product(&self, a: Matrix<T>, b: Matrix<T>, factor: T, add: bool) {
        assert!((a.rows, a.columns, b.columns) == (self.rows, b.rows, self.columns), "shapes do not fit");
        // SAFETY: as the caller says; the shapes fit.
        unsafe {
            gemm::gemm(
                self.rows,
                self.columns,
                a.columns,
                self.start,
                self.column_stride,
                self.row_stride,
                add,
                a.start,
                a.column_stride,
                a.row_stride,
                b.start,
                b.column_stride,
                b.row_stride,
                T::ONE,
                factor,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}
