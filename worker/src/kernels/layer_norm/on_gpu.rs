//! LayerNorm on a GPU, of bfloat16: `layer_norm.cu`.

use tch::{Kind, TchError, Tensor};

use super::stream::{Branch, LayerNormGradient, Normalised};
use crate::kernels::columns::on_gpu::sum_columns;
use crate::kernels::cuda::arguments::{PACK, argument, check_columns, check_rows, size, takes_rows};
use crate::kernels::cuda::launch::{Grid, Launch, WARP};
use crate::kernels::cuda::source::Source;
use crate::kernels::row_gradient::RowGradient;

/// The source and its kernels.
pub const SOURCE: Source = Source {
    text: include_str!("../../../kernels/layer_norm.cu"),
    kernels: &[c"layer_norm_backward_bfloat16", c"layer_norm_bfloat16"],
};

/// Limit of the number of packs in a row that LayerNorm's kernels take.
const ROW_PACKS_MAX: i64 = 256;
/// Threads in a block in which each warp has a row.
const ROWS_THREADS: i64 = 128;
/// Number of rows that a block takes at once in LayerNorm's backward; also in layer_norm.cu.
const ROWS_AT_ONCE: i64 = 2;

/// Limit of the number of columns that LayerNorm's kernels take.
pub const NORM_COLUMNS_MAX: i64 = PACK * ROW_PACKS_MAX;

/// Returns whether LayerNorm's kernels can take the rows of `tensor [N, C]`.
pub fn norm_takes_rows(tensor: &Tensor) -> bool {
    takes_rows(tensor) && norm_takes_columns(size(tensor).1)
}

/// Returns whether LayerNorm's kernels can take rows of `columns` columns.
pub fn norm_takes_columns(columns: i64) -> bool {
    columns % PACK == 0 && columns <= NORM_COLUMNS_MAX
}

/// Does the work of [`super::layer_norm`] for rows that pass [`norm_takes_rows`].
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
    // The sum takes the branch's memory: a thread reads an element before it writes it.
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

/// Does the work of [`super::layer_norm_backward`] for rows that pass [`norm_takes_rows`].
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
