//! Rounding of float32 to bfloat16: to the nearest, or stochastically, up or down with probabilities that keep the
//! mean. The draws come from a counter-based generator, so the draw for an element depends only on the seed, the
//! update and the element.
//!
//! The upper 16 of float32's 32 bits are bfloat16. A draw from 0 to 2^16 - 1 is added first, for element i of the
//! model:
//!
//! ```text
//! key = mix(mix(update + seed) + 1)
//! rounded = upper 16 bits of (bits + lower 16 bits of mix(2^32 / golden ratio * i + key))
//! ```
//!
//! Sources: `worker/kernels/rounding.cu`, and `convoy_cpu_round_stochastically` in `worker/libtorch/cpu_kernels.cpp`.

pub(super) mod on_gpu;

use tch::{Device, Kind, TchError, Tensor};

use super::cpu::{floats, functions, suits_cpu_kernel};
use super::cuda;

/// Constants of the mixing function (MurmurHash3's finaliser, A. Appleby).
const MIX: [i64; 2] = [0x85eb_ca6b, 0xc2b2_ae35];
/// Factor that spreads element numbers over 32 bits: 2^32 divided by the golden ratio.
const SPREAD: i64 = 0x9e37_79b1;
const MASK: i64 = 0xffff_ffff;

/// How float32 master weights are rounded to weights of less precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Rounds to the nearest.
    Nearest,
    /// Rounds up or down at random, with this seed.
    Stochastic(u64),
}

impl Rounding {
    /// Rounds `from [n]`, float32, into `to [n]`, both on one device. The first element is number `first` of the flat
    /// layout, and `updates`, a float32 scalar, is the number of updates so far. The result depends on nothing else,
    /// so a resumed run has identical weights.
    pub fn round(self, from: &Tensor, to: &Tensor, first: usize, updates: &Tensor) -> Result<(), TchError> {
        match self {
            Rounding::Nearest => to.shallow_clone().f_copy_(from),
            Rounding::Stochastic(seed) => round_stochastically(from, to, first as u64, seed, updates),
        }
    }
}

/// Rounds `from [n]`, float32, into `to [n]`, bfloat16, stochastically. Element i is number `first` + i of the model;
/// `update` is a float32 scalar on the weights' device.
pub fn round_stochastically(
    from: &Tensor,
    to: &Tensor,
    first: u64,
    seed: u64,
    update: &Tensor,
) -> Result<(), TchError> {
    if let Some(gpu) = cuda::of(from).filter(|_| to.kind() == Kind::BFloat16) {
        return on_gpu::round_stochastically(gpu, from, to, first as i64, folded(seed), update);
    }
    let is_cpu = suits_cpu_kernel(from) && to.device() == Device::Cpu && to.is_contiguous();
    if !is_cpu || to.kind() != Kind::BFloat16 {
        twin(from, to, first, seed, update);
        return Ok(());
    }
    assert_eq!(from.numel(), to.numel(), "rounding: lengths differ");
    let key = key(seed, &update.to_kind(Kind::Int64)).int64_value(&[]);
    // SAFETY: n contiguous float32 and n contiguous 16-bit numbers.
    unsafe {
        functions::convoy_cpu_round_stochastically(
            floats(from),
            to.data_ptr().cast(),
            from.numel() as i64,
            first,
            key as u32,
        );
    }
    Ok(())
}

/// [`round_stochastically`] by libtorch's operations.
pub fn twin(from: &Tensor, to: &Tensor, first: u64, seed: u64, update: &Tensor) {
    let n = from.numel() as i64;
    let numbers = Tensor::arange_start(first as i64, first as i64 + n, (Kind::Int64, from.device()));
    let random =
        mix(&((numbers * SPREAD).bitwise_and(MASK) + key(seed, &update.to_kind(Kind::Int64)))).bitwise_and(0xffff);
    let bits = from.view_dtype(Kind::Int).to_kind(Kind::Int64).bitwise_and(MASK);
    // Infinities and NaN have no neighbour to be rounded to.
    let random = random * from.isfinite().to_kind(Kind::Int64);
    let rounded = (bits + random).bitwise_and(0xffff_0000);
    let signed = rounded.where_self(&rounded.lt(1 << 31), &(&rounded - (1_i64 << 32)));
    to.shallow_clone().copy_(&signed.to_kind(Kind::Int).view_dtype(Kind::Float));
}

/// Returns a key of 32 bits for an update, an int64 scalar.
fn key(seed: u64, update: &Tensor) -> Tensor {
    mix(&(mix(&(update + folded(seed))) + 1))
}

/// Returns 32 bits that depend on all bits of the seed.
pub(super) fn folded(seed: u64) -> i64 {
    ((seed ^ (seed >> 32)) & 0xffff_ffff) as i64
}

/// Mixes the lower 32 bits of int64 numbers.
fn mix(x: &Tensor) -> Tensor {
    let mut h = x.bitwise_and(MASK);
    for (shift, factor) in [16, 13].into_iter().zip(MIX) {
        h = h.bitwise_xor_tensor(&h.bitwise_right_shift_tensor_scalar(shift));
        h = (h * factor).bitwise_and(MASK);
    }
    h.bitwise_xor_tensor(&h.bitwise_right_shift_tensor_scalar(16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::places::places;
    use crate::libtorch::random::Random;

    #[test]
    fn the_kernel_is_its_twin_and_keeps_the_mean() {
        let n = 40_000;
        let random = Random::seeded(3);
        let values = random.normal(&[n], (Kind::Float, Device::Cpu));
        let _ = values.narrow(0, 0, 1).fill_(f64::INFINITY);
        let _ = values.narrow(0, 1, 1).fill_(f64::NAN);
        let to = || Tensor::zeros([n], (Kind::BFloat16, Device::Cpu));
        let (ours, theirs, other_step) = (to(), to(), to());
        round_stochastically(&values, &ours, 7, 99, &Tensor::from(12.0_f32)).unwrap();
        twin(&values, &theirs, 7, 99, &Tensor::from(12.0_f32));
        round_stochastically(&values, &other_step, 7, 99, &Tensor::from(13.0_f32)).unwrap();
        // NaNs may differ in their bits.
        let numbers = |t: &Tensor| t.narrow(0, 2, n - 2).view_dtype(Kind::Int16).to_kind(Kind::Int64);
        let bits = |t: &Tensor| Vec::<i64>::try_from(numbers(t)).unwrap();
        assert_eq!(bits(&ours), bits(&theirs));
        assert_ne!(bits(&ours), bits(&other_step));
        assert!(ours.double_value(&[0]).is_infinite() && ours.double_value(&[1]).is_nan());

        // A third of the way between two neighbours: a third of the elements is rounded up.
        let third = 1.0 + 2.0_f64.powi(-7) / 3.0;
        let constant = Tensor::full([n], third, (Kind::Float, Device::Cpu));
        round_stochastically(&constant, &ours, 0, 1, &Tensor::from(1.0_f32)).unwrap();
        let up = ours.gt(1.0).sum(Kind::Int64).int64_value(&[]) as f64 / n as f64;
        let deviation = (1.0 / 3.0 * 2.0 / 3.0 / n as f64).sqrt();
        assert!((up - 1.0 / 3.0).abs() < 5.0 * deviation, "{up} were rounded up");
    }

    #[test]
    fn the_kernel_for_gpus_is_its_twin() {
        let random = Random::seeded(4);
        for (gpu, device) in places() {
            for (n, first, seed, update) in [(1, 0, 1, 1.0_f32), (70_001, 5_000_000_000_u64, u64::MAX - 5, 123_456.0)] {
                let values = random.normal(&[n], (Kind::Float, device));
                let to = || Tensor::zeros([n], (Kind::BFloat16, device));
                let (ours, theirs, update) = (to(), to(), Tensor::from(update).to_device(device));
                on_gpu::round_stochastically(gpu, &values, &ours, first as i64, folded(seed), &update).unwrap();
                twin(&values, &theirs, first, seed, &update);
                assert_eq!(ours, theirs);
            }
        }
    }
}
