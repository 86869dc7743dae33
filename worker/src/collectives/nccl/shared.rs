//! State shared by the watchdog and the threads that start operations: the operations that have been started, and how
//! they fail.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use common::host_name::host_name;
use tch::Tensor;

use super::communicator::{Communicator, Failure};
use super::lane::{End, Lane};
use crate::collectives::CollectivesError;
use crate::collectives::in_flight::{InFlight, Operation};
use crate::libtorch::streams::Event;

/// Name of NCCL in messages.
pub const CARRIER: &str = "NCCL";

/// State shared by the watchdog and the threads that start operations.
pub struct Shared {
    pub lane: Lane,
    pub in_flight: Arc<InFlight>,
    pub timeout_ms: AtomicU64,
    /// The communicator, set once NCCL has started.
    pub communicator: OnceLock<Arc<Communicator>>,
    /// Operations that have been started, in order.
    pub started: Mutex<VecDeque<Started>>,
    /// Error of an operation that could not be started.
    pub failure: OnceLock<CollectivesError>,
    pub is_over: AtomicBool,
}

/// An operation that has been started, or is being started.
pub struct Started {
    /// Number of the operation in [`InFlight`].
    pub number: u64,
    pub operation: Operation,
    /// Event at the begin, if a trace wants it and the lane can tell.
    pub begin: Option<Event>,
    /// End of the operation; `None` while NCCL's own call goes on.
    pub end: Option<Arc<End>>,
    /// Tensors of the operation, kept alive until the end.
    pub _tensors: Vec<Tensor>,
}

impl Shared {
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.load(Ordering::Relaxed))
    }

    pub fn started(&self) -> MutexGuard<'_, VecDeque<Started>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the error for `failure` of `operation`.
    pub fn error(&self, operation: &Operation, failure: Failure) -> CollectivesError {
        match failure {
            Failure::TimedOut => self.in_flight.timed_out(CARRIER, self.timeout()),
            Failure::Nccl(message) => {
                CollectivesError::Nccl { operation: operation.to_string(), host: host_name(), message }
            }
        }
    }
}
