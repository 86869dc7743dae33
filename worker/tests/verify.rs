//! A bit that flips in one rank's state is found within `parallel.verify_every_steps`, and the rank is named. Ranks
//! without a fault are never accused. The ranks are real: processes of this very test under mpirun.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use common::config::{RawConfig, RunConfig};
use common::exit_code::ExitCode;
use common::host_name::host_name;
use tch::{Device, Kind, Tensor};
use tests::process::{both, run_with_deadline};
use tests::training::DEADLINE;
use worker::collectives::{Collectives, mpi};
use worker::step::state::TrainState;
use worker::step::timeline::Timeline;
use worker::world::{leave, start_collectives};

const STEPS: u64 = 7;
const SEQUENCE: usize = 16;
const VOCABULARY: u64 = 300;

fn config(settings: &[String]) -> RunConfig {
    let toml = format!(
        "[run]\noutput = \"memory://x\"\n[model]\nlayers = 1\nwidth = 32\nheads = 2\ncontext_tokens = {SEQUENCE}\n\
         vocabulary = {VOCABULARY}\n[data]\ntrain = [{{ url = \"memory://x\" }}]\n[batch]\nglobal_sequences = 2\n\
         micro_sequences = 1\nsequence_tokens = {SEQUENCE}\n[optimizer]\npeak_learning_rate = 1e-3\nwarmup_steps = 0\n\
         [train]\nmax_steps = {STEPS}\n[parallel]\nbucket_bytes = 16384\n"
    );
    RawConfig::parse("of the test", &toml, settings).unwrap().run().unwrap()
}

/// Trains, and calls `happen` after every step. Returns the error that ends training, and the number of completed
/// steps by then.
fn train(ranks: &dyn Collectives, config: &RunConfig, happen: impl Fn(&TrainState)) -> Result<(), (u64, String)> {
    let world = ranks.world_size();
    let mut state = TrainState::initialise(config, Device::Cpu, ranks.rank(), world).unwrap();
    state.agree_on_start(ranks).unwrap();
    let plan = config.batch_plan();
    for _ in 0..STEPS {
        let mut micro_batches = plan.micro_batches(state.consumed, ranks.rank(), world);
        let next = |_: &mut Timeline| {
            let first = micro_batches.next().unwrap().start;
            let token = |i: u64| ((first * 31 + i * i) % VOCABULARY) as i32;
            Ok(((0..=SEQUENCE as u64).map(token).collect(), 1))
        };
        let count = plan.micro_batches(state.consumed, ranks.rank(), world).count();
        let accumulated = state.accumulate_on(ranks, count, next).unwrap();
        let outcome = state.update(ranks, accumulated).unwrap();
        outcome.read().unwrap();
        outcome.verify(&state, ranks).map_err(|error| {
            assert_eq!(error.exit_code(), ExitCode::Communication);
            (state.step, error.to_string())
        })?;
        state.weights_are_here().unwrap();
        happen(&state);
    }
    state.verify_at_end(ranks).map_err(|error| (state.step, error.to_string()))
}

/// Flips a bit of the mantissa of `values[element]`, of either kind. The next updates cannot round this bit away.
fn flip(values: &Tensor, element: i64) {
    let (kind, bit) = if values.kind() == Kind::Float { (Kind::Int, 1 << 20) } else { (Kind::Int16, 1 << 4) };
    let _ = values.narrow(0, element, 1).view_dtype(kind).bitwise_xor_(bit);
}

fn setting(key: &str, value: impl std::fmt::Display) -> String {
    format!("{key}={value}")
}

/// Checks that `error` came within `every` steps after a bit of rank `hit` had flipped after step `step`.
fn assert_found(
    error: Result<(), (u64, String)>,
    ranks: &dyn Collectives,
    (hit, step): (u32, u64),
    every: u64,
    tensor: &str,
) {
    let (found, text) = error.unwrap_err();
    assert!(found <= step + every, "{text}: found after step {found}");
    let host = host_name();
    match ranks.world_size().get() {
        2 => assert!(
            text.contains(&format!("no majority tells which is right: rank 0 on {host} / rank 1 on {host}")),
            "{text}"
        ),
        _ => assert!(text.contains(&format!("rank {hit} on {host} does not hold what the 2 other ranks do")), "{text}"),
    }
    assert!(text.contains(tensor), "no {tensor:?} in: {text}");
}

/// Without ZeRO-1, flipped bits of weights and moments stay flipped until they are found, after any step.
fn a_bit_of_what_all_hold_is_found(ranks: &dyn Collectives) {
    // The last one is found at the end, since no step that verifies comes before.
    for (every, step) in [(1, 2), (3, 2), (3, 3), (3, 4), (100, 5)] {
        let config = config(&[setting("parallel.verify_every_steps", every)]);
        let hit = |what: &dyn Fn(&TrainState)| {
            train(ranks, &config, |state| {
                if (state.step, ranks.rank().0) == (step, 1) {
                    what(state);
                }
            })
        };
        let norm = |state: &TrainState| state.model.layout.parameters.last().unwrap().start as i64;
        let weights = hit(&|state| flip(&state.model.flat, norm(state)));
        assert_found(weights, ranks, (1, step), every, "transformer.ln_f.bias");
        let moments = hit(&|state| flip(&state.optimizer.moments()[1], norm(state)));
        assert_found(moments, ranks, (1, step), every, "exp_avg_sq of transformer.ln_f.bias");
    }
}

/// With ZeRO-1 a step replaces all weights, so a comparison finds only flips since the last step, in a rank's own
/// part or another's.
fn a_bit_of_gathered_weights_is_found_before_the_next_update(ranks: &dyn Collectives) {
    for precision in ["float32", "bfloat16"] {
        let settings = [("parallel.verify_every_steps", "1"), ("parallel.zero", "1"), ("train.precision", precision)];
        let config = config(&settings.map(|(key, value)| setting(key, value)));
        for parameter in [0, 5] {
            let weights = train(ranks, &config, |state| {
                if (state.step, ranks.rank().0) == (3, 1) {
                    flip(&state.model.flat, state.model.layout.parameters[parameter].start as i64);
                }
            });
            let name = ["transformer.wte.weight", "transformer.h.0.attn.c_attn.bias"][usize::from(parameter > 0)];
            assert_found(weights, ranks, (1, 3), 1, name);
        }
    }
}

fn nobody_is_accused_without_a_cause(ranks: &dyn Collectives) {
    for zero in [0, 1] {
        for (precision, rounding) in [("float32", false), ("bfloat16", false), ("bfloat16", true)] {
            let settings = [
                setting("parallel.verify_every_steps", 1),
                setting("parallel.zero", zero),
                setting("train.precision", precision),
                setting("train.stochastic_rounding", rounding),
            ];
            train(ranks, &config(&settings), |_| ()).unwrap();
        }
    }
}

fn nothing_is_compared_where_it_is_turned_off(ranks: &dyn Collectives) {
    let config = config(&[setting("parallel.verify_every_steps", 0)]);
    train(ranks, &config, |state| flip(&state.model.flat, i64::from(ranks.rank().0))).unwrap();
}

/// Runs all checks on the ranks that mpirun has started.
#[test]
fn ranks_compare_what_they_hold() {
    if !mpi::is_launched_by_mpi() {
        return;
    }
    let ranks = start_collectives().unwrap();
    tch::set_num_threads(1);
    a_bit_of_what_all_hold_is_found(ranks.as_ref());
    a_bit_of_gathered_weights_is_found_before_the_next_update(ranks.as_ref());
    nobody_is_accused_without_a_cause(ranks.as_ref());
    nothing_is_compared_where_it_is_turned_off(ranks.as_ref());
    drop(ranks);
    leave();
}

/// Two ranks cannot tell which is right. Of three, one has no sequence.
#[test]
fn a_flipped_bit_is_found_and_its_rank_is_named() {
    if mpi::is_launched_by_mpi() {
        return;
    }
    for ranks in [2, 3] {
        let mut command = Command::new("mpirun");
        command
            .args(["-n", &ranks.to_string(), "--oversubscribe", "--bind-to", "none", "--allow-run-as-root"])
            .args(["--mca", "btl_vader_single_copy_mechanism", "none", "--mca", "mpi_yield_when_idle", "1"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "ranks_compare_what_they_hold", "--nocapture", "--test-threads", "1"])
            .env("OMP_NUM_THREADS", "1")
            .env_remove("RUST_LOG");
        let output = run_with_deadline(command, DEADLINE);
        let text = both(&output);
        assert!(output.status.success(), "{ranks} ranks:\n{text}");
        assert_eq!(text.matches("1 passed").count(), ranks, "{ranks} ranks:\n{text}");
    }
}
