//! Sums of squares on a GPU: `norm.cu`.

use tch::{Kind, TchError, Tensor};

use crate::kernels::cuda::arguments::{argument, by_kind};
use crate::kernels::cuda::launch::{self, Grid, Launch, THREADS};
use crate::kernels::cuda::source::Source;

/// The source and its kernels.
pub const SOURCE: Source = Source {
    text: include_str!("../../../kernels/norm.cu"),
    kernels: &[c"sum_of_squares_float32", c"sum_of_squares_bfloat16"],
};

/// Number of elements for each block on a GPU: large enough for few sums, small enough for many blocks.
pub const BLOCK_ELEMENTS: i64 = 1 << 14;

/// Does the work of [`super::sum_of_squares`] for parts on this GPU.
pub fn sum_of_squares(gpu: &dyn Launch, parts: &[Tensor]) -> Result<Tensor, TchError> {
    let blocks = |part: &Tensor| i64::from(launch::blocks(part.numel() as i64, BLOCK_ELEMENTS));
    let device = parts[0].device();
    let sums = Tensor::f_empty([parts.iter().map(blocks).sum::<i64>()], (Kind::Double, device))?;
    let mut at = 0;
    for part in parts {
        put_sum_of_squares(gpu, part, &sums.narrow(0, at, blocks(part)))?;
        at += blocks(part);
    }
    sums.f_sum(Kind::Double)
}

/// Writes the sum of the squares of `x [n]` into `sums`, float64, in parts: one for each block.
fn put_sum_of_squares(gpu: &dyn Launch, x: &Tensor, sums: &Tensor) -> Result<(), TchError> {
    let kernel = by_kind(x, c"sum_of_squares_float32", c"sum_of_squares_bfloat16");
    let kernel = kernel.ok_or_else(|| TchError::Torch("sum_of_squares: this kind does not suit the kernel".into()))?;
    assert!(x.is_contiguous() && sums.kind() == Kind::Double && sums.is_contiguous(), "norm: kinds");
    let grid = Grid { blocks: sums.numel() as u32, threads: THREADS };
    let (mut n, mut x, mut sums) = (x.numel() as i64, x.data_ptr(), sums.data_ptr());
    let mut arguments = [argument(&mut x), argument(&mut n), argument(&mut sums)];
    // SAFETY: n contiguous elements of this kind, and one float64 for each block.
    unsafe { gpu.launch(kernel, grid, &mut arguments) }
}
