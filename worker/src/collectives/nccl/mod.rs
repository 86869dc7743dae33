//! NCCL between GPUs. Tensors on the host go over MPI, which also carries NCCL's id.
//!
//! An operation runs on a stream of its own, after what the calling thread has computed so far. Waiting for the
//! operation makes the thread's later computations wait, and not the thread. Only the watchdog can therefore notice
//! an operation that never ends, so it is told of every one.
//!
//! - `library`: the functions of NCCL, loaded at run time.
//! - `communicator`: one rank's end, and how calls on it are made.
//! - `lane`: the stream that operations run on.
//! - `shared`: state shared by the watchdog and the threads that start operations.
//! - `watchdog`: starts NCCL in the background, and ends the world when an operation does not end.
//!
//! No real NCCL runs in Convoy's tests, which load `tests/nccl-stand-in` in its place.

#![allow(unsafe_code, reason = "calls NCCL, a C library, with addresses in tensors")]

mod communicator;
mod lane;
mod library;
mod shared;
mod watchdog;

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use common::topology::{Rank, WorldSize};
use tch::{Device, Tensor};

use super::in_flight::{InFlight, Operation};
use super::{Collectives, CollectivesError, Label, Pending, ReduceOp};
use communicator::{Communicator, Failure};
use lane::{Lane, data_type};
pub use library::NoNccl;
use library::{Library, RawCommunicator, SUCCESS, UniqueId};
use shared::{CARRIER, Shared, Started};
pub use watchdog::Ending;

/// Reason why NCCL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The library cannot be loaded.
    #[error(transparent)]
    NoNccl(#[from] NoNccl),
    /// This rank has no GPU for NCCL to work on.
    #[error(
        "parallel.collectives = \"nccl\" exchanges what is on GPUs, but this rank computes on the CPU; set \
         run.device = \"cuda\", or parallel.collectives = \"mpi\""
    )]
    NoGpu,
    /// libtorch failed.
    #[error("NCCL cannot be started: {0}")]
    Libtorch(#[from] tch::TchError),
    /// The other ranks cannot be reached over MPI.
    #[error(transparent)]
    Collectives(#[from] CollectivesError),
}

/// All ranks, over NCCL for tensors on this rank's GPU, and over `host` for others.
pub struct Nccl {
    host: Arc<dyn Collectives>,
    shared: Arc<Shared>,
    watchdog: Mutex<Option<JoinHandle<()>>>,
}

impl Nccl {
    /// Starts NCCL in the background; the first operation waits for it. The start has as long as an operation over
    /// `host`, which is `timeout`. Every rank must call this.
    pub fn start(
        host: Arc<dyn Collectives>,
        device: Device,
        timeout: Duration,
        ending: Ending,
    ) -> Result<Self, StartError> {
        let library = Arc::new(Library::load()?);
        let lane = match (library.stand_in, device) {
            (Some(stand_in), _) => {
                tracing::warn!("a stand-in for NCCL is loaded, which is for tests");
                Lane::Host(stand_in)
            }
            (None, Device::Cuda(device)) => Lane::of_gpu(device)?,
            (None, _) => return Err(StartError::NoGpu),
        };
        let id = share_id(&library, host.as_ref())?;
        let shared = Arc::new(Shared {
            lane,
            in_flight: host.in_flight().clone(),
            timeout_ms: AtomicU64::new(timeout.as_millis() as u64),
            communicator: OnceLock::new(),
            started: Mutex::default(),
            failure: OnceLock::new(),
            is_over: AtomicBool::new(false),
        });
        let (own, rank, world) = (shared.clone(), host.rank(), host.world_size());
        let begin = move || Communicator::begin(library, rank, world, id);
        let watchdog = std::thread::Builder::new().name("nccl".into());
        let watchdog = watchdog.spawn(move || watchdog::run(&own, &START, begin, ending));
        let watchdog = watchdog.map_err(|error| tch::TchError::Torch(format!("no thread can be started: {error}")))?;
        Ok(Nccl { host, shared, watchdog: Mutex::new(Some(watchdog)) })
    }

    /// Starts an operation on `tensors`, which `call` hands to NCCL with the stream.
    fn run(
        &self,
        name: &'static str,
        label: Label,
        tensors: Vec<Tensor>,
        call: impl FnOnce(&Library, RawCommunicator, *mut c_void) -> c_int,
    ) -> Pending {
        assert!(tensors.iter().all(Tensor::is_contiguous), "a collective needs contiguous tensors");
        // All ranks give equal numbers of elements, so no rank takes part in an operation on nothing.
        if tensors.iter().all(|tensor| tensor.numel() == 0) {
            return Pending::complete();
        }
        let operation = Operation { name, label, carrier: CARRIER };
        // If NCCL does not start, the watchdog ends the process.
        let communicator = self.shared.communicator.wait().clone();
        let (shared, number) = (self.shared.clone(), self.shared.in_flight.begin(operation));
        let started = communicator.start(
            shared.timeout(),
            |library, raw| {
                let (stream, begin) = shared.lane.open().map_err(|e| e.to_string())?;
                // Recorded before the call, in which NCCL may hang.
                shared.started().push_back(Started { number, operation, begin, end: None, _tensors: tensors });
                Ok(call(library, raw, stream))
            },
            |number| {
                let end = Arc::new(shared.lane.end(number).map_err(|e| e.to_string())?);
                // The last one is this one: only one operation is started at a time.
                if let Some(started) = shared.started().back_mut() {
                    started.end = Some(end.clone());
                }
                Ok(end)
            },
        );
        match started {
            Ok(end) => Pending::new(move || {
                let joined = shared.lane.join(&end, communicator.raw());
                joined.map_err(|error| shared.error(&operation, Failure::Nccl(error.to_string())))
            }),
            Err(failure) => {
                let _ = shared.failure.set(shared.error(&operation, failure));
                Pending::new(|| {
                    loop {
                        std::thread::park(); // The watchdog says why, aborts, and ends the process.
                    }
                })
            }
        }
    }
}

/// Name of the initialisation in messages.
const START: Operation = Operation { name: "connecting", label: Label::new("the start of the run"), carrier: CARRIER };

/// Name of a step's exchange in messages.
const STEP: Operation = Operation { name: "exchange", label: Label::new("of a step"), carrier: CARRIER };

/// Shares the id of rank 0's communicator, by which the other ranks find it.
fn share_id(library: &Library, host: &dyn Collectives) -> Result<UniqueId, StartError> {
    let mut id = UniqueId([0; 128]);
    if host.rank().is_zero() {
        // SAFETY: the id is written.
        let result = unsafe { (library.get_unique_id)(&mut id) };
        if result != SUCCESS {
            return Err(tch::TchError::Torch(library.describe(result)).into());
        }
    }
    let bytes = host.broadcast_bytes(&id.0)?;
    id.0.copy_from_slice(&bytes);
    Ok(id)
}

impl Drop for Nccl {
    /// Ends NCCL in good order. Every rank must do so.
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let watchdog = self.watchdog.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        watchdog.map(JoinHandle::join);
        if let Some(communicator) = self.shared.communicator.get() {
            communicator.clone().finish();
        }
    }
}

/// Returns the `ncclRedOp_t` of `op`.
fn reduction(op: ReduceOp) -> c_int {
    match op {
        ReduceOp::Sum => 0,
        ReduceOp::Max => 2,
        ReduceOp::BitOr => panic!("NCCL has no bitwise or; flags are agreed on from the host"),
    }
}

fn data_type_of(tensor: &Tensor) -> c_int {
    data_type(tensor.kind()).unwrap_or_else(|| panic!("no collective exists for {:?}", tensor.kind()))
}

impl Collectives for Nccl {
    fn rank(&self) -> Rank {
        self.host.rank()
    }

    fn world_size(&self) -> WorldSize {
        self.host.world_size()
    }

    fn set_timeout(&self, timeout: Duration) {
        self.host.set_timeout(timeout);
        self.shared.timeout_ms.store(timeout.as_millis() as u64, Ordering::Relaxed);
    }

    fn in_flight(&self) -> &Arc<InFlight> {
        &self.shared.in_flight
    }

    fn check(&self) -> Result<(), CollectivesError> {
        let Some(communicator) = self.shared.communicator.get() else { return Ok(()) };
        communicator.check_alive().map_err(|failure| self.shared.error(&STEP, failure))
    }

    fn all_reduce(&self, tensor: &Tensor, op: ReduceOp, label: Label) -> Pending {
        let is_for_host = op == ReduceOp::BitOr && tensor.device() == Device::Cpu;
        if is_for_host || !self.shared.lane.carries(tensor) {
            return self.host.all_reduce(tensor, op, label);
        }
        let (data, count, data_type, op) = (tensor.data_ptr(), tensor.numel(), data_type_of(tensor), reduction(op));
        self.run("all-reduce", label, vec![tensor.shallow_clone()], |nccl, raw, stream| {
            // SAFETY: the tensor holds `count` elements, and stays until the operation has ended.
            unsafe { (nccl.all_reduce)(data, data, count, data_type, op, raw, stream) }
        })
    }

    fn reduce_scatter(&self, input: &Tensor, output: &Tensor, label: Label) -> Pending {
        if !self.shared.lane.carries(input) {
            return self.host.reduce_scatter(input, output, label);
        }
        let (count, data_type, op) = (output.numel(), data_type_of(input), reduction(ReduceOp::Sum));
        self.check_pair(input, output, count * self.world(), input.numel());
        let (send, receive) = (input.data_ptr(), output.data_ptr());
        self.run("reduce-scatter", label, vec![input.shallow_clone(), output.shallow_clone()], |nccl, raw, stream| {
            // SAFETY: the input holds `count` elements for each rank, the output `count`; both stay until the end.
            unsafe { (nccl.reduce_scatter)(send, receive, count, data_type, op, raw, stream) }
        })
    }

    fn all_gather(&self, input: &Tensor, output: &Tensor, label: Label) -> Pending {
        if !self.shared.lane.carries(input) {
            return self.host.all_gather(input, output, label);
        }
        let (count, data_type) = (input.numel(), data_type_of(input));
        self.check_pair(input, output, count * self.world(), output.numel());
        let (send, receive) = (input.data_ptr(), output.data_ptr());
        self.run("all-gather", label, vec![input.shallow_clone(), output.shallow_clone()], |nccl, raw, stream| {
            // SAFETY: the input holds `count` elements, the output `count` for each rank; both stay until the end.
            unsafe { (nccl.all_gather)(send, receive, count, data_type, raw, stream) }
        })
    }

    fn broadcast(&self, tensor: &Tensor, root: Rank, label: Label) -> Pending {
        if !self.shared.lane.carries(tensor) {
            return self.host.broadcast(tensor, root, label);
        }
        let (data, count, data_type) = (tensor.data_ptr(), tensor.numel(), data_type_of(tensor));
        self.run("broadcast", label, vec![tensor.shallow_clone()], |nccl, raw, stream| {
            // SAFETY: the tensor holds `count` elements, and stays until the operation has ended.
            unsafe { (nccl.broadcast)(data, data, count, data_type, root.0 as c_int, raw, stream) }
        })
    }

    fn barrier(&self, label: Label) -> Pending {
        self.host.barrier(label)
    }
}

impl Nccl {
    fn world(&self) -> usize {
        self.world_size().get() as usize
    }

    /// Panics unless input and output are alike, and the larger one holds the elements of all ranks.
    fn check_pair(&self, input: &Tensor, output: &Tensor, expected: usize, larger: usize) {
        assert_eq!(input.kind(), output.kind(), "input and output are of different kinds");
        assert_eq!(input.device(), output.device(), "input and output are on different devices");
        assert_eq!(larger, expected, "one of input and output is world size times the other");
    }
}
