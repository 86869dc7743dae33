//! Arguments of kernels: pointers to them, and requirements on tensors.

use std::ffi::{CStr, c_void};

use tch::{Kind, Tensor};

/// Number of bytes that kernels load at once; rows begin at a multiple of it.
const ALIGNMENT: usize = 16;
/// Number of bfloat16 columns that a thread loads at once.
pub const PACK: i64 = (ALIGNMENT / size_of::<u16>()) as i64;

/// Returns a pointer to `value`, as a kernel's argument.
pub fn argument<T>(value: &mut T) -> *mut c_void {
    std::ptr::from_mut(value).cast()
}

/// Returns `float32` or `bfloat16`, by the kind of `tensor`; `None` for other kinds.
pub fn by_kind(tensor: &Tensor, float32: &'static CStr, bfloat16: &'static CStr) -> Option<&'static CStr> {
    match tensor.kind() {
        Kind::Float => Some(float32),
        Kind::BFloat16 => Some(bfloat16),
        _ => None,
    }
}

/// Returns whether kernels can take the rows of `tensor [N, C]`.
pub fn is_aligned_rows(tensor: &Tensor) -> bool {
    let row_bytes = tensor.size().last().map_or(0, |columns| *columns as usize * tensor.kind().elt_size_in_bytes());
    let is_aligned = (tensor.data_ptr() as usize).is_multiple_of(ALIGNMENT) && row_bytes.is_multiple_of(ALIGNMENT);
    is_aligned && tensor.is_contiguous() && matches!(tensor.kind(), Kind::Float | Kind::BFloat16)
}

/// Returns whether kernels of bfloat16 can take the rows of `tensor [N, C]`.
pub fn takes_rows(tensor: &Tensor) -> bool {
    tensor.kind() == Kind::BFloat16 && is_aligned_rows(tensor) && matches!(tensor.size()[..], [rows, _] if rows > 0)
}

/// Returns N and C of `rows [N, C]`.
pub fn size(rows: &Tensor) -> (i64, i64) {
    let size = rows.size();
    (size[0], size[1])
}

/// Panics unless all of `tensors` are `[N, C]` of the size of `like` and suit the kernels.
pub fn check_rows(like: &Tensor, tensors: &[&Tensor]) {
    assert!(tensors.iter().all(|t| takes_rows(t) && t.size() == like.size()), "rows do not suit the kernel");
}

/// Panics unless all of `tensors` are parameters `[C]` that suit the kernels.
pub fn check_columns(columns: i64, tensors: &[&Tensor]) {
    let suits = |t: &Tensor| {
        let is_aligned = (t.data_ptr() as usize).is_multiple_of(ALIGNMENT);
        t.kind() == Kind::BFloat16 && t.is_contiguous() && t.size() == [columns] && is_aligned
    };
    assert!(tensors.iter().all(|t| suits(t)), "parameters do not suit the kernel");
}
