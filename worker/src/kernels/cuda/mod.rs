//! Convoy's kernels for GPUs: sources in `worker/kernels`, compiled for this machine's by NVRTC when a job starts, and kept for
//! the next one.
//!
//! - [`compiler`]: NVRTC. [`driver`]: what the driver does with the result. [`cache`]: compiled kernels on disk.
//! - [`layers`]: kernels of the model's layers; this file has the others. [`products`]: matrix products, by cuBLASLt.
//! - [`Launch`]: where kernels run: a GPU, or, in tests, a CPU.
//!
//! Where they cannot be had, for whatever reason, the twins of libtorch's operations serve: a job is slower, and no less right.

mod cache;
mod compiler;
mod driver;
pub mod layers;
pub mod products;

use std::ffi::{CStr, c_void};
use std::sync::OnceLock;

use tch::{Device, Kind, TchError, Tensor};

pub use driver::Gpu;

/// Threads of a block: a power of two.
const THREADS: u32 = 512;
/// Of cross-entropy, which has a block for each row: the rows under way should fit into the cache, to be read again.
const CROSS_ENTROPY_THREADS: u32 = 1024;
/// Blocks that keep any GPU busy, where each takes what is there in turns.
const BLOCKS_MAX: i64 = 132 * 8;
/// Bytes that kernels load at once: rows begin at a multiple of them.
const ALIGNMENT: usize = 16;

/// All sources, in the order in which they are compiled as one.
const SOURCES: [&str; 7] = [
    include_str!("../../../kernels/common.cuh"),
    include_str!("../../../kernels/rounding.cu"),
    include_str!("../../../kernels/adamw.cu"),
    include_str!("../../../kernels/columns.cu"),
    include_str!("../../../kernels/cross_entropy.cu"),
    include_str!("../../../kernels/layer_norm.cu"),
    include_str!("../../../kernels/norm.cu"),
];

/// The kernels, by the names that they have in their sources.
pub const KERNELS: [&CStr; 12] = [
    c"adamw_float32",
    c"adamw_bfloat16",
    c"column_sums_bfloat16",
    c"cross_entropy_float32",
    c"cross_entropy_bfloat16",
    c"join_bfloat16",
    c"layer_norm_backward_bfloat16",
    c"layer_norm_bfloat16",
    c"round_stochastically",
    c"sum_columns",
    c"sum_of_squares_bfloat16",
    c"sum_of_squares_float32",
];

static GPU: OnceLock<Gpu> = OnceLock::new();

/// Why there are no kernels of Convoy's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoKernels(String);

/// Makes kernels and products ready on GPU number `device`, which libtorch has been told to use. A process has one. Of the two, one may
/// be there without the other, which the error says.
pub fn prepare(device: usize) -> Result<(), NoKernels> {
    let products =
        products::prepare(device).map_err(|message| NoKernels(format!("matrix products are libtorch's: {message}")));
    match (prepare_kernels(device), products) {
        (Err(NoKernels(kernels)), Err(NoKernels(products))) => Err(NoKernels(format!("{kernels}; {products}"))),
        (kernels, products) => kernels.and(products),
    }
}

fn prepare_kernels(device: usize) -> Result<(), NoKernels> {
    if GPU.get().is_none() {
        // The first of two at once stays.
        let _ = GPU.set(Gpu::prepare(device, &SOURCES.concat())?);
    }
    Ok(())
}

/// The GPU on which `tensor` lies, where it has kernels.
pub fn of(tensor: &Tensor) -> Option<&'static Gpu> {
    let gpu = GPU.get()?;
    (tensor.device() == Device::Cuda(gpu.device())).then_some(gpu)
}

/// Whether there are kernels on `device`.
pub fn are_on(device: Device) -> bool {
    GPU.get().is_some_and(|gpu| device == Device::Cuda(gpu.device()))
}

/// How many run a kernel.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    /// Blocks.
    pub blocks: u32,
    /// Threads of each: whole warps.
    pub threads: u32,
}

/// Where kernels run.
pub trait Launch {
    /// How many blocks of so many threads run `kernel` at once.
    fn resident_blocks(&self, kernel: &CStr, threads: u32) -> Result<u32, TchError>;

    /// Starts `kernel`, one of [`KERNELS`], with pointers to its arguments, after what is under way already.
    ///
    /// # Safety
    /// The arguments are as many as the kernel's and of their types, and what they point to is as it expects.
    unsafe fn launch(&self, kernel: &CStr, grid: Grid, arguments: &mut [*mut c_void]) -> Result<(), TchError>;
}

/// The constants of an update, as `adamw.cu` has them.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct AdamWConstants {
    /// Learning rate of this update.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Added to the denominator.
    pub epsilon: f64,
}

/// A pointer to `value`, as a kernel's argument.
fn argument<T>(value: &mut T) -> *mut c_void {
    std::ptr::from_mut(value).cast()
}

/// `kernel_float32` or `kernel_bfloat16`, by the kind of `tensor`.
fn by_kind(tensor: &Tensor, float32: &'static CStr, bfloat16: &'static CStr) -> Option<&'static CStr> {
    match tensor.kind() {
        Kind::Float => Some(float32),
        Kind::BFloat16 => Some(bfloat16),
        _ => None,
    }
}

/// Whether kernels can take the rows of `tensor` [N, C].
pub fn is_aligned_rows(tensor: &Tensor) -> bool {
    let row_bytes = tensor.size().last().map_or(0, |columns| *columns as usize * tensor.kind().elt_size_in_bytes());
    let is_aligned = (tensor.data_ptr() as usize).is_multiple_of(ALIGNMENT) && row_bytes.is_multiple_of(ALIGNMENT);
    is_aligned && tensor.is_contiguous() && matches!(tensor.kind(), Kind::Float | Kind::BFloat16)
}

/// [`super::cross_entropy::cross_entropy`] of `logits` that [`is_aligned_rows`], in their place; returns the losses.
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
    // SAFETY: contiguous tensors of these kinds and sizes; targets are below the vocabulary, which the token stream checks.
    unsafe { gpu.launch(kernel, Grid { blocks: rows as u32, threads: CROSS_ENTROPY_THREADS }, &mut arguments)? };
    Ok(losses)
}

/// How new weights are rounded to bfloat16, as `adamw.cu` has it; `seed` is folded.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct AdamWRounding {
    /// Which element of the model the first is.
    pub first: i64,
    /// What the draws depend on.
    pub seed: i64,
    /// 1 to draw, 0 for the nearest.
    pub is_stochastic: i64,
}

/// Runs of elements that are all decayed or all not, in turns, as `adamw.cu` has them.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct AdamWRuns {
    ends: *mut c_void,
    count: i64,
    first_is_decayed: i64,
}

/// [`super::adamw::adamw`]; the three scalars are float32 and where the weights are.
pub fn adamw(
    gpu: &dyn Launch,
    mut constants: AdamWConstants,
    mut rounding: AdamWRounding,
    slice: &super::adamw::AdamWSlice,
    scalars: &super::adamw::AdamWScalars<'_>,
) -> Result<(), TchError> {
    let (range, runs) = (&slice.whole, &slice.run_ends);
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
    // A thread takes four elements at once.
    let grid = Grid { blocks: blocks(n, 4 * i64::from(THREADS)), threads: THREADS };
    // SAFETY: four contiguous tensors of n elements and these kinds, n of bfloat16 or none, runs of which the last ends at n, and
    // three float32 scalars.
    unsafe { gpu.launch(kernel, grid, &mut arguments) }
}

/// [`super::rounding::round_stochastically`]; `seed` is folded.
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

/// Puts the sum of the squares of `x` [n] into `sums`, float64, in parts: one for each block.
pub fn sum_of_squares(gpu: &dyn Launch, x: &Tensor, sums: &Tensor) -> Result<(), TchError> {
    let kernel = by_kind(x, c"sum_of_squares_float32", c"sum_of_squares_bfloat16");
    let kernel = kernel.ok_or_else(|| TchError::Torch("sum_of_squares: this kind does not suit the kernel".into()))?;
    assert!(x.is_contiguous() && sums.kind() == Kind::Double && sums.is_contiguous(), "norm: kinds");
    let grid = Grid { blocks: sums.numel() as u32, threads: THREADS };
    let (mut n, mut x, mut sums) = (x.numel() as i64, x.data_ptr(), sums.data_ptr());
    let mut arguments = [argument(&mut x), argument(&mut n), argument(&mut sums)];
    // SAFETY: n contiguous elements of this kind, and one float64 for each block.
    unsafe { gpu.launch(kernel, grid, &mut arguments) }
}

/// Blocks for `n` elements, of which each takes `of_each` at once.
pub fn blocks(n: i64, of_each: i64) -> u32 {
    (n + of_each - 1).div_euclid(of_each).clamp(1, BLOCKS_MAX) as u32
}

/// Threads for `n` elements, one by one.
fn threads(n: i64) -> Grid {
    Grid { blocks: blocks(n, THREADS.into()), threads: THREADS }
}

#[cfg(test)]
pub mod places {
    //! Where tests try the kernels.

    use std::ffi::{c_char, c_uint};
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::libtorch::{cuda, streams};

    unsafe extern "C" {
        fn convoy_launch_on_cpu(
            name: *const c_char,
            blocks: c_uint,
            threads: c_uint,
            arguments: *mut *mut c_void,
        ) -> bool;
    }

    /// Runs kernels on tensors in host memory: their sources as a CPU's compiler takes them (`worker/kernels/on_cpu.cpp`).
    struct OnCpu;

    impl Launch for OnCpu {
        fn resident_blocks(&self, _kernel: &CStr, _threads: u32) -> Result<u32, TchError> {
            Ok(3)
        }

        unsafe fn launch(&self, kernel: &CStr, grid: Grid, arguments: &mut [*mut c_void]) -> Result<(), TchError> {
            static TURN: Mutex<()> = Mutex::new(());
            let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: by the caller's promise; one at a time, as the function asks for.
            let is_there =
                unsafe { convoy_launch_on_cpu(kernel.as_ptr(), grid.blocks, grid.threads, arguments.as_mut_ptr()) };
            assert!(is_there, "there is no {kernel:?}");
            Ok(())
        }
    }

    /// This CPU, and a GPU where there is one; with `CONVOY_TEST_ON_GPU` there must be one.
    pub fn places() -> Vec<(&'static dyn Launch, Device)> {
        let mut places: Vec<(&dyn Launch, Device)> = vec![(&OnCpu, Device::Cpu)];
        let gpus = cuda::load();
        if std::env::var_os("CONVOY_TEST_ON_GPU").is_some() || gpus.is_ok() {
            gpus.unwrap();
            streams::set_device(0).unwrap();
            prepare(0).unwrap();
            places.push((GPU.get().unwrap(), Device::Cuda(0)));
        }
        places
    }

    /// The GPU, where there is one; where there is none it says that a test skips.
    pub fn gpu() -> Option<Device> {
        let device = places().into_iter().map(|(_, device)| device).find(|device| device.is_cuda());
        if device.is_none() {
            println!("skipped: there is no GPU here");
        }
        device
    }

    /// Fails unless no element of `a` differs from `b`'s by more than `error` times the largest of them.
    pub fn assert_close(a: &Tensor, b: &Tensor, error: f64) {
        assert_eq!(a.size(), b.size());
        let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
        let off = ((&a - &b).abs().max() / b.abs().max().clamp_min(1e-30)).double_value(&[]);
        assert!(off <= error, "off by {off:e}: {a:?} {b:?}");
    }
}
