//! Compares the formulas of `common::cost` with the memory of a step: the peak of a process that trains, above that
//! of one that trains next to nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "a test says what it has measured")]

use std::process::Command;

use common::cost::Memory;
use serde_json::Value;
use tests::process::{both, run_with_deadline};
use tests::training::DEADLINE;

/// Peak memory of the first of several processes, and the expected memory.
struct Measured {
    peak: u64,
    expected: Memory,
}

/// Measures `ranks` processes that make `steps` steps of `sequences` sequences of `tokens` tokens.
fn measured(ranks: u32, model: &str, [steps, sequences, tokens]: [u64; 3], more: &[&str]) -> Measured {
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
    let threads = if ranks == 1 { 2 } else { 1 };
    let [steps, sequences, tokens, threads] = [steps, sequences, tokens, threads].map(|number| number.to_string());
    let sizes = ["--batch", &sequences, "--sequence", &tokens, "--steps", &steps, "--threads", &threads];
    command.args(["bench-step", "--model", model]).args(sizes).args(more);
    let output = run_with_deadline(command, 5 * DEADLINE);
    assert!(output.status.success(), "{}", both(&output));
    let timing: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = serde_json::from_value(timing["expected_memory"].clone()).unwrap();
    Measured { peak: timing["peak_memory_bytes"].as_u64().unwrap(), expected }
}

/// Memory into which a CPU's products pack their operands, and other memory that the formulas leave out.
const LEFT_OUT: u64 = 24 << 20;

/// Compares 124M's steps with the formulas, above the memory of the program with a tiny model.
///
/// Weights, gradients and moments are most of the memory and of known size, so the rest is compared with what the
/// formulas say about the rest.
fn assert_as_expected(ranks: u32, cases: &[(u64, &[&str])]) {
    let sequences = u64::from(ranks);
    let little = measured(ranks, "tiny-cpu", [1, sequences, 8], cases[0].1);
    let program = little.peak - little.expected.total();
    for (tokens, settings) in cases {
        let Measured { peak, expected } = measured(ranks, "gpt2-124m", [1, sequences, *tokens], settings);
        let left = expected.activations + expected.working;
        let taken = (peak - program) as f64 - (expected.total() - left) as f64;
        let case = format!("{ranks} ranks, {tokens} tokens, {settings:?}");
        println!("{case}: {:.0} MiB beside what is of known size, expected {}", taken / 2f64.powi(20), left >> 20);
        let off = (taken - left as f64).abs();
        assert!(off < 0.1 * left as f64 + LEFT_OUT as f64, "{case}: {taken} bytes, expected {left}");
    }
}

#[test]
fn a_step_takes_what_the_formulas_say() {
    assert_as_expected(
        1,
        &[
            (512, &["--set", "train.recompute=none"]),
            (1024, &["--set", "train.recompute=gelu_layernorm"]),
            (512, &["--set", "train.recompute=block"]),
            (64, &["--set", "train.recompute=none"]),
        ],
    );
}

#[test]
fn a_rank_holds_its_part_of_the_moments_alone() {
    assert_as_expected(2, &[(512, &["--set", "parallel.zero=1"])]);
}

/// Runs micro batches of two sizes in turn, with tensors that take each other's places.
///
/// Runs differ by some huge pages, of 2 MiB each, so there are enough steps for a growth by one tensor per step to
/// exceed that.
#[test]
fn many_steps_take_no_more_than_a_few() {
    // Two more steps come before those that are timed.
    let peak = |steps| measured(1, "gpt2-124m", [steps, 3, 16], &["--micro", "2"]).peak;
    let (few, many) = (peak(1), peak(30));
    println!("{} MiB after 3 steps, {} after 32", few >> 20, many >> 20);
    assert!(many < few + (16 << 20), "{few} bytes after 3 steps, {many} after 32");
}
