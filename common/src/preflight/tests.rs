//! A sound world, and findings in worlds that are not.

use std::collections::BTreeMap;

use super::*;
use crate::config::Precision;
use crate::topology::Rank;

fn facts(rank: u32, host: &str) -> RankFacts {
    RankFacts {
        rank: Rank(rank),
        host: host.into(),
        binary_sha256: "a".repeat(64),
        libtorch: "2.11.0".into(),
        clock_unix_s: 1000.0,
        threads: 4,
        cores: 8,
        memory_bytes: 16 << 30,
        free_bytes: BTreeMap::from([("/tmp".into(), 100 << 30)]),
        shared_memory_bytes: 8 << 30,
        device: "cpu".into(),
        without_gpu: None,
        visible_gpus: 0,
        may_share: false,
        gpus: Vec::new(),
    }
}

fn world(ranks: Vec<RankFacts>) -> WorldFacts {
    WorldFacts {
        ranks,
        step_bytes: 2 << 30,
        global_sequences: 8,
        parameters: 3_374_720,
        precision: Precision::Float32,
        exchange: Vec::new(),
    }
}

/// Returns the findings, apart from those that are ok, of a world of two ranks on `a` and one on `b` changed by `change`.
fn troubles(change: impl FnOnce(&mut WorldFacts)) -> Vec<(String, Verdict, String)> {
    let mut world = world(vec![facts(0, "a"), facts(1, "a"), facts(2, "b")]);
    change(&mut world);
    let troubles = world.judge().into_iter().filter(|finding| finding.verdict != Verdict::Ok);
    troubles.map(|finding| (finding.subject, finding.verdict, finding.text)).collect()
}

fn assert_one(found: Vec<(String, Verdict, String)>, subject: &str, verdict: Verdict, words: &str) {
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&*found[0].0, found[0].1), (subject, verdict));
    assert!(found[0].2.contains(words), "{found:?}");
}

#[test]
fn a_sound_world_is_ok_in_everything() {
    assert_eq!(troubles(|_| {}), []);
}

#[test]
fn what_differs_between_hosts_is_named_with_them() {
    let found = troubles(|world| world.ranks[2].binary_sha256 = "b".repeat(64));
    assert_one(found, "executable", Verdict::Failed, "aaaaaaaaaaaa on a; bbbbbbbbbbbb on b; copy one worker");
    let found = troubles(|world| world.ranks[2].libtorch = "2.10.0".into());
    assert_one(found, "libtorch", Verdict::Failed, "2.10.0 on b; 2.11.0 on a");
    let found = troubles(|world| world.ranks[2].clock_unix_s = 1005.0);
    assert_one(found, "clocks", Verdict::Warning, "b is 5.00 s ahead of a");
    let found = troubles(|world| world.ranks[0].clock_unix_s = 9000.0);
    assert_one(found, "clocks", Verdict::Failed, "a is 8000.00 s ahead of");
}

#[test]
fn what_a_host_has_too_little_of_is_named_with_it() {
    let found = troubles(|world| world.step_bytes = 10 << 30);
    assert_one(found, "memory", Verdict::Failed, "a: 2 ranks need 20.0 GiB together, 16.0 GiB are free");
    let found = troubles(|world| world.ranks[2].memory_bytes = 1 << 30);
    assert_one(found, "memory", Verdict::Failed, "b: 1 rank needs 2.0 GiB together, 1.0 GiB are free");
    let found = troubles(|world| world.ranks.iter_mut().for_each(|facts| facts.shared_memory_bytes = 64 << 20));
    assert_one(found, "/dev/shm", Verdict::Failed, "a: 0.1 GiB for 2 ranks in /dev/shm");
    let found = troubles(|world| *world.ranks[2].free_bytes.get_mut("/tmp").unwrap() = 1 << 30);
    assert_one(found, "room in /tmp", Verdict::Warning, "1.0 GiB on b");
    let found = troubles(|world| *world.ranks[2].free_bytes.get_mut("/tmp").unwrap() = 0);
    assert_one(found, "room in /tmp", Verdict::Failed, "none on b");
    let found = troubles(|world| world.ranks[1].threads = 16);
    assert_one(found, "threads", Verdict::Warning, "rank 1 on a has 16 threads and may use 8 cores");
    let found = troubles(|world| world.global_sequences = 2);
    assert_one(found, "sequences", Verdict::Warning, "1 of 3 ranks has none of the 2 of a step");
    let slow = || Exchange { carrier: "mpi".into(), bytes_per_second: 1e6, text: "0.00 GB/s".into() };
    let found = troubles(|world| world.exchange.push(slow()));
    assert_one(found, "mpi bandwidth", Verdict::Warning, "launch.interface");
    let found = troubles(|world| {
        world.exchange.push(slow());
        world.ranks.pop();
    });
    assert_one(found.clone(), "mpi bandwidth", Verdict::Warning, "whether other programs take their cores");
    assert!(!found[0].2.contains("launch.interface"), "one host has no network between its ranks: {found:?}");
}

#[test]
fn gpus_are_one_a_rank_free_and_without_errors() {
    let gpu = |index| GpuFacts {
        index,
        name: "H100".into(),
        free_bytes: 79 << 30,
        total_bytes: 80 << 30,
        uncorrected_errors: Some(0),
    };
    let with_gpus = |world: &mut WorldFacts| {
        for (facts, device) in world.ranks.iter_mut().zip(["cuda:0", "cuda:1", "cuda:0"]) {
            (facts.device, facts.gpus) = (device.into(), vec![gpu(0), gpu(1)]);
        }
    };
    assert_eq!(troubles(with_gpus), []);
    let found = troubles(|world| {
        with_gpus(world);
        world.ranks[1].device = "cuda:0".into();
    });
    assert_one(found, "GPUs", Verdict::Failed, "a: 2 ranks share cuda:0; start at most one");
    let found = troubles(|world| {
        with_gpus(world);
        for facts in &mut world.ranks {
            (facts.device, facts.may_share) = ("cuda:0".into(), true);
        }
    });
    assert_one(found, "GPUs", Verdict::Warning, "a: 2 ranks share cuda:0, as NCCL_MULTI_RANK_GPU_ENABLE says");
    let found = troubles(|world| {
        with_gpus(world);
        world.ranks[2].gpus[1].uncorrected_errors = Some(3);
    });
    assert_one(found, "GPU memory errors", Verdict::Failed, "b: GPU 1 (H100)");
    let found = troubles(|world| {
        with_gpus(world);
        world.ranks[0].gpus[0].free_bytes = 1 << 30;
    });
    assert_one(found, "GPU memory", Verdict::Failed, "a: GPU 0 (H100): 1.0 GiB are free, a rank needs 2.0 GiB");
}

#[test]
fn a_run_for_gpus_that_fell_back_to_the_cpu_is_warned_of_with_the_reason() {
    let fell_back = |world: &mut WorldFacts| {
        for facts in &mut world.ranks {
            facts.without_gpu = Some("libtorch_cuda.so cannot be loaded".into());
        }
    };
    assert_eq!(troubles(fell_back), [], "a small model is at home on a CPU");
    let found = troubles(|world| {
        fell_back(world);
        (world.parameters, world.precision) = (124_439_808, Precision::Bfloat16);
    });
    let words = "the CPU: 3 ranks on 2 hosts, although a model of 124,439,808 parameters in bfloat16 is for GPUs: libtorch_cuda.so";
    assert_one(found, "device", Verdict::Warning, words);
    assert_eq!(troubles(|world| world.parameters = 124_439_808), [], "the config says cpu");
    let found = troubles(|world| {
        fell_back(world);
        let gpu = GpuFacts { index: 0, name: "T4".into(), free_bytes: 1, total_bytes: 1, uncorrected_errors: None };
        world.ranks[2].gpus = vec![gpu];
    });
    assert_one(found, "device", Verdict::Warning, "although b has 1 GPU: libtorch_cuda.so");
}

#[test]
fn gpus_that_no_rank_computes_on_are_counted() {
    let found = troubles(|world| {
        for (facts, device) in world.ranks.iter_mut().zip(["cuda:0", "cuda:1", "cuda:0"]) {
            (facts.device, facts.visible_gpus) = (device.into(), 8);
        }
    });
    assert_one(
        found,
        "idle GPUs",
        Verdict::Warning,
        "13 of 16 stay idle, 7 of 8 on b; start a rank for each (--ranks 16",
    );
}

#[test]
fn a_start_shows_device_and_memory_and_otherwise_only_what_is_wrong() {
    let shown = |world: WorldFacts| {
        let shown = world.judge().into_iter().filter(Finding::is_for_a_start);
        shown.map(|finding| finding.line()).collect::<Vec<_>>()
    };
    let sound = world(vec![facts(0, "a"), facts(1, "a")]);
    assert_eq!(
        shown(sound.clone()),
        [
            "device      the CPU: 2 ranks on 1 host",
            "memory      a rank needs 2.0 GiB, at least 16.0 GiB are free on every host",
        ]
    );
    let lines = shown(WorldFacts { global_sequences: 1, ..sound });
    assert!(lines[1].starts_with("sequences: 1 of 2 ranks has none of the 1 of a step"), "{lines:?}");
}
