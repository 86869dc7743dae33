//! Stands in for `libnccl.so.2` in tests. **It is not NCCL**, and nothing but tests loads it.
//!
//! It has the C functions of NCCL that Convoy calls, over TCP on the loopback interface and on host memory, so that what
//! Convoy does around NCCL (loading it, exchanging the id, polling, time-outs, aborting) runs without a GPU. What it
//! cannot show is anything about NCCL itself, CUDA streams and events, or speed.
//!
//! - this file: the C functions of NCCL, and three more that only a stand-in has.
//! - [`communicator`]: a communicator and the thread that carries its operations out, one after the other.
//! - [`exchange`]: one operation between ranks; rank 0 collects, combines in rank order, and answers.
//! - [`plan`]: what goes wrong on purpose, from the environment.
//!
//! What only a stand-in has: a host has no streams, so completion is asked for by [`convoy_stand_in_wait`], and which host
//! tensors go through it by [`convoy_stand_in_carries`]. Both are how Convoy knows that this is no NCCL.

mod communicator;
mod exchange;
mod plan;

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;
use std::time::Duration;

use communicator::{Communicator, Job};
use exchange::{Kind, Operation, Reduction};

const SUCCESS: c_int = 0;
const SYSTEM_ERROR: c_int = 2;
const INVALID_ARGUMENT: c_int = 4;
const REMOTE_ERROR: c_int = 6;
const IN_PROGRESS: c_int = 7;

/// `ncclUniqueId`: here the port where rank 0 listens.
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

/// The version of NCCL whose header this follows.
///
/// # Safety
/// `version` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclGetVersion(version: *mut c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { *version = 22_809 };
    SUCCESS
}

/// Begins to listen for the other ranks.
///
/// # Safety
/// `id` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclGetUniqueId(id: *mut UniqueId) -> c_int {
    let Ok(port) = communicator::listen() else { return SYSTEM_ERROR };
    let mut bytes = [0; 128];
    bytes[..2].copy_from_slice(&port.to_le_bytes());
    // SAFETY: the caller's promise.
    unsafe { *id = UniqueId(bytes) };
    SUCCESS
}

/// Begins to connect the ranks; [`ncclCommGetAsyncError`] says when that is done. Always non-blocking.
///
/// # Safety
/// `communicator` can be written, and `config` read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclCommInitRankConfig(
    communicator: *mut *const Communicator,
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
    let started = Communicator::start(rank, world, u16::from_le_bytes([id.0[0], id.0[1]]));
    // SAFETY: the caller's promise.
    unsafe { *communicator = Arc::into_raw(started) };
    IN_PROGRESS
}

/// How the communicator is.
///
/// # Safety
/// `communicator` comes from [`ncclCommInitRankConfig`]; `result` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclCommGetAsyncError(communicator: *const Communicator, result: *mut c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { *result = (*communicator).result() };
    SUCCESS
}

/// Ends everything at once. The memory stays, since another thread may still be waiting.
///
/// # Safety
/// `communicator` comes from [`ncclCommInitRankConfig`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclCommAbort(communicator: *const Communicator) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { (*communicator).abort() };
    SUCCESS
}

/// Nothing is left to flush: whoever finalises has waited for everything.
///
/// # Safety
/// None is needed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclCommFinalize(_communicator: *const Communicator) -> c_int {
    SUCCESS
}

/// Ends the communicator.
///
/// # Safety
/// `communicator` comes from [`ncclCommInitRankConfig`], and is not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclCommDestroy(communicator: *const Communicator) -> c_int {
    // SAFETY: the caller's promise; the count that init gave away is taken back here.
    unsafe { Arc::from_raw(communicator) }.close();
    SUCCESS
}

/// The name of a result.
#[unsafe(no_mangle)]
pub extern "C" fn ncclGetErrorString(result: c_int) -> *const c_char {
    let text: &CStr = match result {
        SUCCESS => c"no error",
        SYSTEM_ERROR => c"unhandled system error (of the stand-in)",
        INVALID_ARGUMENT => c"invalid argument (to the stand-in)",
        REMOTE_ERROR => c"remote process exited or there was a network error (of the stand-in)",
        IN_PROGRESS => c"in progress",
        _ => c"unknown result (of the stand-in)",
    };
    text.as_ptr()
}

/// More about the last error; the stand-in has nothing to add.
#[unsafe(no_mangle)]
pub extern "C" fn ncclGetLastError(_communicator: *const Communicator) -> *const c_char {
    c"".as_ptr()
}

/// Combines `count` elements of all ranks.
///
/// # Safety
/// As for NCCL: the buffers hold `count` elements until the operation is complete.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclAllReduce(
    send: *const c_void,
    receive: *mut c_void,
    count: usize,
    kind: c_int,
    reduction: c_int,
    communicator: *const Communicator,
    _stream: *mut c_void,
) -> c_int {
    let reduction = Reduction::of(reduction);
    // SAFETY: the caller's promise.
    unsafe { enqueue(communicator, kind, reduction.map(Operation::AllReduce), (send, count), (receive, count)) }
}

/// Sums, and gives each rank its `count` elements.
///
/// # Safety
/// As for NCCL: `send` holds `count` elements for each rank, `receive` `count`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclReduceScatter(
    send: *const c_void,
    receive: *mut c_void,
    count: usize,
    kind: c_int,
    reduction: c_int,
    communicator: *const Communicator,
    _stream: *mut c_void,
) -> c_int {
    let reduction = Reduction::of(reduction);
    // SAFETY: the caller's promise.
    unsafe {
        let all = count * (*communicator).world;
        enqueue(communicator, kind, reduction.map(Operation::ReduceScatter), (send, all), (receive, count))
    }
}

/// Gives each rank the `count` elements of all.
///
/// # Safety
/// As for NCCL: `send` holds `count` elements, `receive` `count` for each rank.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclAllGather(
    send: *const c_void,
    receive: *mut c_void,
    count: usize,
    kind: c_int,
    communicator: *const Communicator,
    _stream: *mut c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        let all = count * (*communicator).world;
        enqueue(communicator, kind, Some(Operation::AllGather), (send, count), (receive, all))
    }
}

/// Gives each rank the `count` elements of `root`.
///
/// # Safety
/// As for NCCL: the buffers hold `count` elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclBroadcast(
    send: *const c_void,
    receive: *mut c_void,
    count: usize,
    kind: c_int,
    root: c_int,
    communicator: *const Communicator,
    _stream: *mut c_void,
) -> c_int {
    let operation = usize::try_from(root).ok().map(|root| Operation::Broadcast { root });
    // SAFETY: the caller's promise.
    unsafe { enqueue(communicator, kind, operation, (send, count), (receive, count)) }
}

/// Hands an operation on buffers of so many elements to the communicator's thread.
unsafe fn enqueue(
    communicator: *const Communicator,
    kind: c_int,
    operation: Option<Operation>,
    (send, send_count): (*const c_void, usize),
    (receive, receive_count): (*mut c_void, usize),
) -> c_int {
    let (Some(operation), Some(kind)) = (operation, Kind::of(kind)) else { return INVALID_ARGUMENT };
    let bytes = |count: usize| count * kind.bytes();
    // SAFETY: the caller's promise, which lasts until the operation is complete.
    unsafe {
        let job = Job::new(operation, kind, (send, bytes(send_count)), (receive, bytes(receive_count)));
        (*communicator).enqueue(job)
    }
}

/// Only in the stand-in: whether host tensors of the data type go through it. Those of gradients do, as they are on a GPU
/// where there is NCCL; what ranks agree on stays with MPI, unless `CONVOY_STAND_IN_KINDS=all`.
#[unsafe(no_mangle)]
pub extern "C" fn convoy_stand_in_carries(kind: c_int) -> c_int {
    let is_carried = match Kind::of(kind) {
        Some(Kind::Float32 | Kind::BFloat16) => true,
        Some(_) => std::env::var_os("CONVOY_STAND_IN_KINDS").is_some_and(|kinds| kinds == "all"),
        None => false,
    };
    c_int::from(is_carried)
}

/// Only in the stand-in: waits until `number` operations are complete, at most so long; whether they are.
///
/// # Safety
/// `communicator` comes from [`ncclCommInitRankConfig`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convoy_stand_in_wait(
    communicator: *const Communicator,
    number: u64,
    timeout_ms: u32,
) -> c_int {
    // SAFETY: the caller's promise.
    c_int::from(unsafe { (*communicator).wait(number, Duration::from_millis(u64::from(timeout_ms))) })
}
