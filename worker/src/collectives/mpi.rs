//! MPI through host memory.
//!
//! One thread owns all of MPI: it initialises it, runs blocking operations from a queue, and finalises it. The
//! operations are blocking on purpose, since non-blocking collectives progress only inside MPI calls. Before a large
//! operation the thread sleeps until all ranks have come. Other threads call MPI only to abort.

#![allow(unsafe_code, reason = "calls MPI, a C library, with addresses in tensors")]

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ::mpi::environment::Threading;
use ::mpi::ffi as mpi_ffi;
use ::mpi::traits::Communicator;
use common::topology::{Rank, WorldSize};
use tch::{Device, Kind, Tensor};

use super::in_flight::{self, InFlight};
use super::{Collectives, CollectivesError, Label, Pending, ReduceOp};

/// Name of MPI in messages.
const CARRIER: &str = "MPI";

/// Size in bytes from which an operation sleeps until all ranks have come.
const LARGE_BYTES: usize = 1 << 16;
/// Pauses between two checks whether all ranks have come: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_micros(20), Duration::from_micros(500)];

/// MPI counts are C ints; longer operations are split.
const ELEMENTS_MAX: usize = 1 << 28;

unsafe extern "C" {
    fn convoy_mpi_in_place() -> *mut c_void;
}

/// Reason why MPI cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot start MPI: {0}; start several ranks with mpirun or srun, and check that both use the same MPI library")]
pub struct StartError(&'static str);

/// All ranks of MPI_COMM_WORLD.
pub struct Mpi {
    rank: Rank,
    world_size: WorldSize,
    timeout_ms: AtomicU64,
    in_flight: Arc<InFlight>,
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    /// Number of the operation in [`InFlight`].
    number: u64,
    operation: Operation,
    done: Sender<()>,
}

enum Operation {
    AllReduce(Tensor, ReduceOp),
    ReduceScatter { input: Tensor, output: Tensor },
    AllGather { input: Tensor, output: Tensor },
    Broadcast(Tensor, Rank),
    Barrier,
}

/// Returns whether this process was started as one of several by mpirun or srun.
pub fn is_launched_by_mpi() -> bool {
    ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"].iter().any(|name| std::env::var_os(name).is_some())
}

impl Mpi {
    /// Initialises MPI. An operation that takes longer than `timeout` means a lost rank.
    pub fn start(timeout: Duration) -> Result<Self, StartError> {
        let (jobs, queue) = mpsc::channel();
        let (started, world) = mpsc::channel();
        let in_flight = Arc::new(InFlight::default());
        let own = in_flight.clone();
        let thread = std::thread::Builder::new()
            .name("mpi".into())
            .spawn(move || own_mpi(&queue, &started, &own))
            .map_err(|_| StartError("no thread can be started"))?;
        let (rank, size) = world.recv().map_err(|_| StartError("MPI_Init_thread failed"))?;
        let world_size = WorldSize::new(size).ok_or(StartError("MPI has no ranks"))?;
        Ok(Mpi {
            rank: Rank(rank),
            world_size,
            timeout_ms: AtomicU64::new(timeout.as_millis() as u64),
            in_flight,
            jobs: Mutex::new(Some(jobs)),
            thread: Some(thread),
        })
    }

    fn submit(&self, name: &'static str, label: Label, operation: Operation) -> Pending {
        let described = in_flight::Operation { name, label, carrier: CARRIER };
        let number = self.in_flight.begin(described);
        let (done, receiver) = mpsc::channel();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(jobs) = jobs.as_ref() {
            // A closed queue drops `done`, which the waiter sees.
            let _ = jobs.send(Job { number, operation, done });
        }
        let timeout = Duration::from_millis(self.timeout_ms.load(Ordering::Relaxed));
        let in_flight = self.in_flight.clone();
        Pending::new(move || {
            receiver.recv_timeout(timeout).map_err(|error| match error {
                RecvTimeoutError::Timeout => in_flight.timed_out(CARRIER, timeout),
                RecvTimeoutError::Disconnected => CollectivesError::Closed { operation: described.to_string() },
            })
        })
    }
}

impl Drop for Mpi {
    /// Ends the thread, which finalises MPI. Does not return on any rank until every rank has called it.
    fn drop(&mut self) {
        drop(self.jobs.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Limit of the time that ending the other ranks may take; MPI would wait for ever for ranks that cannot be reached.
const ABORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Ends all ranks of the world with `code`, from any thread.
pub fn abort_world(code: c_int) -> ! {
    // If no thread can be started, the abort may take as long as MPI likes.
    let _ = std::thread::Builder::new().spawn(move || {
        std::thread::sleep(ABORT_TIMEOUT);
        // SAFETY: ends this process without running its exit handlers, which could wait for what the abort waits for.
        unsafe { nix::libc::_exit(code) }
    });
    // SAFETY: MPI_Abort may be called at any time between init and finalise. It is the only call that other threads
    // than MPI's own make, and nothing is done afterwards.
    unsafe {
        let (mut initialized, mut finalized) = (0, 0);
        mpi_ffi::MPI_Initialized(&mut initialized);
        mpi_ffi::MPI_Finalized(&mut finalized);
        if initialized != 0 && finalized == 0 {
            mpi_ffi::MPI_Abort(mpi_ffi::RSMPI_COMM_WORLD, code);
        }
    }
    std::process::exit(code)
}

/// Runs the body of the thread that owns MPI.
fn own_mpi(queue: &Receiver<Job>, started: &Sender<(u32, u32)>, in_flight: &InFlight) {
    // Multiple, because another thread may abort while an operation runs here.
    let Some((universe, _)) = ::mpi::initialize_with_threading(Threading::Multiple) else { return };
    let world = universe.world();
    let (rank, size) = (world.rank() as u32, world.size() as u32);
    if started.send((rank, size)).is_err() {
        return;
    }
    for Job { number, operation, done } in queue {
        if size > 1 && operation.bytes() >= LARGE_BYTES {
            meet();
        }
        run(&operation, (rank as usize, size as usize));
        drop(operation);
        in_flight.end(number);
        // Nobody waits any more if the process is ending.
        let _ = done.send(());
    }
}

impl Operation {
    /// Returns the bytes of the operation's larger tensor, equal on every rank.
    fn bytes(&self) -> usize {
        let tensor = match self {
            Operation::AllReduce(tensor, _) | Operation::Broadcast(tensor, _) => tensor,
            Operation::ReduceScatter { input, .. } => input,
            Operation::AllGather { output, .. } => output,
            Operation::Barrier => return 0,
        };
        tensor.numel() * tensor.kind().elt_size_in_bytes()
    }
}

/// Returns when every rank has called it. Inside an operation, MPI waits for other ranks at full speed, and takes the
/// core from the computation beside it.
fn meet() {
    let [mut pause, longest] = PAUSES;
    let mut all_are_here = 0;
    // SAFETY: MPI is initialised on this thread; the first call writes the request, which lives until the last call
    // has completed it.
    unsafe {
        let mut request = std::mem::zeroed();
        mpi_ffi::MPI_Ibarrier(mpi_ffi::RSMPI_COMM_WORLD, &mut request);
        loop {
            mpi_ffi::MPI_Test(&mut request, &mut all_are_here, mpi_ffi::RSMPI_STATUS_IGNORE);
            if all_are_here != 0 {
                return;
            }
            std::thread::sleep(pause);
            pause = longest.min(2 * pause);
        }
    }
}

fn datatype(tensor: &Tensor) -> mpi_ffi::MPI_Datatype {
    assert!(tensor.is_contiguous(), "a collective needs a contiguous tensor");
    assert_eq!(tensor.device(), Device::Cpu, "MPI reads and writes host memory");
    // SAFETY: reads constants of the MPI library.
    unsafe {
        match tensor.kind() {
            Kind::Float => mpi_ffi::RSMPI_FLOAT,
            Kind::Double => mpi_ffi::RSMPI_DOUBLE,
            Kind::Int64 => mpi_ffi::RSMPI_INT64_T,
            Kind::Uint8 => mpi_ffi::RSMPI_UINT8_T,
            // Only moved, never reduced.
            Kind::BFloat16 => mpi_ffi::RSMPI_UINT16_T,
            other => panic!("no collective exists for {other:?}"),
        }
    }
}

fn mpi_op(op: ReduceOp) -> mpi_ffi::MPI_Op {
    // SAFETY: reads constants of the MPI library.
    unsafe {
        match op {
            ReduceOp::Sum => mpi_ffi::RSMPI_SUM,
            ReduceOp::Max => mpi_ffi::RSMPI_MAX,
            ReduceOp::BitOr => mpi_ffi::RSMPI_BOR,
        }
    }
}

/// Returns ranges of at most [`ELEMENTS_MAX`] that cover `elements`.
fn pieces(elements: usize) -> impl Iterator<Item = (usize, c_int)> {
    (0..elements).step_by(ELEMENTS_MAX).map(move |at| (at, (elements - at).min(ELEMENTS_MAX) as c_int))
}

/// Returns the address of element `index`.
fn at(tensor: &Tensor, index: usize) -> *mut c_void {
    tensor.data_ptr().wrapping_byte_add(index * tensor.kind().elt_size_in_bytes())
}

/// Runs one operation to its end. MPI's errors are fatal by default: they abort the world with a message.
fn run(operation: &Operation, me: (usize, usize)) {
    match operation {
        Operation::AllReduce(tensor, op) => reduced(tensor, |tensor| all_reduce(tensor, *op)),
        Operation::ReduceScatter { input, output } if input.kind() == Kind::BFloat16 => {
            let wide = input.to_kind(Kind::Float);
            let part = wide.narrow(0, (me.0 * output.numel()) as i64, output.numel() as i64);
            reduce_scatter(&wide, &part, me);
            output.shallow_clone().copy_(&part);
        }
        Operation::ReduceScatter { input, output } => reduce_scatter(input, output, me),
        Operation::AllGather { input, output } => all_gather(input, output, me),
        Operation::Broadcast(tensor, root) => {
            for (start, count) in pieces(tensor.numel()) {
                // SAFETY: `count` elements from `start` lie in the tensor, which the queue keeps alive.
                unsafe {
                    let (kind, root) = (datatype(tensor), root.0 as c_int);
                    mpi_ffi::MPI_Bcast(at(tensor, start), count, kind, root, mpi_ffi::RSMPI_COMM_WORLD);
                }
            }
        }
        Operation::Barrier => {
            // SAFETY: MPI is initialised on this thread.
            unsafe { mpi_ffi::MPI_Barrier(mpi_ffi::RSMPI_COMM_WORLD) };
        }
    }
}

fn all_reduce(tensor: &Tensor, op: ReduceOp) {
    for (start, count) in pieces(tensor.numel()) {
        // SAFETY: `count` elements from `start` lie in the tensor, which the queue keeps alive.
        unsafe {
            mpi_ffi::MPI_Allreduce(
                convoy_mpi_in_place(),
                at(tensor, start),
                count,
                datatype(tensor),
                mpi_op(op),
                mpi_ffi::RSMPI_COMM_WORLD,
            );
        }
    }
}

/// Returns whether `part` is memory of `whole`: part `rank` of its equal parts, one for each rank.
fn lies_within(part: &Tensor, whole: &Tensor, rank: usize) -> bool {
    part.numel() > 0 && part.data_ptr() == at(whole, rank * part.numel())
}

fn reduce_scatter(input: &Tensor, output: &Tensor, (rank, world): (usize, usize)) {
    let part = output.numel();
    assert_eq!(input.kind(), output.kind(), "reduce-scatter: input and output are of different kinds");
    assert_eq!(input.numel(), part * world, "reduce-scatter: the input is world size times the output");
    assert!(part <= ELEMENTS_MAX, "reduce-scatter: a part of {part} elements exceeds {ELEMENTS_MAX}");
    if part == 0 {
        return;
    }
    let is_in_place = lies_within(output, input, rank);
    // In place, MPI leaves the result at the start of the input.
    let (from, to) = match is_in_place {
        // SAFETY: reads a constant of the MPI library.
        true => (unsafe { convoy_mpi_in_place() }, input.data_ptr()),
        false => (input.data_ptr(), output.data_ptr()),
    };
    // SAFETY: the input holds `part` elements for each rank, the output `part`; the queue keeps both alive.
    unsafe {
        let (kind, sum) = (datatype(input), mpi_op(ReduceOp::Sum));
        mpi_ffi::MPI_Reduce_scatter_block(from, to, part as c_int, kind, sum, mpi_ffi::RSMPI_COMM_WORLD);
    }
    if is_in_place && rank > 0 {
        output.shallow_clone().copy_(&input.view([-1]).narrow(0, 0, part as i64).view_as(output));
    }
}

fn all_gather(input: &Tensor, output: &Tensor, (rank, world): (usize, usize)) {
    let part = input.numel();
    assert_eq!(input.kind(), output.kind(), "all-gather: input and output are of different kinds");
    assert_eq!(output.numel(), part * world, "all-gather: the output is world size times the input");
    assert!(part <= ELEMENTS_MAX, "all-gather: a part of {part} elements exceeds {ELEMENTS_MAX}");
    if part == 0 {
        return;
    }
    let from = match lies_within(input, output, rank) {
        // SAFETY: reads a constant of the MPI library.
        true => unsafe { convoy_mpi_in_place() },
        false => input.data_ptr(),
    };
    // SAFETY: the input holds `part` elements, the output `part` for each rank; the queue keeps both alive.
    unsafe {
        let (count, kind) = (part as c_int, datatype(output));
        mpi_ffi::MPI_Allgather(from, count, kind, output.data_ptr(), count, kind, mpi_ffi::RSMPI_COMM_WORLD);
    }
}

/// Runs a reduction of `tensor`, in float32 if it is bfloat16, which MPI does not know.
fn reduced(tensor: &Tensor, reduce: impl FnOnce(&Tensor)) {
    match tensor.kind() {
        Kind::BFloat16 => {
            let wide = tensor.to_kind(Kind::Float);
            reduce(&wide);
            tensor.shallow_clone().copy_(&wide);
        }
        _ => reduce(tensor),
    }
}

impl Collectives for Mpi {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn world_size(&self) -> WorldSize {
        self.world_size
    }

    fn set_timeout(&self, timeout: Duration) {
        self.timeout_ms.store(timeout.as_millis() as u64, Ordering::Relaxed);
    }

    fn in_flight(&self) -> &Arc<InFlight> {
        &self.in_flight
    }

    fn all_reduce(&self, tensor: &Tensor, op: ReduceOp, label: Label) -> Pending {
        self.submit("all-reduce", label, Operation::AllReduce(tensor.shallow_clone(), op))
    }

    fn reduce_scatter(&self, input: &Tensor, output: &Tensor, label: Label) -> Pending {
        let operation = Operation::ReduceScatter { input: input.shallow_clone(), output: output.shallow_clone() };
        self.submit("reduce-scatter", label, operation)
    }

    fn all_gather(&self, input: &Tensor, output: &Tensor, label: Label) -> Pending {
        let operation = Operation::AllGather { input: input.shallow_clone(), output: output.shallow_clone() };
        self.submit("all-gather", label, operation)
    }

    fn broadcast(&self, tensor: &Tensor, root: Rank, label: Label) -> Pending {
        self.submit("broadcast", label, Operation::Broadcast(tensor.shallow_clone(), root))
    }

    fn barrier(&self, label: Label) -> Pending {
        self.submit("barrier", label, Operation::Barrier)
    }
}
