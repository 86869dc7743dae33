//! Matrices in host memory, for the kernels that multiply parts of them on one thread.

use std::sync::OnceLock;

use gemm::Parallelism;
use gemm_common::cache::CACHE_INFO;
use tch::{Device, Kind, Tensor};

/// Returns whether [`Matrix::set_product`] works on this processor, and fast. The `gemm` crate checks for one
/// instruction set and also uses related ones, and it hangs where a core's own cache is very small, as on some
/// virtual machines.
pub fn can_multiply() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| has_instructions() && CACHE_INFO[1].cache_bytes >= 256 << 10)
}

#[cfg(target_arch = "x86_64")]
fn has_instructions() -> bool {
    macro_rules! all_detected {
        ($($feature:tt),*) => { $(is_x86_feature_detected!($feature))&&* };
    }
    match is_x86_feature_detected!("avx512f") {
        true => all_detected!("avx512bw", "avx512cd", "avx512dq", "avx512vl"),
        false => all_detected!("avx2", "fma", "bmi1", "bmi2", "lzcnt", "popcnt"),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn has_instructions() -> bool {
    true
}

/// Type of a matrix's elements.
pub trait Number: Copy + Sync + std::ops::Mul<Output = Self> + 'static {
    /// Kind of the elements in libtorch.
    const KIND: Kind;
    /// The number 1.
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

/// Memory that is read or written as a matrix.
#[derive(Clone, Copy)]
pub struct Matrix<T> {
    /// Address of the first element.
    pub start: *mut T,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Distance from a row to the next, in elements.
    pub row_stride: isize,
    /// Distance from a column to the next, in elements.
    pub column_stride: isize,
}

// SAFETY: a matrix only says where its elements are; code that reads or writes them promises that nothing else does.
unsafe impl<T: Sync> Sync for Matrix<T> {}

impl<T: Number> Matrix<T> {
    /// Returns the matrix of `tensor [M, N]`, which is of this kind and in host memory.
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

    /// Returns the start of `memory` as a matrix with contiguous `rows`. The memory must be used through the matrix
    /// alone.
    pub fn in_slice(memory: &mut [T], rows: usize, columns: usize) -> Self {
        assert!(rows * columns <= memory.len(), "more than there is");
        Matrix { start: memory.as_mut_ptr(), rows, columns, row_stride: columns as isize, column_stride: 1 }
    }

    /// Copies the transpose to the start of `memory`: data that is read many times is read faster in the order of
    /// reading.
    ///
    /// # Safety
    /// The matrix is in live memory, and nothing writes to it.
    pub unsafe fn transposed_into(&self, memory: &mut [T]) -> Self {
        /// Side of a square that is read and written at once: whole lines of the cache.
        const SIDE: usize = 16;
        for top in (0..self.rows).step_by(SIDE) {
            for left in (0..self.columns).step_by(SIDE) {
                let square = self.part(top, left, SIDE.min(self.rows - top), SIDE.min(self.columns - left));
                // SAFETY: the caller's promise.
                let rows: [&[T]; SIDE] = std::array::from_fn(|i| unsafe { square.row(i.min(square.rows - 1)) });
                for column in 0..square.columns {
                    let to = &mut memory[(left + column) * self.rows + top..][..square.rows];
                    to.iter_mut().zip(rows).for_each(|(to, row)| *to = row[column]);
                }
            }
        }
        Self::in_slice(memory, self.columns, self.rows)
    }

    /// Returns the part of `rows` by `columns` elements that begins at row `top` and column `left`.
    pub fn part(&self, top: usize, left: usize, rows: usize, columns: usize) -> Self {
        assert!(top + rows <= self.rows && left + columns <= self.columns, "a part beyond its matrix");
        let offset = top as isize * self.row_stride + left as isize * self.column_stride;
        Matrix { start: self.start.wrapping_offset(offset), rows, columns, ..*self }
    }

    /// Returns the transpose, which shares the memory.
    pub fn transposed(&self) -> Self {
        Matrix {
            start: self.start,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    /// Returns a row, whose elements must be contiguous.
    ///
    /// # Safety
    /// The matrix is in live, initialised memory, and nothing writes there while the slice lives.
    pub unsafe fn row(&self, row: usize) -> &[T] {
        let row = self.part(row, 0, 1, self.columns);
        assert!(row.column_stride == 1 && !row.start.is_null(), "a row with gaps, or none");
        // SAFETY: the row is inside the matrix and contiguous; nothing writes, by the caller's promise.
        unsafe { std::slice::from_raw_parts(row.start, row.columns) }
    }

    /// Copies the row `from [1, N]` to each row of this matrix, whose rows must be contiguous.
    ///
    /// # Safety
    /// Both are in live memory, apart from each other; nothing else writes to them or reads this matrix.
    pub unsafe fn set_rows(&self, from: Matrix<T>) {
        assert!(from.columns == self.columns && from.column_stride == 1 && self.column_stride == 1, "rows do not fit");
        for row in 0..self.rows {
            // SAFETY: the caller's promise; both rows are of equal length, and this one is inside the matrix.
            unsafe { std::ptr::copy_nonoverlapping(from.start, self.part(row, 0, 1, self.columns).start, self.columns) }
        }
    }

    /// Multiplies each row by the factor of its number; rows must be contiguous.
    ///
    /// # Safety
    /// The matrix is in live, initialised memory, and nothing else reads or writes it.
    pub unsafe fn scale_rows(&self, factors: &[T]) {
        assert!(factors.len() == self.rows && self.column_stride == 1, "rows do not fit");
        for (row, factor) in factors.iter().enumerate() {
            let row = self.part(row, 0, 1, self.columns).start;
            // SAFETY: the row is inside the matrix, and nothing else uses it, by the caller's promise.
            unsafe { std::slice::from_raw_parts_mut(row, self.columns) }.iter_mut().for_each(|x| *x = *x * *factor);
        }
    }

    /// Sets this matrix to `factor` times `a` times `b`, added to its present elements if `add`.
    ///
    /// # Safety
    /// All three are in live memory, this one apart from the others, and nothing else writes to them or reads this
    /// one.
    pub unsafe fn set_product(&self, a: Matrix<T>, b: Matrix<T>, factor: T, add: bool) {
        assert!((a.rows, a.columns, b.columns) == (self.rows, b.rows, self.columns), "shapes do not fit");
        // SAFETY: the caller's promise; the shapes fit.
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
