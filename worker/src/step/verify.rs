//! Verifies that all ranks hold identical state. Training keeps it identical, bit for bit. If it differs, a fault of
//! memory or of a computation has changed it on some rank, and would spread into the model and its checkpoints.
//!
//! A digest is computed on the state's device, beside the exchange of gradients, and compared when the results of the
//! step are read, so nothing waits for it. Each tensor has a digest of its own, too, which ranks exchange only when
//! they differ.

use common::host_name::host_name;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::readback::Readback;
use crate::collectives::{Collectives, CollectivesError, Label, Pending};
use crate::error::JobError;

/// A tensor that all ranks hold identically.
pub struct Replica {
    /// Name for messages.
    pub name: String,
    /// Values, float32 or bfloat16, flat.
    pub values: Tensor,
}

/// A comparison under way.
pub struct Comparison {
    digests: Tensor,
    all: Tensor,
    pending: Pending,
}

/// A comparison whose result is on its way to the host.
pub struct Compared {
    /// Digest of each of this rank's tensors, int64.
    digests: Tensor,
    /// Digest of each rank's digests, int64.
    all: Readback,
}

/// Message of a rank to the others when they differ.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Held {
    host: String,
    /// Digest of each tensor.
    digests: Vec<i64>,
}

impl Comparison {
    /// Starts to compare `replicas` with those of all ranks, which must call this together.
    pub fn begin(replicas: &[Replica], ranks: &dyn Collectives) -> Self {
        let _no_grad = tch::no_grad_guard();
        let device = replicas[0].values.device();
        let factors = Factors::on(device);
        let digests: Vec<Tensor> = replicas.iter().map(|replica| factors.digest(&replica.values)).collect();
        let digests = Tensor::stack(&digests, 0); // [n]
        let mine = factors.digest(&digests).view([1]);
        let all = Tensor::zeros([i64::from(ranks.world_size().get())], (Kind::Int64, device));
        let pending = ranks.all_gather(&mine, &all, Label::new("a digest of the state"));
        Comparison { digests, all, pending }
    }

    /// Waits for the other ranks, but not for a GPU.
    pub fn arrive(self) -> Result<Compared, JobError> {
        self.pending.wait()?;
        Ok(Compared { digests: self.digests, all: Readback::start(&self.all)? })
    }
}

impl Compared {
    /// Fails on every rank, and names the ranks that differ, unless all held identical state after `step` steps.
    /// `names` returns the names of the replicas. All ranks must call this together.
    pub fn check(
        &self,
        step: u64,
        names: impl FnOnce() -> Vec<String>,
        ranks: &dyn Collectives,
    ) -> Result<(), JobError> {
        let all = Vec::<i64>::try_from(self.all.read()?)?;
        if all.windows(2).all(|pair| pair[0] == pair[1]) {
            return Ok(());
        }
        let digests = Vec::try_from(self.digests.to_device(Device::Cpu))?;
        let mine = Held { host: host_name(), digests };
        let held = match ranks.gather("digests of its tensors", &mine) {
            // Ranks that cannot be understood are still known by their numbers.
            Err(CollectivesError::Message(_)) => vec![Held { host: "unknown".into(), digests: Vec::new() }; all.len()],
            held => held?,
        };
        Err(JobError::RanksDiffer(in_words(step, &all, &held, &names())))
    }
}

/// Factors of the elements in a digest, int64: odd, and otherwise pseudorandom.
struct Factors(Tensor);

impl Factors {
    fn on(device: Device) -> Self {
        // Number of elements that are summed at once: few enough for a core's cache, or, on a GPU, enough for few
        // calls.
        let elements = if device.is_cuda() { 1 << 20 } else { 1 << 15 };
        // Two rounds of splitmix64 (Steele et al., 2014), except that the shifts keep the sign.
        let mix = |numbers: Tensor, shift: i64, factor: u64| {
            numbers.bitwise_xor_tensor(&numbers.bitwise_right_shift_tensor_scalar(shift)) * factor as i64
        };
        let numbers = Tensor::arange(elements, (Kind::Int64, device)) * 0x9E37_79B9_7F4A_7C15_u64 as i64;
        Factors(mix(mix(numbers, 30, 0xBF58_476D_1CE4_E5B9), 27, 0x94D0_49BB_1331_11EB) * 2 + 1)
    }

    /// Returns a number that is very unlikely to be equal for other bits, or for these bits in other places: modulo
    /// 2^64, the sum of all elements times factors, and a polynomial of several such sums. It is an int64 scalar on
    /// the device of `values`.
    ///
    /// One flipped bit is certain to change it, because all factors of the change are odd.
    fn digest(&self, values: &Tensor) -> Tensor {
        /// Multiplier of Knuth's linear congruential generator.
        const MULTIPLIER: i64 = 6_364_136_223_846_793_005;
        let bits = match values.kind() {
            Kind::Float => values.view_dtype(Kind::Int),
            Kind::BFloat16 => values.view_dtype(Kind::Int16),
            _ => values.shallow_clone(),
        };
        let sum = |part: &Tensor| {
            let (part, factors) = (part.to_kind(Kind::Int64), self.0.narrow(0, 0, part.numel() as i64));
            // The dot product is the fastest on a CPU; GPUs have none for integers.
            if part.device() == Device::Cpu { part.dot(&factors) } else { (part * factors).sum(Kind::Int64) }
        };
        let sums = bits.split(self.0.numel() as i64, 0).iter().map(sum).reduce(|digest, sum| digest * MULTIPLIER + sum);
        sums.unwrap_or_else(|| Tensor::zeros([], (Kind::Int64, values.device())))
    }
}

/// Describes which ranks differ after `step` steps, by their digests `all`, in which of the tensors called `names`,
/// and what to do.
fn in_words(step: u64, all: &[i64], held: &[Held], names: &[String]) -> String {
    let majority =
        all.iter().copied().find(|digest| 2 * all.iter().filter(|other| *other == digest).count() > all.len());
    let ranks_with = |is_named: &dyn Fn(i64) -> bool| {
        let ranks = (0..all.len()).filter(|rank| is_named(all[*rank]));
        ranks.map(|rank| format!("rank {rank} on {}", held[rank].host)).collect::<Vec<_>>().join(", ")
    };
    let who = match majority {
        Some(majority) => {
            let alike = all.iter().filter(|digest| **digest == majority).count();
            format!("{} does not hold what the {alike} other ranks do", ranks_with(&|digest| digest != majority))
        }
        None => {
            let mut kinds: Vec<i64> = Vec::new();
            all.iter().for_each(|digest| {
                if !kinds.contains(digest) {
                    kinds.push(*digest)
                }
            });
            let groups: Vec<String> = kinds.iter().map(|kind| ranks_with(&|digest| digest == *kind)).collect();
            format!("what ranks hold differs, and no majority tells which is right: {}", groups.join(" / "))
        }
    };
    format!(
        "after step {step} {who}{}: a bit has flipped in memory, or a computation has gone wrong; start again from the last \
         checkpoint, and test the hosts that are named here. If they have different processors, which round differently, set \
         parallel.zero = 1",
        places(held, names)
    )
}

/// Describes where the digests of ranks differ.
fn places(held: &[Held], names: &[String]) -> String {
    const NAMED_MAX: usize = 3;
    let differs =
        |tensor: &usize| held.windows(2).any(|pair| pair[0].digests.get(*tensor) != pair[1].digests.get(*tensor));
    let different: Vec<&str> = (0..names.len()).filter(differs).map(|tensor| &*names[tensor]).collect();
    let named = different.iter().copied().take(NAMED_MAX).collect::<Vec<_>>().join(", ");
    match different.len() {
        0 => String::new(),
        1..=NAMED_MAX => format!(", in {named}"),
        more => format!(", in {named} and {} other tensors", more - NAMED_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(values: &Tensor) -> i64 {
        Factors::on(Device::Cpu).digest(values).int64_value(&[])
    }

    fn flip(values: &Tensor, element: i64, bit: u32) {
        let kind = if values.kind() == Kind::Float { Kind::Int } else { Kind::Int16 };
        let mut bits = values.narrow(0, element, 1).view_dtype(kind);
        // The highest bit of an int16, as a number that the kind can hold.
        let mask = if kind == Kind::Int { i64::from((1_u32 << bit) as i32) } else { i64::from((1_u16 << bit) as i16) };
        let _ = bits.bitwise_xor_(mask);
    }

    #[test]
    fn every_flipped_bit_and_every_swap_has_another_digest() {
        // More than two parts, the last one shorter.
        let part = Factors::on(Device::Cpu).0.numel() as i64;
        let numbers = Tensor::arange(2 * part + 100, (Kind::Float, Device::Cpu)) - 3.0;
        for (kind, width) in [(Kind::Float, 32), (Kind::BFloat16, 16)] {
            let values = numbers.to_kind(kind);
            let whole = digest(&values);
            assert_eq!(whole, digest(&values.copy()));
            for element in [0, 3, part - 1, part, 2 * part + 99] {
                for bit in 0..width {
                    let other = values.copy();
                    flip(&other, element, bit);
                    assert_ne!(whole, digest(&other), "{kind:?}: bit {bit} of {element}");
                    flip(&other, (element + 7) % part, bit);
                    assert_ne!(whole, digest(&other), "{kind:?}: bit {bit} of two elements");
                }
            }
            // Within a part, between two parts, and of a number with its negative, which differ in the highest bit
            // alone.
            for (a, b) in [(3, 70), (3, part + 3), (2, 4)] {
                let other = values.copy();
                let (x, y) = (values.get(a).copy(), values.get(b).copy());
                other.get(b).copy_(&x);
                other.get(a).copy_(&y);
                assert_ne!(whole, digest(&other), "{kind:?}: {a} and {b} in each other's place");
            }
        }
    }

    fn held(host: &str, digests: [i64; 2]) -> Held {
        Held { host: host.into(), digests: digests.to_vec() }
    }

    fn words(all: &[i64], held: &[Held]) -> String {
        in_words(7, all, held, &["wte".into(), "wpe".into()])
    }

    #[test]
    fn the_rank_that_differs_from_most_is_named_with_its_host_and_the_tensor() {
        let ranks = [held("a", [1, 2]), held("b", [1, 3]), held("c", [1, 2])];
        let text = words(&[5, 6, 5], &ranks);
        assert!(
            text.starts_with("after step 7 rank 1 on b does not hold what the 2 other ranks do, in wpe:"),
            "{text}"
        );
        let ranks = [held("a", [9, 2]), held("b", [1, 3]), held("c", [1, 2]), held("c", [1, 2]), held("c", [1, 2])];
        let text = words(&[4, 6, 5, 5, 5], &ranks);
        assert!(
            text.contains("rank 0 on a, rank 1 on b does not hold what the 3 other ranks do, in wte, wpe:"),
            "{text}"
        );
    }

    #[test]
    fn without_a_majority_nobody_is_accused_alone() {
        let text = words(&[5, 6], &[held("a", [1, 2]), held("b", [4, 2])]);
        assert!(text.contains("no majority tells which is right: rank 0 on a / rank 1 on b, in wte:"), "{text}");
        let ranks = [held("a", [1, 2]), held("a", [1, 3]), held("b", [1, 2]), held("b", [1, 3])];
        let text = words(&[5, 6, 5, 6], &ranks);
        assert!(text.contains("rank 0 on a, rank 2 on b / rank 1 on a, rank 3 on b, in wpe:"), "{text}");
    }

    #[test]
    fn many_tensors_are_counted() {
        let names: Vec<String> = (0..5).map(|i| format!("t{i}")).collect();
        let ranks = [Held { host: "a".into(), digests: vec![0; 5] }, Held { host: "b".into(), digests: vec![1; 5] }];
        assert_eq!(places(&ranks, &names), ", in t0, t1, t2 and 2 other tensors");
        // The digest of the digests alone went wrong.
        assert_eq!(places(&[ranks[0].clone(), ranks[0].clone()], &names), "");
    }
}
