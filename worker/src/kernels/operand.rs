//! Kinds that a device stores, and those that it computes with.

use tch::{Device, Kind, Tensor};

/// Whether `x` is of the kind that a CPU only stores.
pub fn is_only_stored(x: &Tensor) -> bool {
    x.kind() == Kind::BFloat16 && x.device() == Device::Cpu
}

/// `x` as it can be computed with; on a CPU, float32 for bfloat16.
pub fn operand(x: &Tensor) -> Tensor {
    if is_only_stored(x) { x.to_kind(Kind::Float) } else { x.shallow_clone() }
}
