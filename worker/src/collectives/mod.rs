//! What ranks exchange. One trait, one conformance suite for all that implement it (`worker/tests/collectives.rs`).
//!
//! - [`single`]: a world of one rank.
//! - [`mpi`]: MPI through host memory, on a thread of its own.
//! - [`nccl`]: NCCL between GPUs, and MPI for what is on the host.
//! - [`faulty`]: any of them, slower or with a flipped bit; for tests.
//! - [`in_flight`]: what a rank exchanges, for messages.
//! - `messages`: values that ranks share and gather.
//! - [`bandwidth`]: how fast an all-reduce is.
//!
//! An operation returns at once; the [`Pending`] is waited for where its result is needed, so that communication runs
//! beside computation. Every rank must start the same operations in the same order. An operation that does not end
//! within the time-out means a lost rank; there is no way on from there but to end the process.

pub mod bandwidth;
mod error;
pub mod faulty;
pub mod in_flight;
mod messages;
pub mod mpi;
pub mod nccl;
pub mod single;

use std::sync::Arc;
use std::time::Duration;

use common::topology::{Rank, WorldSize};
use tch::{Device, Kind, Tensor};

pub use error::CollectivesError;
use in_flight::InFlight;
pub use in_flight::Label;

/// How values of several ranks become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReduceOp {
    /// Their sum.
    Sum,
    /// The largest.
    Max,
    /// Bitwise or; integers only.
    BitOr,
}

/// Operations over all ranks. Tensors are contiguous, of kind f32, bf16, f64, i64 or u8, on the host or, with
/// NCCL, on this rank's GPU. They must not be touched until the [`Pending`] has been waited for. The label is for messages.
pub trait Collectives: Send + Sync {
    /// This process.
    fn rank(&self) -> Rank;

    /// Number of processes.
    fn world_size(&self) -> WorldSize;

    /// From now on, an operation that takes longer than `timeout` has lost a rank.
    fn set_timeout(&self, timeout: Duration);

    /// What this rank exchanges.
    fn in_flight(&self) -> &Arc<InFlight>;

    /// Fails once operations that were under way have been ended without their results; what a device has computed from them
    /// is void then.
    fn check(&self) -> Result<(), CollectivesError> {
        Ok(())
    }

    /// Combines `tensor` of all ranks element by element, in place; every rank gets the same bits.
    fn all_reduce(&self, tensor: &Tensor, op: ReduceOp, label: Label) -> Pending;

    /// Sums `input [W x n]` of all ranks; rank r receives elements [r n, (r + 1) n) in `output [n]`, which may be just that
    /// part of `input`. The rest of `input` may be overwritten.
    fn reduce_scatter(&self, input: &Tensor, output: &Tensor, label: Label) -> Pending;

    /// Every rank receives `input [n]` of all ranks, in rank order, in `output [W x n]`; `input` may be this rank's part of
    /// it.
    fn all_gather(&self, input: &Tensor, output: &Tensor, label: Label) -> Pending;

    /// Every rank receives `tensor` of `root`, in place.
    fn broadcast(&self, tensor: &Tensor, root: Rank, label: Label) -> Pending;

    /// Ends when every rank has started it.
    fn barrier(&self, label: Label) -> Pending;
}

/// What an operation still owes.
#[must_use = "an operation must be waited for before its tensors are touched"]
pub struct Pending {
    /// `None` where it owes nothing.
    wait: Option<Box<dyn FnOnce() -> Result<(), CollectivesError> + Send>>,
}

impl Pending {
    /// An operation that is already complete.
    pub(crate) fn complete() -> Self {
        Pending { wait: None }
    }

    /// An operation that is complete when `wait` returns.
    pub fn new(wait: impl FnOnce() -> Result<(), CollectivesError> + Send + 'static) -> Self {
        Pending { wait: Some(Box::new(wait)) }
    }

    /// Waits until the operation has ended on this rank. For tensors on a GPU, what this thread has computed from now on
    /// waits, and this thread does not.
    pub fn wait(self) -> Result<(), CollectivesError> {
        self.wait.map_or(Ok(()), |wait| wait())
    }
}

/// What small agreements exchange.
const BYTES: Label = Label::new("bytes of an agreement");

/// Small agreements, made of the operations above.
impl dyn Collectives + '_ {
    /// The bitwise or of every rank's `flags`, the same on all ranks.
    pub fn agree_any(&self, flags: u32) -> Result<u32, CollectivesError> {
        let tensor = Tensor::from_slice(&[i64::from(flags)]);
        self.all_reduce(&tensor, ReduceOp::BitOr, Label::new("flags")).wait()?;
        Ok(tensor.int64_value(&[0]) as u32)
    }

    /// Fails on every rank unless all ranks give the same `value`.
    pub fn agree_same(&self, value: u64, what: &'static str) -> Result<(), CollectivesError> {
        // The largest value and the largest complement are those of one and the same number only if all are equal.
        let half = |bits: u64| [(bits >> 32) as i64, (bits & 0xffff_ffff) as i64];
        let [high, low] = half(value);
        let tensor = Tensor::from_slice(&[high, low, -high, -low]);
        self.all_reduce(&tensor, ReduceOp::Max, Label::new(what)).wait()?;
        let all = Vec::<i64>::try_from(tensor).unwrap_or_default();
        match all == [high, low, -high, -low] {
            true => Ok(()),
            false => Err(CollectivesError::Disagreement { what }),
        }
    }

    /// Every rank receives `bytes` of rank 0; what other ranks pass is ignored.
    pub fn broadcast_bytes(&self, bytes: &[u8]) -> Result<Vec<u8>, CollectivesError> {
        let length = Tensor::from_slice(&[bytes.len() as i64]);
        self.broadcast(&length, Rank::ZERO, BYTES).wait()?;
        let content = match self.rank().is_zero() {
            true => Tensor::from_slice(bytes),
            false => Tensor::zeros([length.int64_value(&[0])], (Kind::Uint8, Device::Cpu)),
        };
        self.broadcast(&content, Rank::ZERO, BYTES).wait()?;
        Ok(Vec::try_from(content).unwrap_or_default())
    }

    /// Every rank receives the `bytes` of all ranks, in rank order.
    pub fn gather_bytes(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, CollectivesError> {
        let world = i64::from(self.world_size().get());
        let lengths = Tensor::zeros([world], (Kind::Int64, Device::Cpu));
        self.all_gather(&Tensor::from_slice(&[bytes.len() as i64]), &lengths, BYTES).wait()?;
        let lengths = Vec::<i64>::try_from(lengths).unwrap_or_default();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut padded = bytes.to_vec();
        padded.resize(longest as usize, 0);
        let all = Tensor::zeros([world * longest], (Kind::Uint8, Device::Cpu));
        self.all_gather(&Tensor::from_slice(&padded), &all, BYTES).wait()?;
        let all = Vec::<u8>::try_from(all).unwrap_or_default();
        let parts = lengths.iter().enumerate();
        Ok(parts.map(|(r, n)| all[r * longest as usize..][..*n as usize].to_vec()).collect())
    }
}
