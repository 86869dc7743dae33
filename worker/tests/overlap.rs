//! The exchange of gradients begins while backward goes on, and nobody waits for it before backward has ended.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::config::{RawConfig, RunConfig};
use common::topology::{Rank, WorldSize};
use tch::{Device, Tensor};
use worker::collectives::in_flight::InFlight;
use worker::collectives::single::Single;
use worker::collectives::{Collectives, Label, Pending, ReduceOp};
use worker::gradients::{Buckets, Exchange, Reduction};
use worker::model::parameters::Layout;
use worker::model::{Gpt2, GradientOptions, Hooks};
use worker::train::state::TrainState;

/// A world of one rank that writes down what is begun and what is waited for.
#[derive(Default)]
struct Recording {
    inner: Single,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Recording {
    fn record(&self, what: &str, label: Label) -> Pending {
        self.seen.lock().unwrap().push(format!("{what} {label}"));
        let (seen, text) = (self.seen.clone(), format!("wait {label}"));
        Pending::new(move || {
            seen.lock().unwrap().push(text);
            Ok(())
        })
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

impl Collectives for Recording {
    fn rank(&self) -> Rank {
        self.inner.rank()
    }

    fn world_size(&self) -> WorldSize {
        self.inner.world_size()
    }

    fn set_timeout(&self, _timeout: Duration) {}

    fn in_flight(&self) -> &Arc<InFlight> {
        self.inner.in_flight()
    }

    fn all_reduce(&self, _tensor: &Tensor, _op: ReduceOp, label: Label) -> Pending {
        self.record("begin", label)
    }

    fn reduce_scatter(&self, _input: &Tensor, _output: &Tensor, label: Label) -> Pending {
        self.record("begin", label)
    }

    fn all_gather(&self, _input: &Tensor, _output: &Tensor, label: Label) -> Pending {
        self.record("begin", label)
    }

    fn broadcast(&self, _tensor: &Tensor, _root: Rank, label: Label) -> Pending {
        self.record("begin", label)
    }

    fn barrier(&self, label: Label) -> Pending {
        self.record("begin", label)
    }
}

fn config(zero: u32) -> RunConfig {
    let toml = format!(
        "[run]\noutput = \"memory://x\"\n[model]\nlayers = 6\nwidth = 32\nheads = 2\ncontext_tokens = 16\nvocabulary = 300\n\
         [data]\ntrain = [{{ url = \"memory://x\" }}]\n[batch]\nglobal_sequences = 4\nmicro_sequences = 2\n\
         sequence_tokens = 16\n[optimizer]\npeak_learning_rate = 1e-3\nwarmup_steps = 0\n[train]\nmax_steps = 10\n\
         [parallel]\nzero = {zero}\nbucket_bytes = 16384\n"
    );
    RawConfig::parse("of the test", &toml, &[]).unwrap().run().unwrap()
}

/// Two micro batches of two sequences.
fn tokens() -> Vec<i32> {
    (0..2 * 17).map(|i| i * 7 % 300).collect()
}

#[test]
fn buckets_are_exchanged_during_backward_and_weights_during_the_next_forward() {
    for zero in [0, 1] {
        let ranks = Recording::default();
        let mut state = TrainState::initialise(&config(zero), Device::Cpu, Rank::ZERO, WorldSize::ONE).unwrap();
        let seen = ranks.seen.clone();
        let mut micro_batches = 0;
        let mut next = |_: &mut _| {
            micro_batches += 1;
            seen.lock().unwrap().push(format!("micro batch {micro_batches}"));
            Ok((tokens(), 2))
        };
        let accumulated = state.accumulate_on(&ranks, 2, &mut next).unwrap();
        let during = ranks.take();
        let buckets = during.iter().filter(|event| event.starts_with("begin gradients")).count();
        assert!(buckets > 5, "{during:?}");
        // In the last micro batch, in order, and nothing has been waited for.
        let expected: Vec<_> = ["micro batch 1".to_owned(), "micro batch 2".to_owned()]
            .into_iter()
            .chain((0..buckets).map(|i| format!("begin gradients, bucket {i}")))
            .collect();
        assert_eq!(during, expected);

        state.update(&ranks, accumulated).unwrap();
        let after = ranks.take();
        assert_eq!(after[0], "wait gradients, bucket 0");
        assert!(!after.iter().any(|event| event.starts_with("begin gradients")), "{after:?}");
        assert!(!after.iter().any(|event| event.starts_with("wait weights")), "{after:?}");
        let gathered = after.iter().filter(|event| event.starts_with("begin weights")).count();
        assert_eq!(gathered, if zero == 1 { buckets } else { 0 });

        let accumulated = state.accumulate_on(&ranks, 2, &mut next).unwrap();
        let next_step = ranks.take();
        let waits: Vec<_> = next_step.iter().filter(|event| event.starts_with("wait weights")).collect();
        assert_eq!(waits.len(), gathered, "forward waits for what it reads");
        drop(accumulated);
    }
}

/// Writes down how far backward has come, among what is begun.
struct Follow<'a> {
    exchange: Exchange<'a>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Hooks for Follow<'_> {
    fn complete_from(&mut self, start: usize) {
        self.seen.lock().unwrap().push(format!("complete from {start}"));
        self.exchange.complete_from(start);
    }
}

#[test]
fn no_bucket_waits_for_layers_below_it() {
    let config = config(0);
    let layout = Layout::new(&config.model).padded_to(Buckets::multiple(WorldSize::ONE));
    let model = Gpt2::with_layout(&config.model, layout, tch::Kind::Float, Device::Cpu);
    let gradients = model.flat.zeros_like();
    let buckets = Arc::new(Buckets::new(model.layout.elements(), 4096, WorldSize::ONE));
    let ranks = Recording::default();
    let exchange = Exchange::begin(&ranks, &gradients, &buckets, Reduction::Whole);
    let mut follow = Follow { exchange, seen: ranks.seen.clone() };
    let options = GradientOptions { scale: 1.0, accumulate: false, recompute: config.train.recompute };
    let batch = worker::model::Batch::new(&tokens(), 2);
    let _ = model.accumulate_gradients(&batch, options, &gradients, &mut follow).unwrap();
    let seen = ranks.take();
    // Where backward was when each bucket was begun: at the first place that is not above it.
    let places: Vec<usize> = seen.iter().filter_map(|e| e.strip_prefix("complete from ")?.parse().ok()).collect();
    assert_eq!(places.len(), config.model.layers as usize + 2);
    let mut expected = Vec::new();
    let mut waiting = buckets.ranges().iter().enumerate().peekable();
    for place in places {
        expected.push(format!("complete from {place}"));
        while let Some((number, _)) = waiting.next_if(|(_, bucket)| bucket.start >= place) {
            expected.push(format!("begin gradients, bucket {number}"));
        }
    }
    assert_eq!(seen, expected);
    assert!(waiting.peek().is_none());
}

/// What is complete when, in places of the flat layout.
#[derive(Default)]
struct Progress {
    complete: Vec<usize>,
}

impl Hooks for Progress {
    fn complete_from(&mut self, start: usize) {
        self.complete.push(start);
    }
}

/// The token embedding's gradient is whole only when backward has come through all layers. After it there must be
/// something left to compute, beside which it can be exchanged.
#[test]
fn the_token_embedding_is_not_the_last_to_be_complete() {
    let config = config(0);
    let model = Gpt2::initialised(&config.model, tch::Kind::Float, Device::Cpu, 1);
    let gradients = model.flat.zeros_like();
    let batch = worker::model::Batch::new(&tokens(), 2);
    let options = GradientOptions { scale: 1.0, accumulate: false, recompute: config.train.recompute };
    let mut progress = Progress::default();
    let _ = model.accumulate_gradients(&batch, options, &gradients, &mut progress).unwrap();
    let layers = config.model.layers as usize;
    let expected: Vec<_> = std::iter::once(model.layout.final_norm().start)
        .chain((1..layers).rev().map(|layer| model.layout.block(layer).start))
        .chain([model.layout.embeddings().start, model.layout.block(0).start])
        .collect();
    assert_eq!(progress.complete, expected);
    assert!(!model.layout.block(0).is_empty() && model.layout.block(0).start == 0);
}
