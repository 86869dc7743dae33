//! The update on a GPU, in one pass over all elements: `adamw.cu`.

use std::ffi::c_void;

use tch::{Kind, TchError, Tensor};

use super::slice::{AdamWRange, AdamWScalars, AdamWSlice};
use crate::kernels::cuda::arguments::{argument, by_kind};
use crate::kernels::cuda::launch::{Grid, Launch, THREADS, blocks};
use crate::kernels::cuda::source::Source;
use crate::kernels::rounding::{Rounding, folded};
use crate::libtorch::AdamW;

/// The source and its kernels.
pub const SOURCE: Source =
    Source { text: include_str!("../../../kernels/adamw.cu"), kernels: &[c"adamw_float32", c"adamw_bfloat16"] };

/// Constants of an update, laid out as in `adamw.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct AdamWConstants {
    /// Learning rate of this update.
    learning_rate: f64,
    /// Decay of the first moment.
    beta1: f64,
    /// Decay of the second moment.
    beta2: f64,
    /// Decoupled weight decay.
    weight_decay: f64,
    /// Constant that is added to the denominator.
    epsilon: f64,
}

impl From<&AdamW> for AdamWConstants {
    fn from(constants: &AdamW) -> Self {
        let AdamW { learning_rate, beta1, beta2, weight_decay, epsilon } = *constants;
        AdamWConstants { learning_rate, beta1, beta2, weight_decay, epsilon }
    }
}

/// Rounding of new weights to bfloat16, laid out as in `adamw.cu`; `seed` is folded.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct AdamWRounding {
    /// Number of the first element in the model.
    first: i64,
    /// Seed of the draws.
    seed: i64,
    /// 1 for stochastic rounding, 0 for rounding to the nearest.
    is_stochastic: i64,
}

impl AdamWRounding {
    /// Describes `rounding` for the elements of `range`.
    fn of(rounding: Rounding, range: &AdamWRange) -> Self {
        match rounding {
            Rounding::Nearest => AdamWRounding::default(),
            Rounding::Stochastic(seed) => {
                AdamWRounding { first: range.first as i64, seed: folded(seed), is_stochastic: 1 }
            }
        }
    }
}

/// Runs of elements that are all decayed or all not, in turns, laid out as in `adamw.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct AdamWRuns {
    ends: *mut c_void,
    count: i64,
    first_is_decayed: i64,
}

/// Does the work of [`super::adamw`] on this GPU; the three scalars are float32 and on the weights' device.
pub fn adamw(
    gpu: &dyn Launch,
    constants: &AdamW,
    rounding: Rounding,
    slice: &AdamWSlice,
    scalars: &AdamWScalars<'_>,
) -> Result<(), TchError> {
    let (range, runs) = (&slice.whole, &slice.run_ends);
    let (mut constants, mut rounding) = (AdamWConstants::from(constants), AdamWRounding::of(rounding, range));
    let kernel = by_kind(&range.gradients, c"adamw_float32", c"adamw_bfloat16");
    let kernel = kernel.ok_or_else(|| TchError::Torch("adamw: these gradients do not suit the kernel".into()))?;
    let n = range.parameters.numel() as i64;
    if n == 0 {
        return Ok(());
    }
    let floats = [&range.parameters, &range.exp_avg, &range.exp_avg_sq, scalars.step, scalars.grad_scale, scalars.skip];
    assert!(floats.iter().all(|t| t.kind() == Kind::Float && t.is_contiguous()) && range.gradients.is_contiguous());
    assert!([&range.gradients, &range.exp_avg, &range.exp_avg_sq].iter().all(|t| t.numel() as i64 == n));
    let suits =
        |rounded: &Tensor| rounded.kind() == Kind::BFloat16 && rounded.is_contiguous() && rounded.numel() as i64 == n;
    assert!(range.rounded.as_ref().is_none_or(suits), "adamw: rounded weights do not suit the kernel");
    assert!(runs.kind() == Kind::Int64 && runs.is_contiguous() && runs.numel() > 0, "adamw: no runs");
    let first_is_decayed = slice.runs.first().is_some_and(|(_, is_decayed)| *is_decayed).into();
    let mut runs = AdamWRuns { ends: runs.data_ptr(), count: runs.numel() as i64, first_is_decayed };
    let mut pointers = [&range.parameters, &range.gradients, &range.exp_avg, &range.exp_avg_sq].map(Tensor::data_ptr);
    let mut rounded = range.rounded.as_ref().map_or(std::ptr::null_mut(), Tensor::data_ptr);
    let mut scalars = [scalars.step, scalars.grad_scale, scalars.skip].map(Tensor::data_ptr);
    let mut arguments: Vec<*mut c_void> = pointers.iter_mut().map(argument).collect();
    arguments.extend([argument(&mut rounded), argument(&mut runs)]);
    arguments.extend(scalars.iter_mut().map(argument));
    arguments.extend([argument(&mut constants), argument(&mut rounding)]);
    // Each thread takes four elements at once.
    let grid = Grid { blocks: blocks(n, 4 * i64::from(THREADS)), threads: THREADS };
    // SAFETY: four contiguous tensors of n elements and these kinds, n of bfloat16 or none, runs of which the last
    // ends at n, and three float32 scalars.
    unsafe { gpu.launch(kernel, grid, &mut arguments) }
}
