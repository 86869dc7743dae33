//! Tests of runs that resume with another number of ranks again and again, from each of 1, 2, 3 and 4 to each other, with
//! all-reduce and with ZeRO-1. Every loss is that of a run of one rank to 1e-5, also with more ranks than sequences.

use common::exit_code::ExitCode;
use tests::scratch::{Scratch, losses};
use tests::training::{by_mpirun, run, turn};

/// World sizes in an order in which every ordered pair of the four follows one another once.
const WORLDS: [u32; 13] = [1, 2, 1, 3, 1, 4, 2, 3, 2, 4, 3, 4, 1];
const STEPS_OF_EACH: usize = 2;
const TOLERANCE: f64 = 1e-5;

#[test]
fn every_world_size_goes_on_where_every_other_has_stopped() {
    let pairs: std::collections::BTreeSet<_> = WORLDS.windows(2).map(|pair| (pair[0], pair[1])).collect();
    assert!(pairs.len() == 12 && pairs.iter().all(|(from, to)| from != to));
    goes_on(&WORLDS, 8);
}

/// The run goes from ranks of which one has no sequence to one rank that has all, and back, with and without ZeRO-1.
#[test]
fn a_run_goes_on_with_more_ranks_than_sequences() {
    goes_on(&[3, 1, 3, 3, 1], 2);
}

/// Runs once with each of `worlds` ranks, one after another.
fn goes_on(worlds: &[u32], sequences: u64) {
    let _turn = turn();
    let scratch = Scratch::new();
    // With a learning rate of 1e-2, rounding alone takes runs of different world sizes further apart.
    let fixed = ["optimizer.peak_learning_rate=1e-3", "optimizer.decay_steps=40", "checkpoint.every_steps=0"];
    let config = |name: &str, steps: usize, zero: usize| {
        let batch =
            [format!("batch.global_sequences={sequences}"), format!("batch.micro_sequences={}", sequences.min(4))];
        let [global, micro] = batch.each_ref().map(String::as_str);
        let (steps, zero) = (format!("train.max_steps={steps}"), format!("parallel.zero={zero}"));
        scratch.config(name, &[&fixed[..], &["evaluation.every_steps=0", global, micro, &steps, &zero]].concat())
    };
    let all = worlds.len() * STEPS_OF_EACH;
    run(by_mpirun(1, &config("alone", all, 0)), ExitCode::Done, &[]);
    for (leg, world) in worlds.iter().enumerate() {
        let done = leg * STEPS_OF_EACH;
        let words = if leg > 0 { vec![format!("resumed from step-{done:08}-")] } else { Vec::new() };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run(by_mpirun(*world, &config("run", done + STEPS_OF_EACH, leg % 2)), ExitCode::Done, &words);
    }
    let (expected, got) = (losses(&scratch.url("alone")), losses(&scratch.url("run")));
    assert!(expected.len() == all && got.keys().eq(expected.keys()), "{got:?}");
    let off: Vec<f64> = expected.iter().map(|(step, loss)| (got[step] - loss).abs()).collect();
    let largest = off.iter().copied().fold(0.0, f64::max);
    println!("{all} steps: at most {largest:e} nats off");
    assert!(largest < TOLERANCE, "{off:?}");
}
