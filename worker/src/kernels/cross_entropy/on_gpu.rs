//! Cross-entropy on a GPU: `cross_entropy.cu`.

use tch::{Kind, TchError, Tensor};

use crate::kernels::cuda::arguments::{argument, by_kind, is_aligned_rows};
use crate::kernels::cuda::launch::{Grid, Launch};
use crate::kernels::cuda::source::Source;

/// The source and its kernels.
pub const SOURCE: Source = Source {
    text: include_str!("../../../kernels/cross_entropy.cu"),
    kernels: &[c"cross_entropy_float32", c"cross_entropy_bfloat16"],
};

/// Threads in a block. Each row has a block, and the rows under way should fit into the cache, since they are read
/// again.
const THREADS: u32 = 1024;

/// Does the work of [`super::cross_entropy`] in place, for `logits` that pass [`is_aligned_rows`]; returns the
/// losses.
pub fn cross_entropy(
    gpu: &dyn Launch,
    logits: &Tensor,
    targets: &Tensor,
    vocabulary: i64,
    scale: f64,
) -> Result<Tensor, TchError> {
    let kernel = by_kind(logits, c"cross_entropy_float32", c"cross_entropy_bfloat16");
    let kernel = kernel.filter(|_| is_aligned_rows(logits));
    let kernel = kernel.ok_or_else(|| TchError::Torch("cross_entropy: these logits do not suit the kernel".into()))?;
    let (rows, stride) = (logits.size()[0], logits.size()[1]);
    let targets = targets.contiguous();
    assert!(targets.kind() == Kind::Int64 && targets.size() == [rows] && vocabulary <= stride, "shapes do not fit");
    let losses = Tensor::empty([rows], (Kind::Double, logits.device()));
    if rows == 0 {
        return Ok(losses);
    }
    let (mut logits, mut targets, mut places) = (logits.data_ptr(), targets.data_ptr(), losses.data_ptr());
    let (mut stride, mut vocabulary, mut scale) = (stride, vocabulary, scale);
    let mut arguments = [
        argument(&mut logits),
        argument(&mut targets),
        argument(&mut places),
        argument(&mut stride),
        argument(&mut vocabulary),
        argument(&mut scale),
    ];
    // SAFETY: contiguous tensors of these kinds and sizes; the token stream checks that targets are below the
    // vocabulary.
    unsafe { gpu.launch(kernel, Grid { blocks: rows as u32, threads: THREADS }, &mut arguments)? };
    Ok(losses)
}
