//! Random numbers that one seed determines.
//!
//! libtorch has one generator for a process. Who seeds it and draws from it in two calls gets other numbers whenever
//! another thread draws in between, so whoever needs the numbers of a seed holds the generator: [`Random`] is that
//! hold. Convoy draws in no other way, which `clippy.toml` sees to.

#![allow(clippy::disallowed_methods, reason = "the one place that seeds libtorch's generator and draws from it")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use tch::{Device, Kind, Tensor};

static GENERATOR: Mutex<()> = Mutex::new(());

/// libtorch's generator, held by one thread from its seed to its last draw. A second one on the same thread would wait
/// for itself.
#[derive(Debug)]
pub struct Random {
    _alone: MutexGuard<'static, ()>,
}

impl Random {
    /// Waits until nobody else draws, and seeds the generator.
    pub fn seeded(seed: u64) -> Self {
        // A thread that panicked while it drew leaves nothing behind that the seed does not replace.
        let alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        tch::manual_seed(seed as i64);
        Random { _alone: alone }
    }

    /// Returns a tensor of `shape` from N(0, 1).
    pub fn normal(&self, shape: &[i64], of: (Kind, Device)) -> Tensor {
        Tensor::randn(shape, of)
    }

    /// Returns a tensor of `shape` of whole numbers from `low` up to, and without, `high`.
    pub fn integers(&self, low: i64, high: i64, shape: &[i64], of: (Kind, Device)) -> Tensor {
        Tensor::randint_low(low, high, shape, of)
    }

    /// Fills `tensor` from N(0, `deviation`²), in place.
    pub fn fill_normal(&self, tensor: &mut Tensor, deviation: f64) {
        let _ = tensor.normal_(0.0, deviation);
    }

    /// Fills `tensor` with numbers from 0 up to 1, in place.
    pub fn fill_uniform(&self, tensor: &mut Tensor) {
        let _ = tensor.uniform_(0.0, 1.0);
    }

    /// Draws an index of `probabilities [N]`, which need not add up to 1.
    pub fn index(&self, probabilities: &Tensor) -> i64 {
        probabilities.multinomial(1, false).int64_value(&[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_while_other_threads_draw() {
        let draw = |seed| {
            let random = Random::seeded(seed);
            let of = (Kind::Float, Device::Cpu);
            (0..50).map(|_| random.normal(&[64], of).sum(Kind::Double).double_value(&[])).collect::<Vec<_>>()
        };
        let expected = draw(1);
        std::thread::scope(|scope| {
            scope.spawn(|| (2..40).for_each(|seed| drop(draw(seed))));
            (0..40).for_each(|_| assert_eq!(draw(1), expected));
        });
        assert_ne!(draw(2), expected);
    }
}
