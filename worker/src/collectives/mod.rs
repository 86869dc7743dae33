//! Communication between ranks: one trait, and one conformance suite for all its implementations
//! (`worker/tests/collectives.rs`).
//!
//! - [`single`]: a world of one rank.
//! - [`mpi`]: MPI through host memory, on a thread of its own.
//! - [`nccl`]: NCCL between GPUs, and MPI for what is on the host.
//! - [`faulty`]: any of them, slower or with a flipped bit; for tests.
//! - [`in_flight`]: what a rank exchanges, for messages.
//! - `messages`: values that ranks share and gather.
//! - [`bandwidth`]: how fast an all-reduce is.
//!
//! An operation returns at once. Its [`Pending`] is waited for where the result is needed, so that communication runs
//! beside computation. Every rank must start the same operations in the same order. An operation that does not end
//! within the time-out means a lost rank, and the process can only end.

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

/// How values of several ranks are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReduceOp {
    /// The sum.
    Sum,
    /// The largest value.
    Max,
    /// Bitwise or; for integers only.
    BitOr,
}

/// Operations over all ranks. Tensors are contiguous, of kind f32, bf16, f64, i64 or u8, on the host or, with NCCL,
/// on this rank's GPU. Nothing may touch them until the [`Pending`] has been waited for. Labels are for messages.
pub trait Collectives: Send + Sync {
    /// Returns the rank of this process.
    fn rank(&self) -> Rank;

    /// Returns the number of ranks.
    fn world_size(&self) -> WorldSize;

    /// Sets the time-out: from now on, an operation that takes longer means a lost rank.
    fn set_timeout(&self, timeout: Duration);

    /// Returns the account of this rank's operations.
    fn in_flight(&self) -> &Arc<InFlight>;

    /// Fails once operations have been ended without their results, in which case anything that a device has computed
    /// from them is void.
    fn check(&self) -> Result<(), CollectivesError> {
        Ok(())
    }

    /// Combines `tensor` of all ranks element by element, in place; every rank gets identical bits.
    fn all_reduce(&self, tensor: &Tensor, op: ReduceOp, label: Label) -> Pending;

    /// Sums `input [W x n]` over all ranks. Rank r receives elements [r n, (r + 1) n) in `output [n]`, which may be
    /// just that part of `input`. The rest of `input` may be overwritten.
    fn reduce_scatter(&self, input: &Tensor, output: &Tensor, label: Label) -> Pending;

    /// Gathers `input [n]` of all ranks, in rank order, into `output [W x n]` of every rank. `input` may be this
    /// rank's part of `output`.
    fn all_gather(&self, input: &Tensor, output: &Tensor, label: Label) -> Pending;

    /// Sends `tensor` of `root` to every rank, in place.
    fn broadcast(&self, tensor: &Tensor, root: Rank, label: Label) -> Pending;

    /// Ends when every rank has started it.
    fn barrier(&self, label: Label) -> Pending;
}

/// An operation that may not have ended yet.
#[must_use = "an operation must be waited for before its tensors are touched"]
pub struct Pending {
    /// What to wait for; `None` if the operation has ended.
    wait: Option<Box<dyn FnOnce() -> Result<(), CollectivesError> + Send>>,
}

impl Pending {
    /// Creates an operation that has already ended.
    pub(crate) fn complete() -> Self {
        Pending { wait: None }
    }

    /// Creates an operation that has ended when `wait` returns.
    pub fn new(wait: impl FnOnce() -> Result<(), CollectivesError> + Send + 'static) -> Self {
        Pending { wait: Some(Box::new(wait)) }
    }

    /// Waits until the operation has ended on this rank. For tensors on a GPU, only later computations of this thread
    /// wait, and not the thread itself.
    pub fn wait(self) -> Result<(), CollectivesError> {
        self.wait.map_or(Ok(()), |wait| wait())
    }
}

/// Label of the exchanges that agreements are made of.
const BYTES: Label = Label::new("bytes of an agreement");

/// Small agreements, made of these operations.
impl dyn Collectives + '_ {
    /// Returns the bitwise or of every rank's `flags`, identical on all ranks.
    pub fn agree_any(&self, flags: u32) -> Result<u32, CollectivesError> {
        let tensor = Tensor::from_slice(&[i64::from(flags)]);
        self.all_reduce(&tensor, ReduceOp::BitOr, Label::new("flags")).wait()?;
        Ok(tensor.int64_value(&[0]) as u32)
    }

    /// Fails on every rank unless all ranks give the same `value`.
    pub fn agree_same(&self, value: u64, what: &'static str) -> Result<(), CollectivesError> {
        // The largest value and the largest complement belong to one number only if all values are equal.
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

    /// Sends `bytes` of rank 0 to every rank. Ignores what other ranks pass.
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

    /// Gathers the `bytes` of all ranks, in rank order, on every rank.
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
