//! Kinds that a device only stores, and kinds that it computes with.

use tch::{Device, Kind, Tensor};

/// Returns whether `x` is of a kind that a CPU only stores.
pub fn is_only_stored(x: &Tensor) -> bool {
    x.kind() == Kind::BFloat16 && x.device() == Device::Cpu
}

/// Returns `x` in a kind to compute with: on a CPU, float32 for bfloat16.
pub fn operand(x: &Tensor) -> Tensor {
    if is_only_stored(x) { x.to_kind(Kind::Float) } else { x.shallow_clone() }
}
