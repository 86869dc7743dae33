//! The conformance suite of the collectives: one list of checks, run by one process alone (`single`) and by 1 to 4
//! processes of this very test under a real mpirun (`mpi`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use common::topology::Rank;
use tch::{Device, Kind, Tensor};
use worker::collectives::{Collectives, Pending, ReduceOp, mpi};
use worker::world::{leave, start_collectives};

/// Elements per rank: none, one, odd, and more than one MPI segment.
const SIZES: [i64; 5] = [0, 1, 7, 1000, 1_000_003];
const KINDS: [Kind; 4] = [Kind::Float, Kind::Double, Kind::Int64, Kind::Uint8];

/// Small whole numbers, exact in every kind: element i of rank r.
fn values(n: i64, rank: u32, kind: Kind) -> Tensor {
    let i = Tensor::arange(n, (Kind::Int64, Device::Cpu));
    ((i * 3 + i64::from(rank)).remainder(11)).to_kind(kind)
}

/// The sum over all ranks of [`values`].
fn total(n: i64, world: u32, kind: Kind) -> Tensor {
    (0..world).map(|r| values(n, r, kind)).reduce(|a, b| a + b).unwrap().to_kind(kind)
}

fn all_reduce_sums_and_takes_the_largest(ranks: &dyn Collectives, world: u32) {
    for kind in KINDS {
        for n in SIZES {
            let sum = values(n, ranks.rank().0, kind);
            ranks.all_reduce(&sum, ReduceOp::Sum).wait().unwrap();
            assert_eq!(sum, total(n, world, kind), "{kind:?} {n}");
            let max = values(n, ranks.rank().0, kind);
            ranks.all_reduce(&max, ReduceOp::Max).wait().unwrap();
            let expected = (0..world).map(|r| values(n, r, kind)).reduce(|a, b| a.maximum(&b)).unwrap();
            assert_eq!(max, expected, "{kind:?} {n}");
        }
    }
}

fn all_reduce_gives_every_rank_the_same_bits(ranks: &dyn Collectives) {
    tch::manual_seed(i64::from(ranks.rank().0));
    let noise = Tensor::randn([100_003], (Kind::Float, Device::Cpu));
    ranks.all_reduce(&noise, ReduceOp::Sum).wait().unwrap();
    let bits = noise.view_dtype(Kind::Int).sum(Kind::Int64).int64_value(&[]);
    ranks.agree_same(bits as u64, "a reduced sum").unwrap();
}

fn reduce_scatter_gives_each_rank_its_part(ranks: &dyn Collectives, world: u32) {
    for kind in KINDS {
        for n in SIZES {
            let input = values(n * i64::from(world), ranks.rank().0, kind);
            let output = Tensor::zeros([n], (kind, Device::Cpu));
            ranks.reduce_scatter(&input, &output).wait().unwrap();
            let whole = total(n * i64::from(world), world, kind);
            assert_eq!(output, whole.narrow(0, n * i64::from(ranks.rank().0), n), "{kind:?} {n}");
        }
    }
}

fn all_gather_keeps_the_order_of_ranks(ranks: &dyn Collectives, world: u32) {
    for kind in KINDS {
        for n in SIZES {
            let output = Tensor::zeros([n * i64::from(world)], (kind, Device::Cpu));
            ranks.all_gather(&values(n, ranks.rank().0, kind), &output).wait().unwrap();
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
                ranks.broadcast(&tensor, Rank(root)).wait().unwrap();
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
    let pending: Vec<_> = tensors.iter().map(|t| ranks.all_reduce(t, ReduceOp::Sum)).collect();
    pending.into_iter().try_for_each(Pending::wait).unwrap();
    for (i, tensor) in tensors.iter().enumerate() {
        assert_eq!(*tensor, total(100 + i as i64, world, Kind::Float));
    }
    ranks.barrier().wait().unwrap();
}

/// The suite, on this process's world: alone, or one of several.
#[test]
fn conforms() {
    let ranks = start_collectives().unwrap();
    let (ranks, world) = (ranks.as_ref(), ranks.world_size().get());
    if mpi::is_launched_by_mpi() {
        let expected: u32 = std::env::var("CONVOY_TEST_RANKS").unwrap().parse().unwrap();
        assert_eq!(world, expected, "mpirun started another number of ranks");
    }
    all_reduce_sums_and_takes_the_largest(ranks, world);
    all_reduce_gives_every_rank_the_same_bits(ranks);
    reduce_scatter_gives_each_rank_its_part(ranks, world);
    all_gather_keeps_the_order_of_ranks(ranks, world);
    broadcast_comes_from_any_root(ranks, world);
    agreements_hold_on_every_rank(ranks, world);
    many_operations_at_once_end_in_order(ranks, world);
    leave();
}

/// Runs one test of this binary on `ranks` processes.
fn under_mpirun(ranks: u32, test: &str) -> std::process::Output {
    let program = std::env::current_exe().unwrap();
    Command::new("mpirun")
        .args(["-n", &ranks.to_string(), "--oversubscribe", "--bind-to", "none", "--allow-run-as-root"])
        .args(["--mca", "btl_vader_single_copy_mechanism", "none", "--mca", "mpi_yield_when_idle", "1"])
        .arg(program)
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env("CONVOY_TEST_RANKS", ranks.to_string())
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap()
}

#[test]
fn mpi_conforms_on_one_to_four_ranks() {
    if mpi::is_launched_by_mpi() {
        return;
    }
    for ranks in 1..=4 {
        let output = under_mpirun(ranks, "conforms");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{ranks} ranks:\n{out}\n{err}");
        assert_eq!(out.matches("1 passed").count(), ranks as usize, "{ranks} ranks:\n{out}\n{err}");
    }
}
