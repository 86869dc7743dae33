//! The formulas of `common::cost` against what a step takes: peak memory of a process that trains, above that of one that
//! trains next to nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "a test says what it has measured")]

use std::process::Command;

use common::cost::Memory;
use serde_json::Value;

/// Peak memory of the first of `ranks` processes that make one step, a sequence each, and what is expected of it.
fn measured(ranks: u32, model: &str, sequence: u64, overrides: &[&str]) -> (u64, u64) {
    let worker = env!("CARGO_BIN_EXE_worker");
    let mut command = match ranks {
        1 => Command::new(worker),
        _ => {
            let mut mpirun = Command::new("mpirun");
            mpirun.args([
                "--allow-run-as-root",
                "--oversubscribe",
                "--bind-to",
                "none",
                "-n",
                &ranks.to_string(),
                worker,
            ]);
            mpirun
        }
    };
    // As users start it: it asks for huge pages by itself.
    command.env_remove("GLIBC_TUNABLES");
    let (batch, sequence) = (ranks.to_string(), sequence.to_string());
    let sizes = ["--batch", &batch, "--sequence", &sequence, "--steps", "1", "--threads", "1"];
    command.args(["bench-step", "--model", model]).args(sizes);
    for value in overrides {
        command.args(["--set", value]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let timing: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected: Memory = serde_json::from_value(timing["expected_memory"].clone()).unwrap();
    (timing["peak_memory_bytes"].as_u64().unwrap(), expected.total())
}

/// Holds 124M's steps to the formulas, above what the program takes without a model to speak of.
fn assert_as_expected(ranks: u32, cases: &[(u64, &[&str])]) {
    let (loaded, little) = measured(ranks, "tiny-cpu", 8, cases[0].1);
    for (sequence, settings) in cases {
        let (peak, expected) = measured(ranks, "gpt2-124m", *sequence, settings);
        let taken = peak - (loaded - little);
        let error = taken as f64 / expected as f64 - 1.0;
        let case = format!("{ranks} ranks, {sequence} tokens, {settings:?}");
        println!("{case}: {} MiB, expected {} MiB, {:+.1} %", taken >> 20, expected >> 20, 100.0 * error);
        // The host's allocator leaves gaps where tensors of different sizes come and go.
        assert!(error.abs() < 0.1, "{case}: {taken} bytes, expected {expected}");
    }
}

#[test]
fn a_step_takes_what_the_formulas_say() {
    assert_as_expected(
        1,
        &[
            (512, &["train.recompute=none"]),
            (512, &["train.recompute=gelu_layernorm"]),
            (512, &["train.recompute=block"]),
            (64, &["train.recompute=none"]),
        ],
    );
}

#[test]
fn a_rank_holds_its_part_of_the_moments_alone() {
    assert_as_expected(2, &[(512, &["parallel.zero=1"])]);
}
