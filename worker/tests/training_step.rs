//! Compares the composed step (model, loss, accumulation, clipping, AdamW, schedule) with 50 steps of a plain PyTorch
//! loop, by golden files made by scripts/golden/training.py.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use common::config::{RawConfig, RunConfig};
use common::topology::{Rank, WorldSize};
use safetensors::SafeTensors;
use serde_json::Value;
use tch::Device;
use worker::collectives::single::Single;
use worker::step::state::TrainState;
use worker::step::timeline::Timeline;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name)
}

fn config(golden: &Value, micro_sequences: &Value) -> RunConfig {
    let section = |name: &str| {
        let keys = golden[name].as_object().unwrap();
        let lines: Vec<_> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        format!("[{name}]\n{}\n", lines.join("\n"))
    };
    let toml = format!(
        "[run]\noutput = \"memory://x\"\n[data]\ntrain = [{{ url = \"memory://x\" }}]\n[train]\nmax_steps = {}\n{}{}{}",
        golden["steps"],
        section("model"),
        section("batch").replace("[batch]", &format!("[batch]\nmicro_sequences = {micro_sequences}")),
        section("optimizer"),
    );
    RawConfig::parse("golden", &toml, &[]).unwrap().run().unwrap()
}

fn follows_pytorch(run: &str) {
    let golden_json = std::fs::read(golden("training.json")).unwrap();
    let golden_json: Value = serde_json::from_slice(&golden_json).unwrap();
    let bytes = std::fs::read(golden("training.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let config = config(&golden_json, &golden_json[run]["micro_sequences"]);

    let mut state = TrainState::initialise(&config, Device::Cpu, Rank::ZERO, WorldSize::ONE).unwrap();
    let weights: HashMap<String, Vec<f32>> = file
        .iter()
        .filter_map(|(key, view)| {
            let name = key.strip_prefix("param.")?;
            let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            Some((name.to_owned(), values.collect()))
        })
        .collect();
    assert_eq!(weights.len(), state.model.layout.parameters.len());
    state.set_weights(|layout, flat| layout.load(flat, &weights)).unwrap();
    let tokens = file.tensor("tokens").unwrap();
    let number = |b: &[u8]| i64::from_le_bytes(b.try_into().unwrap()) as i32;
    let tokens: Vec<i32> = tokens.data().chunks_exact(8).map(number).collect();

    let ranks = Single::default();
    let plan = config.batch_plan();
    let row = plan.sequence_tokens as usize + 1;
    for step in 0..config.train.max_steps as usize {
        let sequences = &tokens[step * plan.global_sequences as usize * row..][..plan.global_sequences as usize * row];
        let mut micro_batches = sequences.chunks(plan.micro_sequences as usize * row);
        let count = micro_batches.len();
        let next = |_: &mut Timeline| {
            let micro = micro_batches.next().unwrap();
            Ok((micro.to_vec(), micro.len() / row))
        };
        let accumulated = state.accumulate_on(&ranks, count, next).unwrap();
        let report = state.update(&ranks, accumulated).unwrap().read().unwrap();
        let expected = |what: &str| golden_json[run][what][step].as_f64().unwrap();
        for (what, got, expected) in
            [("loss", report.loss, expected("losses")), ("norm", report.grad_norm, expected("grad_norms"))]
        {
            let error = (got - expected).abs() / expected.abs();
            assert!(error < 1e-4, "{run}, step {step}: {what} {got}, PyTorch {expected}, relative error {error:e}");
        }
    }
    assert_eq!(state.optimizer.updates(), config.train.max_steps);
}

#[test]
fn follows_pytorch_without_accumulation() {
    follows_pytorch("full");
}

#[test]
fn follows_pytorch_with_accumulation() {
    follows_pytorch("accumulated");
}
