//! Sums of columns on a GPU, of rows that are joined side by side or taken as they are: `columns.cu`.

use std::ffi::CStr;

use tch::{Kind, TchError, Tensor};

use crate::kernels::cuda::arguments::{PACK, argument, check_rows, size};
use crate::kernels::cuda::launch::{Grid, Launch, WARP};
use crate::kernels::cuda::source::Source;
use crate::kernels::row_gradient::RowGradient;

/// The source and its kernels.
pub const SOURCE: Source = Source {
    text: include_str!("../../../kernels/columns.cu"),
    kernels: &[c"column_sums_bfloat16", c"join_bfloat16", c"sum_columns"],
};

/// Threads in a block of the kernels that sum columns.
const COLUMN_THREADS: i64 = 256;
/// Threads in a block of the kernel that adds up the blocks' sums.
const SUM_THREADS: u32 = 1024;

/// Returns the sums of the columns of `parts [N, C]`, float32.
pub fn sum_columns(gpu: &dyn Launch, parts: &Tensor) -> Result<Tensor, TchError> {
    let (mut rows, mut columns) = size(parts);
    let sums = Tensor::f_empty([columns], (Kind::Float, parts.device()))?;
    let mut pointers = [parts.data_ptr(), sums.data_ptr()];
    let mut arguments: Vec<_> = pointers.iter_mut().map(argument).collect();
    let grid = Grid { blocks: ((columns + WARP - 1) / WARP) as u32, threads: SUM_THREADS };
    arguments.extend([argument(&mut rows), argument(&mut columns)]);
    assert!(parts.kind() == Kind::Float && parts.is_contiguous(), "sums do not suit the kernel");
    // SAFETY: contiguous float32 tensors of these sizes.
    unsafe { gpu.launch(c"sum_columns", grid, &mut arguments)? };
    Ok(sums)
}

/// Runs `kernel` on `inputs`. It writes rows of `columns` columns into `made`, if that is given, and sums columns.
fn with_column_sums(
    gpu: &dyn Launch,
    kernel: &CStr,
    inputs: &[&Tensor],
    made: Option<&Tensor>,
    mut columns: i64,
) -> Result<Tensor, TchError> {
    check_rows(inputs[0], inputs);
    let (mut rows, _) = size(inputs[0]);
    let across = (columns + WARP * PACK - 1) / (WARP * PACK);
    let at_once = COLUMN_THREADS / WARP;
    let strips = i64::from(gpu.resident_blocks(kernel, COLUMN_THREADS as u32)?) / across;
    let strips = strips.clamp(1, (rows + at_once - 1) / at_once);
    let sums = Tensor::f_empty([strips, columns], (Kind::Float, inputs[0].device()))?;
    let mut pointers: Vec<_> = inputs.iter().copied().chain(made).chain([&sums]).map(Tensor::data_ptr).collect();
    let mut arguments: Vec<_> = pointers.iter_mut().map(argument).collect();
    arguments.extend([argument(&mut rows), argument(&mut columns)]);
    let grid = Grid { blocks: (strips * across) as u32, threads: COLUMN_THREADS as u32 };
    // SAFETY: contiguous, aligned tensors of these kinds and sizes.
    unsafe { gpu.launch(kernel, grid, &mut arguments)? };
    sum_columns(gpu, &sums)
}

/// Returns the sums of the columns of `rows [N, C]`, float32. The rows must pass
/// [`takes_rows`](crate::kernels::cuda::arguments::takes_rows).
pub fn column_sums(gpu: &dyn Launch, rows: &Tensor) -> Result<Tensor, TchError> {
    with_column_sums(gpu, c"column_sums_bfloat16", &[rows], None, size(rows).1)
}

/// Does the work of [`super::join`] for parts that pass [`takes_rows`](crate::kernels::cuda::arguments::takes_rows).
pub fn join(gpu: &dyn Launch, parts: [&Tensor; 3]) -> Result<RowGradient, TchError> {
    let (rows, columns) = size(parts[0]);
    let joined = Tensor::f_empty([rows, 3 * columns], (Kind::BFloat16, parts[0].device()))?;
    let sum = with_column_sums(gpu, c"join_bfloat16", &parts, Some(&joined), 3 * columns)?;
    Ok(RowGradient { rows: joined, sum: Some(sum) })
}
