//! The formulas of `common::cost` against what a step takes: peak memory of a process that trains, above that of one that
//! trains next to nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use common::cost::Memory;
use serde_json::Value;

/// Peak memory of a process that makes one step, and what is expected of it.
fn measured(model: &str, sequence: u64, overrides: &[&str]) -> (u64, u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    // As users start it: it asks for huge pages by itself.
    command.env_remove("GLIBC_TUNABLES");
    let sizes = ["--batch", "1", "--sequence", &sequence.to_string(), "--steps", "1", "--threads", "1"];
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

#[test]
fn a_step_takes_what_the_formulas_say() {
    let (loaded, little) = measured("tiny-cpu", 8, &[]);
    let program = loaded - little;
    for (sequence, recompute, precision, gradients) in [
        (512, "none", "float32", "float32"),
        (512, "gelu_layernorm", "float32", "float32"),
        (512, "block", "float32", "float32"),
        (64, "none", "float32", "float32"),
    ] {
        let settings = [
            format!("train.recompute={recompute}"),
            format!("train.precision={precision}"),
            format!("train.gradients={gradients}"),
        ];
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let (peak, expected) = measured("gpt2-124m", sequence, &settings);
        let taken = peak - program;
        let error = taken as f64 / expected as f64 - 1.0;
        let megabytes = |bytes: u64| bytes >> 20;
        println!(
            "{sequence} tokens, {recompute}, {precision}: {} MiB, expected {} MiB, {:+.1} %",
            megabytes(taken),
            megabytes(expected),
            100.0 * error
        );
        // The host's allocator leaves gaps where tensors of different sizes come and go.
        assert!(error.abs() < 0.1, "{sequence} tokens, {recompute}: {taken} bytes, expected {expected}");
    }
}
