//! Kernels of the model's layers, for bfloat16.

use std::ffi::CStr;

use tch::{Kind, TchError, Tensor};

use super::{ALIGNMENT, Grid, Launch, argument, is_aligned_rows};
use crate::kernels::RowGradient;
use crate::kernels::layer_norm::{Branch, LayerNormGradient, Normalised};

/// Columns that a thread loads at once.
const PACK: i64 = (ALIGNMENT / size_of::<u16>()) as i64;
/// Threads of a warp.
const WARP: i64 = 32;
/// Packs of a row that LayerNorm's kernels take, at most.
const ROW_PACKS_MAX: i64 = 256;
/// Threads of a block in which a warp has a row.
const ROWS_THREADS: i64 = 128;
/// Rows that a block takes at once in LayerNorm's backward; layer_norm.cu has it, too.
const ROWS_AT_ONCE: i64 = 2;
/// Threads of a block of the kernels that sum columns.
const COLUMN_THREADS: i64 = 256;
/// Of the kernel that adds up what their blocks have found.
const SUM_THREADS: u32 = 1024;

/// Columns of a row that LayerNorm's kernels take, at most.
pub const NORM_COLUMNS_MAX: i64 = PACK * ROW_PACKS_MAX;

/// Whether these kernels can take the rows of `tensor` [N, C].
pub fn takes_rows(tensor: &Tensor) -> bool {
    tensor.kind() == Kind::BFloat16 && is_aligned_rows(tensor) && matches!(tensor.size()[..], [rows, _] if rows > 0)
}

/// Whether LayerNorm's kernels can take them.
pub fn norm_takes_rows(tensor: &Tensor) -> bool {
    takes_rows(tensor) && norm_takes_columns(size(tensor).1)
}

/// Whether they can take rows of so many columns.
pub fn norm_takes_columns(columns: i64) -> bool {
    columns % PACK == 0 && columns <= NORM_COLUMNS_MAX
}

fn size(rows: &Tensor) -> (i64, i64) {
    let size = rows.size();
    (size[0], size[1])
}

/// Fails unless all of `tensors` are [N, C] of `like`'s size and suit.
fn check_rows(like: &Tensor, tensors: &[&Tensor]) {
    assert!(tensors.iter().all(|t| takes_rows(t) && t.size() == like.size()), "rows do not suit the kernel");
}

fn check_columns(columns: i64, tensors: &[&Tensor]) {
    let suits = |t: &Tensor| {
        let is_aligned = (t.data_ptr() as usize).is_multiple_of(ALIGNMENT);
        t.kind() == Kind::BFloat16 && t.is_contiguous() && t.size() == [columns] && is_aligned
    };
    assert!(tensors.iter().all(|t| suits(t)), "parameters do not suit the kernel");
}

/// [`crate::kernels::layer_norm::layer_norm`] of rows that [`norm_takes_rows`].
pub fn layer_norm(
    gpu: &dyn Launch,
    x: Tensor,
    branch: Option<Branch>,
    (weight, bias): (&Tensor, &Tensor),
    mut epsilon: f64,
) -> Result<Normalised, TchError> {
    let (mut rows, mut columns) = size(&x);
    check_rows(&x, &[&x]);
    check_columns(columns, &[weight, bias]);
    let (branch, of_branch) = branch.map_or((None, None), |branch| (Some(branch.rows), branch.bias));
    if let Some(branch) = &branch {
        check_rows(&x, &[branch]);
    }
    if let Some(bias) = &of_branch {
        check_columns(columns, &[bias]);
    }
    let y = x.f_empty_like()?;
    let [mean, rstd] = [(); 2].map(|()| Tensor::empty([rows, 1], (Kind::Float, x.device())));
    // The sum takes the branch's place: a thread reads an element of it before it writes it.
    let place = |tensor: &Option<Tensor>| tensor.as_ref().map_or(std::ptr::null_mut(), Tensor::data_ptr);
    let mut pointers = [
        x.data_ptr(),
        place(&branch),
        place(&of_branch),
        weight.data_ptr(),
        bias.data_ptr(),
        place(&branch),
        y.data_ptr(),
        mean.data_ptr(),
        rstd.data_ptr(),
    ];
    assert!(columns <= NORM_COLUMNS_MAX, "rows of {columns} are too wide for a warp");
    let at_once = ROWS_THREADS / WARP;
    let grid = Grid { blocks: ((rows + at_once - 1) / at_once) as u32, threads: ROWS_THREADS as u32 };
    let mut arguments: Vec<_> = pointers.iter_mut().map(argument).collect();
    arguments.extend([argument(&mut rows), argument(&mut columns), argument(&mut epsilon)]);
    // SAFETY: contiguous, aligned tensors of these kinds and sizes.
    unsafe { gpu.launch(c"layer_norm_bfloat16", grid, &mut arguments)? };
    Ok(Normalised { x: branch.unwrap_or(x), y, mean, rstd })
}

/// [`crate::kernels::layer_norm::layer_norm_backward`] of rows that [`norm_takes_rows`].
pub fn layer_norm_backward(
    gpu: &dyn Launch,
    (dy, x): (&Tensor, &Tensor),
    (mean, rstd): (&Tensor, &Tensor),
    weight: &Tensor,
    dresidual: Option<&Tensor>,
) -> Result<LayerNormGradient, TchError> {
    let (mut rows, mut columns) = size(x);
    check_rows(x, &[dy, x]);
    check_columns(columns, &[weight]);
    if let Some(dresidual) = dresidual {
        check_rows(x, &[dresidual]);
    }
    let is_statistic = |t: &Tensor| t.kind() == Kind::Float && t.is_contiguous() && t.numel() as i64 == rows;
    assert!([mean, rstd].into_iter().all(is_statistic), "statistics do not suit the kernel");
    let kernel = c"layer_norm_backward_bfloat16";
    assert!(columns <= NORM_COLUMNS_MAX, "rows of {columns} are too wide for a block");
    let threads = ((columns / PACK + WARP - 1) / WARP * WARP) as u32;
    let blocks = i64::from(gpu.resident_blocks(kernel, threads)?).min((rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE);
    let grid = Grid { blocks: blocks as u32, threads };
    let dx = x.f_empty_like()?;
    let sums = Tensor::empty([i64::from(grid.blocks), 3, columns], (Kind::Float, x.device()));
    let mut pointers = [
        dy.data_ptr(),
        x.data_ptr(),
        mean.data_ptr(),
        rstd.data_ptr(),
        weight.data_ptr(),
        dresidual.map_or(std::ptr::null_mut(), Tensor::data_ptr),
        dx.data_ptr(),
        sums.data_ptr(),
    ];
    let mut arguments: Vec<_> = pointers.iter_mut().map(argument).collect();
    arguments.extend([argument(&mut rows), argument(&mut columns)]);
    // SAFETY: contiguous, aligned tensors of these kinds and sizes.
    unsafe { gpu.launch(kernel, grid, &mut arguments)? };
    let sums = sum_columns(gpu, &sums.view([i64::from(grid.blocks), -1]))?.view([3, columns]);
    let [weight, bias, sum] = [0, 1, 2].map(|i| sums.select(0, i));
    Ok(LayerNormGradient { x: RowGradient { rows: dx, sum: Some(sum) }, weight, bias })
}

/// The sums of the columns of `parts` [N, C], float32.
fn sum_columns(gpu: &dyn Launch, parts: &Tensor) -> Result<Tensor, TchError> {
    let (mut rows, mut columns) = size(parts);
    let sums = Tensor::f_empty([columns], (Kind::Float, parts.device()))?;
    let mut pointers = [parts.data_ptr(), sums.data_ptr()];
    let mut arguments: Vec<_> = pointers.iter_mut().map(argument).collect();
    let grid = Grid { blocks: ((columns + WARP - 1) / WARP) as u32, threads: SUM_THREADS };
    arguments.extend([argument(&mut rows), argument(&mut columns)]);
    assert!(parts.kind() == Kind::Float && parts.is_contiguous(), "sums do not suit the kernel");
    // SAFETY: contiguous float32 of these sizes.
    unsafe { gpu.launch(c"sum_columns", grid, &mut arguments)? };
    Ok(sums)
}

/// Runs `kernel`, which takes `inputs`, puts rows of `columns` into `made`, if there is such a place, and sums columns.
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

/// The sums of the columns of `rows` [N, C] that [`takes_rows`], float32.
pub fn column_sums(gpu: &dyn Launch, rows: &Tensor) -> Result<Tensor, TchError> {
    with_column_sums(gpu, c"column_sums_bfloat16", &[rows], None, size(rows).1)
}

/// [`crate::kernels::columns::join`] of parts that [`takes_rows`].
pub fn join(gpu: &dyn Launch, parts: [&Tensor; 3]) -> Result<RowGradient, TchError> {
    let (rows, columns) = size(parts[0]);
    let joined = Tensor::f_empty([rows, 3 * columns], (Kind::BFloat16, parts[0].device()))?;
    let sum = with_column_sums(gpu, c"join_bfloat16", &parts, Some(&joined), 3 * columns)?;
    Ok(RowGradient { rows: joined, sum: Some(sum) })
}
