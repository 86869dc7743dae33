//! `--profile`: what ranks exchange runs beside what they compute, over MPI and over the stand-in for NCCL, and the trace
//! shows it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use common::worker_contract::ExitCode;
use serde_json::Value;
use tests::process::program;
use tests::scratch::Scratch;
use tests::training::{by_launcher, run, turn};

/// Start and end in microseconds of the spans of `name` in lane `lane`.
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

#[test]
fn the_exchange_runs_beside_backward() {
    let _turn = turn();
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
                // The end of one of the step before may have been seen only now.
                let (first_start, _) = *bucket(0).last().unwrap_or_else(|| panic!("no bucket 0 in {trace}"));
                assert!(
                    last.0 < first_start && first_start < last.1,
                    "{carrier}, zero {zero}: backward {last:?}, the first bucket began at {first_start}"
                );
                assert!(!bucket(5).is_empty(), "{trace}");
                for phase in ["forward", "wait for the exchange", "norm and update", "wait for tokens"] {
                    assert!(!spans(&trace, 0, phase).is_empty(), "no {phase:?} in {trace}");
                }
            }
        }
    }
}
