//! Stands in for `libnccl.so.2` in tests. **It is not NCCL**, and nothing but tests loads it.
//!
//! It has the C functions of NCCL that Convoy calls, over TCP on the loopback interface and on host memory, so that what
//! Convoy does around NCCL (loading it, exchanging the id, polling, time-outs, aborting) runs without a GPU. What it
//! cannot show is anything about NCCL itself, CUDA streams and events, or speed.
//!
//! - this file: the C functions of NCCL, and two more that only a stand-in has.
//! - [`communicator`]: a communicator, and the thread that performs its operations one after another.
//! - [`job`]: an operation on the caller's buffers; [`operation`]: its kind, by NCCL's numbers.
//! - [`exchange`]: one operation between ranks; rank 0 collects, combines in rank order, and answers.
//! - [`plan`]: faults on purpose, from the environment.
#![allow(clippy::missing_safety_doc, reason = "what callers owe is in NCCL's documentation")]
#![allow(non_snake_case, reason = "the names are NCCL's")]
#![allow(unsafe_code, reason = "has NCCL's C functions, whose callers pass pointers")]

mod communicator;
mod exchange;
mod job;
mod operation;
mod plan;

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;
use std::time::Duration;

use communicator::Communicator;
use job::Job;
use operation::{Kind, Operation, Reduction};
use plan::{Fault, Plan};

const SUCCESS: c_int = 0;
const SYSTEM_ERROR: c_int = 2;
const INVALID_ARGUMENT: c_int = 4;
const REMOTE_ERROR: c_int = 6;
const IN_PROGRESS: c_int = 7;

type Comm = *const Communicator;
type In = *const c_void;
type Out = *mut c_void;
type Stream = *mut c_void;

/// The id `ncclUniqueId`: here, the port where rank 0 listens.
#[repr(C)]
pub struct UniqueId([u8; 128]);

/// The head of `ncclConfig_t`, which is all that matters here.
#[repr(C)]
pub struct Config {
    size: usize,
    magic: u32,
    version: u32,
    blocking: c_int,
}

/// Stores the version of NCCL whose header this library follows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclGetVersion(version: *mut c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { *version = 22_809 };
    SUCCESS
}

/// Starts to listen for the other ranks, and stores where.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclGetUniqueId(id: *mut UniqueId) -> c_int {
    let Ok(port) = communicator::listen() else { return SYSTEM_ERROR };
    let mut bytes = [0; 128];
    bytes[..2].copy_from_slice(&port.to_le_bytes());
    // SAFETY: the caller's promise.
    unsafe { *id = UniqueId(bytes) };
    SUCCESS
}

/// Starts to connect the ranks; [`ncclCommGetAsyncError`] says when they are connected. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclCommInitRankConfig(
    comm: *mut Comm,
    world: c_int,
    id: UniqueId,
    rank: c_int,
    config: *const Config,
) -> c_int {
    // SAFETY: the caller's promise.
    let config = unsafe { &*config };
    let (Ok(rank), Ok(world)) = (usize::try_from(rank), usize::try_from(world)) else { return INVALID_ARGUMENT };
    if config.magic != 0xcafe_beef || config.size < size_of::<Config>() || config.blocking != 0 || rank >= world {
        return INVALID_ARGUMENT;
    }
    if Plan::of_rank(rank).at_init() == Some(Fault::Hang) {
        communicator::hang();
    }
    let started = Communicator::start(rank, world, u16::from_le_bytes([id.0[0], id.0[1]]));
    // SAFETY: the caller's promise.
    unsafe { *comm = Arc::into_raw(started) };
    IN_PROGRESS
}

/// Stores the state of the communicator.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclCommGetAsyncError(comm: Comm, result: *mut c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { *result = (*comm).result() };
    SUCCESS
}

/// Aborts the communicator at once. Its memory stays, since another thread may still be waiting.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclCommAbort(comm: Comm) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { (*comm).abort() };
    SUCCESS
}

/// Succeeds: a caller that finalises has waited for everything, so nothing is left to flush.
#[unsafe(no_mangle)]
pub extern "C" fn ncclCommFinalize(_comm: Comm) -> c_int {
    SUCCESS
}

/// Closes the communicator.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclCommDestroy(comm: Comm) -> c_int {
    // SAFETY: the caller's promise; the count that the initialisation gave away is taken back here.
    unsafe { Arc::from_raw(comm) }.close();
    SUCCESS
}

/// Returns the name of a result.
#[unsafe(no_mangle)]
pub extern "C" fn ncclGetErrorString(result: c_int) -> *const c_char {
    let text: &CStr = match result {
        SYSTEM_ERROR => c"unhandled system error (of the stand-in)",
        INVALID_ARGUMENT => c"invalid argument (to the stand-in)",
        REMOTE_ERROR => c"remote process exited or there was a network error (of the stand-in)",
        _ => c"no error (of the stand-in)",
    };
    text.as_ptr()
}

/// Returns more about the last error; the stand-in has nothing to add.
#[unsafe(no_mangle)]
pub extern "C" fn ncclGetLastError(_comm: Comm) -> *const c_char {
    c"".as_ptr()
}

/// Combines `n` elements of all ranks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclAllReduce(
    a: In,
    b: Out,
    n: usize,
    kind: c_int,
    op: c_int,
    comm: Comm,
    _: Stream,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { enqueue(comm, kind, Reduction::of(op).map(Operation::AllReduce), (a, n), (b, n)) }
}

/// Sums, and gives each rank its `n` elements of the sum.
#[unsafe(no_mangle)]
#[rustfmt::skip]
pub unsafe extern "C" fn ncclReduceScatter(a: In, b: Out, n: usize, kind: c_int, op: c_int, comm: Comm, _: Stream) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        let all = n * (*comm).world;
        enqueue(comm, kind, Reduction::of(op).map(Operation::ReduceScatter), (a, all), (b, n))
    }
}

/// Gives each rank the `n` elements of every rank.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclAllGather(a: In, b: Out, n: usize, kind: c_int, comm: Comm, _: Stream) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        let all = n * (*comm).world;
        enqueue(comm, kind, Some(Operation::AllGather), (a, n), (b, all))
    }
}

/// Gives each rank the `n` elements of `root`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclBroadcast(
    a: In,
    b: Out,
    n: usize,
    kind: c_int,
    root: c_int,
    comm: Comm,
    _: Stream,
) -> c_int {
    let operation = usize::try_from(root).ok().map(|root| Operation::Broadcast { root });
    // SAFETY: the caller's promise.
    unsafe { enqueue(comm, kind, operation, (a, n), (b, n)) }
}

/// Queues an operation on buffers of the given numbers of elements for the communicator's thread.
unsafe fn enqueue(comm: Comm, kind: c_int, op: Option<Operation>, (a, n): (In, usize), (b, m): (Out, usize)) -> c_int {
    let (Some(op), Some(kind)) = (op, Kind::of(kind)) else { return INVALID_ARGUMENT };
    // SAFETY: the caller's promise, which lasts until the operation is complete.
    unsafe { (*comm).enqueue(Job::new(op, kind, (a, n * kind.bytes()), (b, m * kind.bytes()))) }
}

/// Returns whether host tensors of the data type `kind` go through this library, which NCCL has no function for. Gradients
/// do, since they are on a GPU where there is NCCL. What ranks agree on stays with MPI, unless `CONVOY_STAND_IN_KINDS=all`.
#[unsafe(no_mangle)]
pub extern "C" fn convoy_stand_in_carries(kind: c_int) -> c_int {
    let is_carried = match Kind::of(kind) {
        Some(Kind::Float32 | Kind::BFloat16) => true,
        Some(_) => std::env::var_os("CONVOY_STAND_IN_KINDS").is_some_and(|kinds| kinds == "all"),
        None => false,
    };
    c_int::from(is_carried)
}

/// Waits at most `timeout_ms` until `number` operations are complete, and returns whether they are. NCCL has no such
/// function; a host has no streams to wait on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convoy_stand_in_wait(comm: Comm, number: u64, timeout_ms: u32) -> c_int {
    // SAFETY: the caller's promise.
    c_int::from(unsafe { (*comm).wait(number, Duration::from_millis(u64::from(timeout_ms))) })
}
