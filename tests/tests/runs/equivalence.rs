//! Tests that training does not depend on how the global batch is divided over ranks and micro batches, and on who starts the
//! ranks.

use std::collections::{BTreeMap, HashMap};
use std::process::Command;

use common::checkpoint_layout::{MANIFEST_NAME, Manifest};
use common::checkpoint_store;
use common::exit_code::ExitCode;
use common::metrics::RunMetrics;
use common::storage::Folder;
use nix::sys::signal::Signal;
use safetensors::SafeTensors;
use tests::process::{Running, send, without_reading_memory};
use tests::scratch::Scratch;
use tests::training::{DEADLINE, by_launcher, by_mpirun, run, turn};

const STEPS: u64 = 20;
/// Largest difference of a loss or gradient norm, relative, and of a parameter, absolute.
const TOLERANCE: f64 = 1e-5;

/// Settings of 8 sequences in micro batches of at most 2: 4, 2, 1 for 1, 2, 4 ranks; for 3 ranks, 1 + 2 + 2 of 2 + 3 + 3
/// sequences.
///
/// The learning rate is constant, so that the first steps count. Adam divides by the size of a gradient: without epsilon, a
/// gradient that is only rounding would move its parameter as far as any other.
const RECIPE: [&str; 10] = [
    // Two of the layers postpone products, or one where blocks are recomputed.
    "model.layers=4",
    "train.max_steps=20",
    "batch.micro_sequences=2",
    // Sequences are half as long as in other tests, and the vocabulary is small: there are a hundred runs here.
    "batch.sequence_tokens=16",
    "optimizer.peak_learning_rate=1e-3",
    "optimizer.final_fraction=1.0",
    "optimizer.warmup_steps=0",
    "optimizer.epsilon=1e-6",
    "checkpoint.every_steps=0",
    // No rank is found to hold a state that differs from the others'.
    "parallel.verify_every_steps=1",
];

/// The ranks then use shared memory. Open MPI does not learn this from failing copies, of which it prints a line each.
#[test]
fn ranks_that_may_not_read_each_others_memory_train_alike() {
    let _turn = turn();
    let scratch = Scratch::with_few_tokens();
    let free = Trained::run(&scratch, "free", &[], |config| by_mpirun(2, config));
    let command = without_reading_memory(by_mpirun(2, &scratch.config("refused", &RECIPE)));
    let printed = run(command, ExitCode::Done, &[]);
    assert!(!printed.contains("Read -1"), "{printed}");
    assert!(Trained::left_by(&scratch, "refused") == free);
}

/// Each combination of ranks, division of the optimizer, recomputation and bucket size trains as one rank does that divides
/// nothing, and trains to identical bits when it is repeated.
#[test]
fn every_division_of_the_work_trains_alike() {
    let _turn = turn();
    let scratch = Scratch::with_few_tokens();
    let reference = Trained::run(&scratch, "reference", &[], |config| by_mpirun(1, config));
    for ranks in [1, 2, 3, 4] {
        for zero in [0, 1] {
            for recompute in ["none", "block"] {
                for bucket_kilobytes in [64, 25 << 10] {
                    let name = format!("{ranks}-ranks-zero-{zero}-{recompute}-{bucket_kilobytes}-kb");
                    let settings = [
                        format!("parallel.zero={zero}"),
                        format!("train.recompute={recompute}"),
                        format!("parallel.bucket_bytes={}", bucket_kilobytes << 10),
                    ];
                    let train = |name: &str| Trained::run(&scratch, name, &settings, |config| by_mpirun(ranks, config));
                    let first = train(&name);
                    first.assert_near(&reference, &name, TOLERANCE);
                    let again = train(&format!("{name}-again"));
                    assert!(again == first, "{name}: another result when repeated");
                }
            }
        }
    }
}

/// In `every_division_of_the_work_trains_alike` a block is smaller than a bucket. Here each block has several buckets, and
/// forward waits for updated weights block by block.
#[test]
fn buckets_smaller_than_a_block_train_alike() {
    let _turn = turn();
    let scratch = Scratch::with_few_tokens();
    let reference = Trained::run(&scratch, "reference", &[], |config| by_mpirun(1, config));
    for (ranks, zero) in [(2, 0), (2, 1), (3, 0), (3, 1)] {
        let name = format!("{ranks}-ranks-zero-{zero}");
        let settings = [format!("parallel.zero={zero}"), "parallel.bucket_bytes=16384".to_owned()];
        let train = |name: &str| Trained::run(&scratch, name, &settings, |config| by_mpirun(ranks, config));
        let first = train(&name);
        first.assert_near(&reference, &name, TOLERANCE);
        assert!(train(&format!("{name}-again")) == first, "{name}: another result when repeated");
    }
}

/// There are fewer sequences than ranks, as many, and more, for training and for validation. Ranks without sequences compute
/// nothing, and take part in everything else. With one sequence, rank 0 has none, too, which writes the records.
#[test]
fn more_ranks_than_sequences_train_as_one_does() {
    let _turn = turn();
    let scratch = Scratch::with_few_tokens();
    for (sequences, worlds) in [(1, &[2][..]), (2, &[2, 3])] {
        let train = |ranks: u32, zero: u32| {
            let settings = [
                "model.layers=2".to_owned(),
                "batch.micro_sequences=1".to_owned(),
                format!("batch.global_sequences={sequences}"),
                format!("evaluation.validation_sequences={sequences}"),
                format!("parallel.zero={zero}"),
                // There are several buckets, and with ZeRO-1 several that forward would wait for.
                "parallel.bucket_bytes=32768".to_owned(),
            ];
            let name = format!("{sequences}-sequences-{ranks}-ranks-zero-{zero}");
            let settings: Vec<&str> = RECIPE.into_iter().chain(settings.iter().map(String::as_str)).collect();
            let idle = ranks.saturating_sub(sequences);
            let have = if idle == 1 { "has" } else { "have" };
            let idle = format!("{idle} of {ranks} ranks {have} none of the {sequences} of a step");
            let printed = run(by_mpirun(ranks, &scratch.config(&name, &settings)), ExitCode::Done, &[]);
            assert_eq!(printed.contains(&idle), ranks > sequences, "{printed}");
            assert!(!printed.contains("communication dominates") || ranks <= sequences, "{printed}");
            (Trained::left_by(&scratch, &name), name)
        };
        let (reference, _) = train(1, 0);
        for (ranks, zero) in worlds.iter().flat_map(|ranks| [(*ranks, 0), (*ranks, 1)]) {
            let (trained, name) = train(ranks, zero);
            trained.assert_near(&reference, &name, TOLERANCE);
        }
    }
}

/// In bfloat16, only the order of sums differs: with one rank and with two, with and without ZeRO-1, and with stochastic
/// rounding.
#[test]
fn every_division_of_the_work_trains_alike_in_bfloat16() {
    let _turn = turn();
    let scratch = Scratch::with_few_tokens();
    for rounding in [false, true] {
        let train = |name: &str, ranks: u32, zero: u32, gradients: &str| {
            let settings = [
                "train.precision=bfloat16".to_owned(),
                format!("train.gradients={gradients}"),
                format!("train.stochastic_rounding={rounding}"),
                format!("parallel.zero={zero}"),
                "parallel.bucket_bytes=32768".to_owned(),
            ];
            let name = format!("{name}-{ranks}-{zero}-{gradients}-{rounding}");
            Trained::run(&scratch, &name, &settings, |config| by_mpirun(ranks, config))
        };
        let reference = train("bf16", 1, 0, "float32");
        for (ranks, zero, gradients) in [(2, 0, "float32"), (2, 1, "float32"), (3, 1, "float32"), (2, 1, "bfloat16")] {
            let name = format!("{ranks} ranks, zero {zero}, gradients {gradients}, by chance {rounding}");
            let first = train("bf16", ranks, zero, gradients);
            // 2^-8 is the relative precision of one number.
            first.assert_losses_near(&reference, &name, 2e-3);
            assert!(train("again", ranks, zero, gradients) == first, "{name}: another result when repeated");
        }
    }
}

/// 2 ranks with ZeRO-1 are killed, 3 without it continue and are killed, and 1 finishes. The loss and the gradient norm of
/// every step, and the parameters at the end, are those of one undisturbed rank.
#[test]
fn a_run_goes_on_with_any_number_of_ranks() {
    let _turn = turn();
    let scratch = Scratch::with_few_tokens();
    let alone = Trained::run(&scratch, "alone", &[], |config| by_mpirun(1, config));
    let config = |zero: &str| {
        let settings = ["checkpoint.every_steps=3".to_owned(), format!("parallel.zero={zero}")];
        let settings: Vec<&str> = RECIPE.into_iter().chain(settings.iter().map(String::as_str)).collect();
        scratch.config("changing", &settings)
    };
    for (ranks, zero) in [(2, "1"), (3, "0")] {
        let mut command = by_mpirun(ranks, &config(zero));
        // Steps take so long that some are left when the checkpoint has been seen.
        command.env("CONVOY_TEST_BUCKET_DELAY_MS", "100");
        let mut running = Running::start(command);
        running.wait_for(&format!("committed {}/step-", scratch.url("changing/checkpoints")), DEADLINE);
        assert_eq!(running.printed().contains("resumed from step-"), ranks == 3, "{}", running.printed());
        for program in ["mpirun", "worker"] {
            running.processes(program).into_iter().for_each(|pid| send(pid, Signal::SIGKILL));
        }
        running.finish_alone(DEADLINE);
    }
    run(by_mpirun(1, &config("1")), ExitCode::Done, &["resumed from step-000000"]);
    Trained::left_by(&scratch, "changing").assert_near(&alone, "2, 3 and 1 ranks", TOLERANCE);
}

#[test]
fn the_launcher_changes_no_bit() {
    let _turn = turn();
    let scratch = Scratch::with_few_tokens();
    let plain = Trained::run(&scratch, "plain", &[], |config| by_mpirun(2, config));
    let launched = Trained::run(&scratch, "launched", &[], |config| by_launcher(2, config));
    assert!(launched == plain, "the launcher makes a difference");
}

/// Results of a run.
#[derive(PartialEq)]
struct Trained {
    /// Loss and gradient norm of each step.
    steps: BTreeMap<u64, (f64, f64)>,
    /// Validation loss after a step, where it was measured.
    validations: BTreeMap<u64, f64>,
    /// Parameters in the last checkpoint.
    parameters: HashMap<String, Vec<f32>>,
}

impl Trained {
    fn run(scratch: &Scratch, name: &str, settings: &[String], command: impl Fn(&std::path::Path) -> Command) -> Self {
        let settings: Vec<&str> = RECIPE.into_iter().chain(settings.iter().map(String::as_str)).collect();
        run(command(&scratch.config(name, &settings)), ExitCode::Done, &[]);
        Self::left_by(scratch, name)
    }

    fn left_by(scratch: &Scratch, name: &str) -> Self {
        let folder = scratch.folder(name);
        let records = RunMetrics::read(&folder).unwrap();
        let validations = records.validations.into_values().map(|r| (r.step, r.validation_loss)).collect();
        let steps: BTreeMap<_, _> = records.steps.into_values().map(|r| (r.step, (r.loss, r.grad_norm))).collect();
        assert!(steps.keys().copied().eq(1..=STEPS), "{name}: {:?}", steps.keys());
        Trained { steps, validations, parameters: parameters(&folder) }
    }

    fn assert_losses_near(&self, reference: &Self, name: &str, tolerance: f64) {
        let near = |a: f64, b: f64| (a - b).abs() <= tolerance * b.abs();
        for (step, (loss, norm)) in &self.steps {
            let (expected_loss, expected_norm) = reference.steps[step];
            assert!(near(*loss, expected_loss), "{name}, step {step}: loss {loss}, expected {expected_loss}");
            let allowed = 10.0 * tolerance * expected_norm;
            assert!((norm - expected_norm).abs() <= allowed, "{name}, step {step}: norm {norm}, not {expected_norm}");
        }
    }

    fn assert_near(&self, reference: &Self, name: &str, tolerance: f64) {
        let near = |a: f64, b: f64| (a - b).abs() <= tolerance * b.abs();
        for (step, (loss, norm)) in &self.steps {
            let (expected_loss, expected_norm) = reference.steps[step];
            assert!(near(*loss, expected_loss), "{name}, step {step}: loss {loss}, expected {expected_loss}");
            assert!(near(*norm, expected_norm), "{name}, step {step}: norm {norm}, expected {expected_norm}");
        }
        assert!(self.validations.contains_key(&STEPS), "{name}: {:?}", self.validations);
        for (step, loss) in &self.validations {
            assert!(near(*loss, reference.validations[step]), "{name}, step {step}: validation loss {loss}");
        }
        assert_eq!(self.parameters.len(), reference.parameters.len());
        for (tensor, values) in &self.parameters {
            let expected = &reference.parameters[tensor];
            assert_eq!(values.len(), expected.len(), "{tensor}");
            let differences = values.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs()));
            let largest = differences.fold(0.0, f64::max);
            assert!(largest <= tolerance, "{name}: {tensor} differs by {largest}");
        }
    }
}

/// Returns the parameters in the newest checkpoint of the run folder `run`.
fn parameters(run: &Folder) -> HashMap<String, Vec<f32>> {
    let newest = checkpoint_store::newest(run).unwrap().unwrap();
    assert_eq!(newest.step, STEPS);
    let folder = checkpoint_store::folder_of(run, &newest);
    let manifest = Manifest::parse("the newest", &folder.get(MANIFEST_NAME).unwrap()).unwrap();
    let floats = |bytes: &[u8]| bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let mut parameters = HashMap::new();
    for tensor in &manifest.tensors {
        let content = folder.get(&tensor.object).unwrap();
        let view = SafeTensors::deserialize(&content).unwrap();
        parameters.insert(tensor.name.clone(), floats(view.tensor(&tensor.name).unwrap().data()));
    }
    parameters
}
