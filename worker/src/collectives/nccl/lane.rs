//! The place where operations run: a stream of the GPU, beside the computation, or with the tests' stand-in for NCCL,
//! the host.

use std::ffi::{c_int, c_void};
use std::time::Duration;

use tch::{Device, Kind, TchError, Tensor};

use super::library::{RawCommunicator, StandIn};
use crate::libtorch::streams::{self, Event, Stream};
use crate::trace;

/// Limit of the time that one question to the stand-in may take.
const STAND_IN_WAIT_MS: u32 = 100;

/// Place where operations run.
pub enum Lane {
    /// A stream of this GPU.
    Gpu {
        /// Number of the GPU on this host.
        device: usize,
        /// Stream that operations run on.
        stream: Stream,
    },
    /// The stand-in's own thread, on the host.
    Host(StandIn),
}

/// End of an operation.
pub enum End {
    /// Event that the stream reaches at the end.
    Event(Event),
    /// Number of operations that the stand-in has completed at the end.
    Number(u64),
}

impl End {
    /// Returns the time between `begin` and this end, which has come; `None` if it was not measured.
    pub fn since(&self, begin: Option<&Event>) -> Option<Duration> {
        match (begin, self) {
            (Some(begin), End::Event(end)) => begin.until(end).ok(),
            _ => None,
        }
    }
}

impl Lane {
    /// Creates the lane of GPU number `device`.
    pub fn of_gpu(device: usize) -> Result<Self, TchError> {
        Ok(Lane::Gpu { device, stream: Stream::beside(device)? })
    }

    /// Prepares the calling thread for calls of NCCL.
    pub fn enter_thread(&self) -> Result<(), TchError> {
        match self {
            Lane::Gpu { device, .. } => streams::set_device(*device),
            Lane::Host(_) => Ok(()),
        }
    }

    /// Returns whether `tensor` is on this lane's device; others go over MPI.
    pub fn carries(&self, tensor: &Tensor) -> bool {
        match self {
            Lane::Gpu { device, .. } => tensor.device() == Device::Cuda(*device),
            Lane::Host(stand_in) => {
                let data_type = data_type(tensor.kind());
                // SAFETY: the function takes any number.
                tensor.device() == Device::Cpu && data_type.is_some_and(|kind| unsafe { (stand_in.carries)(kind) } != 0)
            }
        }
    }

    /// Makes the lane wait for what the calling thread has computed so far. Returns the stream for NCCL and, for a
    /// trace, an event at this point.
    pub fn open(&self) -> Result<(*mut c_void, Option<Event>), TchError> {
        match self {
            Lane::Gpu { device, stream } => {
                stream.wait_for(&Stream::current(*device)?.record()?)?;
                let begin = trace::is_on().then(|| stream.record()).transpose()?;
                Ok((stream.native()?, begin))
            }
            Lane::Host(_) => Ok((std::ptr::null_mut(), None)),
        }
    }

    /// Returns the end of operation `number`, which has just been started.
    pub fn end(&self, number: u64) -> Result<End, TchError> {
        match self {
            Lane::Gpu { stream, .. } => stream.record().map(End::Event),
            Lane::Host(_) => Ok(End::Number(number)),
        }
    }

    /// Returns whether `end` has come.
    pub fn has_come(&self, end: &End, communicator: RawCommunicator) -> Result<bool, TchError> {
        match (self, end) {
            (_, End::Event(event)) => event.has_passed(),
            (Lane::Host(stand_in), End::Number(number)) => {
                // SAFETY: the stand-in's communicators stay in memory.
                Ok(unsafe { (stand_in.wait)(communicator, *number, 0) } != 0)
            }
            (Lane::Gpu { .. }, End::Number(_)) => unreachable!("a GPU's operations end with events"),
        }
    }

    /// Makes later computations of the calling thread wait for `end`. On a GPU the thread itself goes on.
    pub fn join(&self, end: &End, communicator: RawCommunicator) -> Result<(), TchError> {
        match (self, end) {
            (Lane::Gpu { device, .. }, End::Event(event)) => Stream::current(*device)?.wait_for(event),
            (Lane::Host(stand_in), End::Number(number)) => {
                // Waits for ever: the watchdog ends the process if the operation does not end.
                // SAFETY: the stand-in's communicators stay in memory.
                while unsafe { (stand_in.wait)(communicator, *number, STAND_IN_WAIT_MS) } == 0 {}
                Ok(())
            }
            _ => unreachable!("an end of another lane"),
        }
    }
}

/// Returns the `ncclDataType_t` of a kind; `None` if NCCL has none.
pub fn data_type(kind: Kind) -> Option<c_int> {
    match kind {
        Kind::Uint8 => Some(1),
        Kind::Int64 => Some(4),
        Kind::Float => Some(7),
        Kind::Double => Some(8),
        Kind::BFloat16 => Some(9),
        _ => None,
    }
}
