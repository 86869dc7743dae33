//! Stochastic rounding on a GPU: `rounding.cu`.

use tch::{Kind, TchError, Tensor};

use crate::kernels::cuda::arguments::argument;
use crate::kernels::cuda::launch::{Launch, threads};
use crate::kernels::cuda::source::Source;

/// The source and its kernels.
pub const SOURCE: Source =
    Source { text: include_str!("../../../kernels/rounding.cu"), kernels: &[c"round_stochastically"] };

/// Does the work of [`super::round_stochastically`] on this GPU; `seed` is folded.
pub fn round_stochastically(
    gpu: &dyn Launch,
    from: &Tensor,
    to: &Tensor,
    mut first: i64,
    mut seed: i64,
    update: &Tensor,
) -> Result<(), TchError> {
    let mut n = from.numel() as i64;
    assert!(from.kind() == Kind::Float && update.kind() == Kind::Float && to.kind() == Kind::BFloat16, "kinds");
    assert!(to.numel() as i64 == n && from.is_contiguous() && to.is_contiguous(), "rounding: lengths differ");
    if n == 0 {
        return Ok(());
    }
    let (mut from, mut to, mut update) = (from.data_ptr(), to.data_ptr(), update.data_ptr());
    let count = n;
    let mut arguments = [
        argument(&mut from),
        argument(&mut to),
        argument(&mut n),
        argument(&mut first),
        argument(&mut seed),
        argument(&mut update),
    ];
    // SAFETY: n contiguous float32, n contiguous bfloat16, and a float32 scalar.
    unsafe { gpu.launch(c"round_stochastically", threads(count), &mut arguments) }
}
