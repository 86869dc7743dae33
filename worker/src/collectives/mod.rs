//! What ranks exchange. One trait, one conformance suite for all that implement it (`worker/tests/collectives.rs`).
//!
//! - [`single`]: a world of one rank.
//! - [`mpi`]: MPI through host memory, on a thread of its own.
//!
//! An operation returns at once; the [`Pending`] is waited for where its result is needed, so that communication runs
//! beside computation. Every rank must start the same operations in the same order. An operation that does not end
//! within the time-out means a lost rank; there is no way on from there but to end the process.

pub mod mpi;
pub mod single;

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use common::topology::{Rank, WorldSize};
use tch::{Device, Kind, Tensor};

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

/// Why ranks could not exchange something.
#[derive(Debug, thiserror::Error)]
pub enum CollectivesError {
    /// The operation did not end in time.
    #[error(
        "{operation} did not end within {timeout_s} s (parallel.timeout_s): another rank is lost or stuck; \
         the first error of any rank says why"
    )]
    TimedOut {
        /// For what.
        operation: &'static str,
        /// How long.
        timeout_s: u64,
    },
    /// The thread that communicates has ended.
    #[error("{operation}: the communication thread has ended")]
    Closed {
        /// For what.
        operation: &'static str,
    },
    /// Values that must be equal on all ranks are not.
    #[error("the ranks do not agree on {what}; this is a bug or broken hardware, start again")]
    Disagreement {
        /// On what.
        what: &'static str,
    },
}

/// Operations over all ranks. Tensors are contiguous, on the host, of kind f32, bf16, f64, i64 or u8, and must not be touched
/// until the [`Pending`] has been waited for.
pub trait Collectives: Send + Sync {
    /// This process.
    fn rank(&self) -> Rank;

    /// Number of processes.
    fn world_size(&self) -> WorldSize;

    /// From now on, an operation that takes longer than `timeout` has lost a rank.
    fn set_timeout(&self, timeout: Duration);

    /// Combines `tensor` of all ranks element by element, in place; every rank gets the same bits.
    fn all_reduce(&self, tensor: &Tensor, op: ReduceOp) -> Pending;

    /// Sums `input` [W x n] of all ranks; rank r receives elements [r n, (r + 1) n) in `output` [n], which may be just that
    /// part of `input`. The rest of `input` may be overwritten.
    fn reduce_scatter(&self, input: &Tensor, output: &Tensor) -> Pending;

    /// Every rank receives `input` [n] of all ranks, in rank order, in `output` [W x n]; `input` may be this rank's part of
    /// it.
    fn all_gather(&self, input: &Tensor, output: &Tensor) -> Pending;

    /// Every rank receives `tensor` of `root`, in place.
    fn broadcast(&self, tensor: &Tensor, root: Rank) -> Pending;

    /// Ends when every rank has started it.
    fn barrier(&self) -> Pending;
}

/// What an operation still owes.
#[must_use = "an operation must be waited for before its tensors are touched"]
pub struct Pending {
    pub(crate) done: Option<Receiver<()>>,
    pub(crate) operation: &'static str,
    pub(crate) timeout: Duration,
}

impl Pending {
    /// An operation that is already complete.
    pub(crate) fn complete(operation: &'static str) -> Self {
        Pending { done: None, operation, timeout: Duration::ZERO }
    }

    /// Waits until the operation has ended on this rank.
    pub fn wait(self) -> Result<(), CollectivesError> {
        let Some(done) = self.done else { return Ok(()) };
        let operation = self.operation;
        done.recv_timeout(self.timeout).map_err(|error| match error {
            RecvTimeoutError::Timeout => CollectivesError::TimedOut { operation, timeout_s: self.timeout.as_secs() },
            RecvTimeoutError::Disconnected => CollectivesError::Closed { operation },
        })
    }
}

/// Small agreements, made of the operations above.
impl dyn Collectives + '_ {
    /// The bitwise or of every rank's `flags`, the same on all ranks.
    pub fn agree_any(&self, flags: u32) -> Result<u32, CollectivesError> {
        let tensor = Tensor::from_slice(&[i64::from(flags)]);
        self.all_reduce(&tensor, ReduceOp::BitOr).wait()?;
        Ok(tensor.int64_value(&[0]) as u32)
    }

    /// Fails on every rank unless all ranks give the same `value`.
    pub fn agree_same(&self, value: u64, what: &'static str) -> Result<(), CollectivesError> {
        // The largest value and the largest complement are those of one and the same number only if all are equal.
        let half = |bits: u64| [(bits >> 32) as i64, (bits & 0xffff_ffff) as i64];
        let [high, low] = half(value);
        let tensor = Tensor::from_slice(&[high, low, -high, -low]);
        self.all_reduce(&tensor, ReduceOp::Max).wait()?;
        let all = Vec::<i64>::try_from(tensor).unwrap_or_default();
        match all == [high, low, -high, -low] {
            true => Ok(()),
            false => Err(CollectivesError::Disagreement { what }),
        }
    }

    /// Every rank receives `bytes` of rank 0; what other ranks pass is ignored.
    pub fn broadcast_bytes(&self, bytes: &[u8]) -> Result<Vec<u8>, CollectivesError> {
        let length = Tensor::from_slice(&[bytes.len() as i64]);
        self.broadcast(&length, Rank::ZERO).wait()?;
        let content = match self.rank().is_zero() {
            true => Tensor::from_slice(bytes),
            false => Tensor::zeros([length.int64_value(&[0])], (Kind::Uint8, Device::Cpu)),
        };
        self.broadcast(&content, Rank::ZERO).wait()?;
        Ok(Vec::try_from(content).unwrap_or_default())
    }

    /// Every rank receives the `bytes` of all ranks, in rank order.
    pub fn gather_bytes(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, CollectivesError> {
        let world = i64::from(self.world_size().get());
        let lengths = Tensor::zeros([world], (Kind::Int64, Device::Cpu));
        self.all_gather(&Tensor::from_slice(&[bytes.len() as i64]), &lengths).wait()?;
        let lengths = Vec::<i64>::try_from(lengths).unwrap_or_default();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut padded = bytes.to_vec();
        padded.resize(longest as usize, 0);
        let all = Tensor::zeros([world * longest], (Kind::Uint8, Device::Cpu));
        self.all_gather(&Tensor::from_slice(&padded), &all).wait()?;
        let all = Vec::<u8>::try_from(all).unwrap_or_default();
        let parts = lengths.iter().enumerate();
        Ok(parts.map(|(r, n)| all[r * longest as usize..][..*n as usize].to_vec()).collect())
    }
}
