//! Tests that exchanges overlap with computation, over MPI and over the stand-in for NCCL. Traces (`--profile`) show it, and
//! metrics and events report what is not hidden.

use common::exit_code::ExitCode;
use common::metrics::{RunMetrics, StepRecord};
use serde_json::Value;
use tests::process::program;
use tests::scratch::Scratch;
use tests::training::{by_launcher, run, turn_alone};

/// Returns start and end, in microseconds, of the spans of `name` in lane `lane`.
fn spans(trace: &Value, lane: u64, name: &str) -> Vec<(f64, f64)> {
    let events = trace["traceEvents"].as_array().unwrap();
    let is_one = |event: &&Value| {
        event["ph"] == "X" && event["tid"] == lane && event["name"].as_str().unwrap().starts_with(name)
    };
    let span = |event: &Value| {
        let start = event["ts"].as_f64().unwrap();
        (start, start + event["dur"].as_f64().unwrap())
    };
    events.iter().filter(is_one).map(span).collect()
}

/// The cost of the exchange is measured, stored, and warned of where it dominates. The phases of a step take no longer than
/// the step.
#[test]
fn a_run_says_what_its_exchange_costs() {
    let _turn = turn_alone();
    let scratch = Scratch::new();
    let mut command = by_launcher(2, &scratch.config("run", &["train.max_steps=8", "evaluation.every_steps=0"]));
    command.env("CONVOY_TEST_BUCKET_DELAY_MS", "500");
    run(command, ExitCode::Done, &["all-reduce between 2 ranks on 1 host: ", "communication dominates: "]);
    let events = scratch.events("run");
    let measured = events.iter().find(|event| event["kind"] == "bandwidth").unwrap_or_else(|| panic!("{events:?}"));
    assert!(measured["ranks"] == 2 && measured["hosts"] == 1, "{measured}");
    assert!(
        measured["bytes"].as_u64().unwrap() >= 1 << 20 && measured["seconds"].as_f64().unwrap() > 0.0,
        "{measured}"
    );
    let dominates =
        |event: &&Value| event["text"].as_str().is_some_and(|text| text.starts_with("communication dominates: "));
    assert_eq!(events.iter().filter(dominates).count(), 1, "{events:?}");
    let steps = RunMetrics::read(&scratch.folder("run")).unwrap().steps;
    // The step's one bucket takes this long, less what has passed beside backward. A rank that is held up sees less of it.
    let is_exposed = |record: &&StepRecord| record.exposed_comm_ms > 500.0 - record.backward_ms;
    assert!(steps.values().filter(is_exposed).count() > steps.len() / 2, "{steps:?}");
    for record in steps.values() {
        let computing = [record.forward_ms, record.backward_ms, record.optimizer_ms];
        assert!(computing.iter().all(|ms| *ms > 0.0), "{record:?}");
        let phases = record.data_wait_ms + computing.iter().sum::<f64>() + record.exposed_comm_ms;
        assert!(phases <= record.step_ms * 1.001, "{record:?}");
        assert!(record.memory_bytes > 1 << 20, "{record:?}");
    }
}

#[test]
fn the_exchange_runs_beside_backward() {
    let _turn = turn_alone();
    for (carrier, collectives) in [("MPI", "mpi"), ("NCCL", "nccl")] {
        for (zero, exchange) in [(0, "all-reduce"), (1, "reduce-scatter")] {
            let scratch = Scratch::new();
            let overrides = [
                "train.max_steps=6".to_owned(),
                "model.layers=8".to_owned(),
                "parallel.bucket_bytes=200000".to_owned(),
                format!("parallel.collectives={collectives}"),
                format!("parallel.zero={zero}"),
            ];
            let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
            let mut command = by_launcher(2, &scratch.config("run", &overrides));
            command.args(["--profile", "3..3"]).env("CONVOY_NCCL_LIBRARY", program("libnccl_stand_in.so"));
            run(command, ExitCode::Done, &["ui.perfetto.dev"]);
            for rank in 0..2 {
                let name = format!("profile/attempt-0001-rank-{rank}.json");
                let trace: Value = serde_json::from_slice(&scratch.folder("run").get(&name).unwrap()).unwrap();
                let backward = spans(&trace, 0, "backward");
                let last = backward.last().unwrap();
                let bucket = |i: usize| spans(&trace, 1, &format!("{exchange} (gradients, bucket {i}) over {carrier}"));
                // The end of an exchange of the step before may have been noticed only now.
                let (first_start, _) = *bucket(0).last().unwrap_or_else(|| panic!("no bucket 0 in {trace}"));
                assert!(
                    last.0 < first_start && first_start < last.1,
                    "{carrier}, zero {zero}: backward {last:?}, the first bucket began at {first_start}"
                );
                assert!(!bucket(5).is_empty(), "{trace}");
                // Forward waits in three places for the buckets of updated weights that it reaches.
                let waits = spans(&trace, 0, "wait for the exchange").len();
                assert!(waits >= if zero == 1 { 1 + 3 } else { 1 }, "{carrier}, zero {zero}: {waits} waits");
                for phase in ["forward", "wait for the exchange", "norm and update", "wait for tokens"] {
                    assert!(!spans(&trace, 0, phase).is_empty(), "no {phase:?} in {trace}");
                }
            }
        }
    }
}
