//! The conformance suite of the collectives: one list of checks, run by one process alone (`single`), by 1 to 4
//! processes of this very test under a real mpirun (`mpi`), and by 2 to 4 over a stand-in for NCCL (`nccl`), which
//! also fails here in every way that Convoy must survive. No test here has run on a real NCCL.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use common::exit_code::ExitCode;
use common::host_name::host_name;
use common::topology::Rank;
use tch::{Device, Kind, Tensor};
use tests::process::{both, run_with_deadline};
use tests::training::DEADLINE;
use worker::collectives::nccl::{Ending, Nccl};
use worker::collectives::{Collectives, Label, Pending, ReduceOp, mpi};
use worker::libtorch::random::Random;
use worker::world::{announce_failure, fail, leave, start_collectives};

/// Elements per rank: none, one, an odd number, and more than one MPI segment.
const SIZES: [i64; 5] = [0, 1, 7, 1000, 1_000_003];
const KINDS: [Kind; 5] = [Kind::Float, Kind::BFloat16, Kind::Double, Kind::Int64, Kind::Uint8];
const LABEL: Label = Label::new("a test");

/// Returns the device of tensors: the host, or this rank's GPU if `scripts/gpu_check.sh` asks for it.
fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    *DEVICE.get_or_init(|| match std::env::var_os("CONVOY_TEST_ON_GPU") {
        None => Device::Cpu,
        Some(_) => {
            let gpus = worker::libtorch::cuda::load().unwrap();
            let rank = std::env::var("OMPI_COMM_WORLD_LOCAL_RANK").map_or(0, |rank| rank.parse().unwrap());
            Device::Cuda(rank % gpus)
        }
    })
}

/// Returns small whole numbers, exact in every kind, for elements i of rank r.
fn values(n: i64, rank: u32, kind: Kind) -> Tensor {
    let i = Tensor::arange(n, (Kind::Int64, Device::Cpu));
    ((i * 3 + i64::from(rank)).remainder(11)).to_kind(kind).to_device(device())
}

/// Returns the sum over all ranks of [`values`].
fn total(n: i64, world: u32, kind: Kind) -> Tensor {
    (0..world).map(|r| values(n, r, kind)).reduce(|a, b| a + b).unwrap().to_kind(kind)
}

fn all_reduce_sums_and_takes_the_largest(ranks: &dyn Collectives, world: u32) {
    for kind in KINDS {
        for n in SIZES {
            let sum = values(n, ranks.rank().0, kind);
            ranks.all_reduce(&sum, ReduceOp::Sum, LABEL).wait().unwrap();
            assert_eq!(sum, total(n, world, kind), "{kind:?} {n}");
            let max = values(n, ranks.rank().0, kind);
            ranks.all_reduce(&max, ReduceOp::Max, LABEL).wait().unwrap();
            let expected = (0..world).map(|r| values(n, r, kind)).reduce(|a, b| a.maximum(&b)).unwrap();
            assert_eq!(max, expected, "{kind:?} {n}");
        }
    }
}

fn all_reduce_gives_every_rank_the_same_bits(ranks: &dyn Collectives) {
    let random = Random::seeded(u64::from(ranks.rank().0));
    let noise = random.normal(&[100_003], (Kind::Float, Device::Cpu)).to_device(device());
    ranks.all_reduce(&noise, ReduceOp::Sum, LABEL).wait().unwrap();
    let bits = noise.view_dtype(Kind::Int).sum(Kind::Int64).int64_value(&[]);
    ranks.agree_same(bits as u64, "a reduced sum").unwrap();
}

fn reduce_scatter_gives_each_rank_its_part(ranks: &dyn Collectives, world: u32) {
    for kind in KINDS {
        for n in SIZES {
            let input = values(n * i64::from(world), ranks.rank().0, kind);
            let output = Tensor::zeros([n], (kind, device()));
            ranks.reduce_scatter(&input, &output, LABEL).wait().unwrap();
            let whole = total(n * i64::from(world), world, kind);
            assert_eq!(output, whole.narrow(0, n * i64::from(ranks.rank().0), n), "{kind:?} {n}");
        }
    }
}

fn parts_may_lie_in_the_whole(ranks: &dyn Collectives, world: u32) {
    let (rank, world_size) = (i64::from(ranks.rank().0), i64::from(world));
    for kind in KINDS {
        for n in SIZES {
            let whole = values(n * world_size, ranks.rank().0, kind);
            let part = whole.narrow(0, n * rank, n);
            ranks.reduce_scatter(&whole, &part, LABEL).wait().unwrap();
            let expected = total(n * world_size, world, kind);
            assert_eq!(part, expected.narrow(0, n * rank, n), "{kind:?} {n}");
            ranks.all_gather(&part, &whole, LABEL).wait().unwrap();
            assert_eq!(whole, expected, "{kind:?} {n}");
        }
    }
}

fn all_gather_keeps_the_order_of_ranks(ranks: &dyn Collectives, world: u32) {
    for kind in KINDS {
        for n in SIZES {
            let output = Tensor::zeros([n * i64::from(world)], (kind, device()));
            ranks.all_gather(&values(n, ranks.rank().0, kind), &output, LABEL).wait().unwrap();
            let parts: Vec<_> = (0..world).map(|r| values(n, r, kind)).collect();
            assert_eq!(output, Tensor::cat(&parts, 0), "{kind:?} {n}");
        }
    }
}

fn broadcast_comes_from_any_root(ranks: &dyn Collectives, world: u32) {
    for kind in KINDS {
        for n in SIZES {
            for root in 0..world {
                let tensor = values(n, ranks.rank().0, kind);
                ranks.broadcast(&tensor, Rank(root), LABEL).wait().unwrap();
                assert_eq!(tensor, values(n, root, kind), "{kind:?} {n} from {root}");
            }
        }
    }
}

fn agreements_hold_on_every_rank(ranks: &dyn Collectives, world: u32) {
    let rank = ranks.rank().0;
    assert_eq!(ranks.agree_any(1 << rank).unwrap(), (1 << world) - 1);
    assert_eq!(ranks.agree_any(0).unwrap(), 0);
    ranks.agree_same(u64::MAX - 5, "a constant").unwrap();
    let differs = ranks.agree_same(if rank == 0 { 7 } else { 7 << 33 }, "a difference");
    assert_eq!(differs.is_err(), world > 1, "{differs:?}");
    assert_eq!(ranks.broadcast_bytes(format!("from {rank}").as_bytes()).unwrap(), b"from 0");
    let mine = vec![rank as u8; 3 * rank as usize];
    let all: Vec<_> = (0..world).map(|r| vec![r as u8; 3 * r as usize]).collect();
    assert_eq!(ranks.gather_bytes(&mine).unwrap(), all);
}

fn many_operations_at_once_end_in_order(ranks: &dyn Collectives, world: u32) {
    let tensors: Vec<_> = (0..50).map(|i| values(100 + i, ranks.rank().0, Kind::Float)).collect();
    let pending: Vec<_> = tensors.iter().map(|t| ranks.all_reduce(t, ReduceOp::Sum, LABEL)).collect();
    pending.into_iter().try_for_each(Pending::wait).unwrap();
    for (i, tensor) in tensors.iter().enumerate() {
        assert_eq!(*tensor, total(100 + i as i64, world, Kind::Float));
    }
    ranks.barrier(LABEL).wait().unwrap();
}

/// Returns whether this process is a rank that the tests below have started over the stand-in.
fn is_over_nccl() -> bool {
    std::env::var_os(OVER_NCCL).is_some()
}

const OVER_NCCL: &str = "CONVOY_TEST_OVER_NCCL";
const RANKS: &str = "CONVOY_TEST_RANKS";
/// Variable with the fault of the stand-in.
const FAULT: &str = "CONVOY_STAND_IN_FAULT";

/// Returns this process's world: alone, or one of several.
fn world() -> Arc<dyn Collectives> {
    common::telemetry::init();
    let ranks = start_collectives().unwrap();
    if mpi::is_launched_by_mpi() {
        let expected: u32 = std::env::var(RANKS).unwrap().parse().unwrap();
        assert_eq!(ranks.world_size().get(), expected, "mpirun started another number of ranks");
    }
    if !is_over_nccl() {
        return ranks;
    }
    let ending = Ending {
        announce: |error| announce_failure(&error.to_string(), ExitCode::Communication),
        end: |error| fail(&error.to_string(), ExitCode::Communication),
    };
    let timeout = if std::env::var_os(FAULT).is_some() { TIMEOUT } else { DEADLINE };
    Arc::new(Nccl::start(ranks, device(), timeout, ending).unwrap())
}

/// Time-out of operations in a test of one that never ends.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Runs the suite on this process's world.
#[test]
fn conforms() {
    let ranks = world();
    let (ranks, world) = (ranks.as_ref(), ranks.world_size().get());
    all_reduce_sums_and_takes_the_largest(ranks, world);
    all_reduce_gives_every_rank_the_same_bits(ranks);
    reduce_scatter_gives_each_rank_its_part(ranks, world);
    parts_may_lie_in_the_whole(ranks, world);
    all_gather_keeps_the_order_of_ranks(ranks, world);
    broadcast_comes_from_any_root(ranks, world);
    agreements_hold_on_every_rank(ranks, world);
    many_operations_at_once_end_in_order(ranks, world);
    leave();
}

/// Exchanges ten buckets at once; the stand-in may fail on one.
#[test]
fn exchanges_ten_buckets() {
    let ranks = world();
    let buckets: Vec<_> = (0..10).map(|i| values(1000 + i, ranks.rank().0, Kind::Float)).collect();
    let all_reduce = |(i, bucket)| ranks.all_reduce(bucket, ReduceOp::Sum, Label::bucket("gradients", i));
    let pending: Vec<_> = buckets.iter().enumerate().map(all_reduce).collect();
    pending.into_iter().try_for_each(Pending::wait).unwrap();
    for (bucket, i) in buckets.iter().zip(0..) {
        assert_eq!(*bucket, total(1000 + i, ranks.world_size().get(), Kind::Float));
    }
    leave();
}

/// Runs `test` of this binary on `ranks` processes.
fn under_mpirun(ranks: u32, test: &str) -> Command {
    let mut command = Command::new("mpirun");
    command
        .args(["-n", &ranks.to_string(), "--oversubscribe", "--bind-to", "none", "--allow-run-as-root"])
        .args(["--mca", "btl_vader_single_copy_mechanism", "none", "--mca", "mpi_yield_when_idle", "1"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(RANKS, ranks.to_string())
        .env("OMP_NUM_THREADS", "1")
        .env_remove("RUST_LOG");
    command
}

/// Runs `test` over the stand-in, which leaves a line in `log` for each communicator that it ends.
fn over_the_stand_in(ranks: u32, test: &str, log: &Path) -> Command {
    let mut command = under_mpirun(ranks, test);
    command.env(OVER_NCCL, "1").env("CONVOY_NCCL_LIBRARY", stand_in()).env("CONVOY_STAND_IN_LOG", log);
    command
}

/// Returns the path of the stand-in for NCCL, which cargo builds in the parent of the folder of this test's
/// executable.
fn stand_in() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("libnccl_stand_in.so");
    assert!(path.is_file(), "no {}; build it with `cargo build --release --workspace`", path.display());
    path
}

/// Panics unless every one of `ranks` processes passes.
fn all_pass(ranks: u32, command: Command) {
    let output = run_with_deadline(command, DEADLINE);
    let text = both(&output);
    assert!(output.status.success(), "{ranks} ranks:\n{text}");
    assert_eq!(text.matches("1 passed").count(), ranks as usize, "{ranks} ranks:\n{text}");
}

#[test]
fn mpi_conforms_on_one_to_four_ranks() {
    if mpi::is_launched_by_mpi() {
        return;
    }
    (1..=4).for_each(|ranks| all_pass(ranks, under_mpirun(ranks, "conforms")));
}

#[test]
fn nccl_conforms_on_two_to_four_ranks() {
    for ranks in 2..=4 {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = over_the_stand_in(ranks, "conforms", log.path());
        command.env("CONVOY_STAND_IN_KINDS", "all");
        all_pass(ranks, command);
        assert_eq!(ended(log.path()), every_rank(ranks, "closed"));
    }
}

#[test]
fn nccl_waits_for_operations_that_are_slow() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = over_the_stand_in(2, "exchanges_ten_buckets", log.path());
    command.env("CONVOY_STAND_IN_DELAY_MS", "50");
    all_pass(2, command);
}

#[test]
fn a_rank_that_falls_silent_ends_all() {
    for ranks in 2..=4 {
        let text = fails(ranks, "1:5:silence");
        assert!(text.contains(&late()), "no {:?} in:\n{text}", late());
        assert!(text.contains("all-reduce (gradients, bucket 4) over NCCL had ended"), "{text}");
    }
}

#[test]
fn an_error_of_nccl_ends_all() {
    for ranks in 2..=4 {
        let text = fails(ranks, "1:5:error");
        let operation = format!("all-reduce (gradients, bucket 5) over NCCL on host {}", host_name());
        for (rank, why) in [(1, "unhandled system"), (0, "remote process")] {
            let expected = format!("rank {rank}: {operation} failed: {why}");
            assert!(text.contains(&expected), "no {expected:?} in:\n{text}");
        }
    }
}

/// If a rank's call does not return, or is in progress for ever, that rank reports it and aborts.
#[test]
fn an_operation_that_nccl_never_starts_ends_all() {
    for fault in ["1:5:hang", "1:5:busy"] {
        let text = fails(2, fault);
        let expected = format!("rank 1: {}", late());
        assert!(text.contains(&expected), "{fault}: no {expected:?} in:\n{text}");
    }
}

/// Returns the message about bucket 5 when that does not end.
fn late() -> String {
    format!("all-reduce (gradients, bucket 5) over NCCL on host {} did not end within 3 s", host_name())
}

#[test]
fn a_start_that_never_ends_is_given_up() {
    let text = fails(3, "1:init:silence");
    let late = format!("connecting (the start of the run) over NCCL on host {} did not end within 3 s", host_name());
    assert!(text.contains(&late), "no {late:?} in:\n{text}");
}

#[test]
fn a_start_in_which_nccl_itself_hangs_is_given_up() {
    // A rank without a communicator has nothing to abort.
    let text = fails_where_these_abort(3, "1:init:hang", &[0, 2]);
    let late = format!("connecting (the start of the run) over NCCL on host {} did not end within 3 s", host_name());
    assert!(text.contains(&format!("rank 1: {late}")), "no {late:?} of rank 1 in:\n{text}");
}

/// Runs with `fault`, by which all ranks must end with exit code 4, each after it has reported the reason and
/// aborted. Returns their messages.
fn fails(ranks: u32, fault: &str) -> String {
    fails_where_these_abort(ranks, fault, &(0..ranks).collect::<Vec<_>>())
}

fn fails_where_these_abort(ranks: u32, fault: &str, aborting: &[u32]) -> String {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = over_the_stand_in(ranks, "exchanges_ten_buckets", log.path());
    command.env(FAULT, fault);
    let output = run_with_deadline(command, DEADLINE);
    let text = both(&output);
    assert_eq!(output.status.code(), Some(i32::from(ExitCode::Communication.number())), "{text}");
    for rank in 0..ranks {
        assert!(text.contains(&format!("rank {rank}: ")), "rank {rank} has said nothing:\n{text}");
    }
    let aborted: Vec<_> = aborting.iter().map(|rank| format!("rank {rank}: aborted")).collect();
    assert_eq!(ended(log.path()), aborted, "{text}");
    text
}

/// Returns the lines of the stand-in's log, sorted.
fn ended(log: &Path) -> Vec<String> {
    let mut lines: Vec<_> = std::fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

fn every_rank(ranks: u32, how: &str) -> Vec<String> {
    (0..ranks).map(|rank| format!("rank {rank}: {how}")).collect()
}
