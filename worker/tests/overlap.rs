//! The exchange of gradients begins while backward goes on, and nothing waits for it before backward has ended.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::config::{RawConfig, Recompute, RunConfig};
use common::topology::{Rank, WorldSize};
use tch::{Device, Tensor};
use worker::collectives::in_flight::InFlight;
use worker::collectives::single::Single;
use worker::collectives::{Collectives, Label, Pending, ReduceOp};
use worker::gradients::{Buckets, Exchange, ExchangeOrder, Reduction};
use worker::model::parameters::Layout;
use worker::model::{Gpt2, GradientOptions, Hooks};
use worker::step::state::TrainState;

/// A world of one rank that records which operations begin and which are waited for.
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

    /// Leaves no numbers in `output` until it has been waited for.
    fn all_gather(&self, _input: &Tensor, output: &Tensor, label: Label) -> Pending {
        let (mut output, gathered) = (output.shallow_clone(), output.copy());
        let _ = output.fill_(f64::NAN);
        let recorded = self.record("begin", label);
        Pending::new(move || {
            output.copy_(&gathered);
            recorded.wait()
        })
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
        "[run]\noutput = \"memory://x\"\n[model]\nlayers = 6\nwidth = 32\nheads = 2\ncontext_tokens = 16\nvocabulary = 1000\n\
         [data]\ntrain = [{{ url = \"memory://x\" }}]\n[batch]\nglobal_sequences = 4\nmicro_sequences = 2\n\
         sequence_tokens = 16\n[optimizer]\npeak_learning_rate = 1e-3\nwarmup_steps = 0\n[train]\nmax_steps = 10\n\
         [parallel]\nzero = {zero}\nbucket_bytes = 16384\n"
    );
    RawConfig::parse("of the test", &toml, &[]).unwrap().run().unwrap()
}

/// Returns two micro batches of two sequences.
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
        // In the last micro batch, each bucket once, and nothing has been waited for.
        assert_eq!(during[..2], ["micro batch 1", "micro batch 2"]);
        let mut begun = during[2..].to_vec();
        begun.sort_by_key(|event| event.rsplit(' ').next().unwrap().parse::<usize>().unwrap());
        let all: Vec<_> = (0..buckets).map(|i| format!("begin gradients, bucket {i}")).collect();
        assert_eq!(begun, all);

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

/// With any number of micro batches, a rank has identical operations in an identical order: another order on another
/// rank is a step that never ends. Between `accumulate` and `update` the loop begins its agreement.
#[test]
fn a_rank_without_a_micro_batch_exchanges_in_the_order_of_the_others() {
    for zero in [0, 1] {
        let begun = |micro_batches: usize| {
            let ranks = Recording::default();
            let mut state = TrainState::initialise(&config(zero), Device::Cpu, Rank::ZERO, WorldSize::ONE).unwrap();
            for _ in 0..2 {
                let accumulated = state.accumulate_on(&ranks, micro_batches, |_| Ok((tokens(), 2))).unwrap();
                let requests = ranks.barrier(Label::new("requests"));
                state.update(&ranks, accumulated).unwrap();
                requests.wait().unwrap();
            }
            let mut seen = ranks.take();
            seen.retain(|event| event.starts_with("begin"));
            seen
        };
        let expected = begun(1);
        assert!(expected.iter().filter(|event| event.starts_with("begin gradients")).count() > 10, "{expected:?}");
        assert_eq!(begun(0), expected, "zero = {zero}");
        assert_eq!(begun(3), expected, "zero = {zero}");
    }
}

/// Forward waits for all weights that it reads: the loss is right although weights are no numbers until they have
/// been waited for.
#[test]
fn forward_reads_no_weights_that_are_under_way() {
    let train = |ranks: &dyn Collectives, zero| {
        let mut state = TrainState::initialise(&config(zero), Device::Cpu, Rank::ZERO, WorldSize::ONE).unwrap();
        let mut step = || {
            let accumulated = state.accumulate_on(ranks, 2, |_| Ok((tokens(), 2))).unwrap();
            let report = state.update(ranks, accumulated).unwrap().read().unwrap();
            (report.loss, report.grad_norm)
        };
        [step(), step(), step()]
    };
    let expected = train(&Single::default(), 0);
    assert!(expected[2].0 < expected[0].0, "nothing was learnt: {expected:?}");
    assert_eq!(train(&Recording::default(), 1), expected);
}

/// Records what backward has completed, among the operations that begin.
struct Follow<'a> {
    exchange: Exchange<'a>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Hooks for Follow<'_> {
    fn complete(&mut self, range: Range<usize>) {
        self.seen.lock().unwrap().push(format!("complete {} {}", range.start, range.end));
        self.exchange.complete(&range);
    }
}

/// Returns the course of backward of `config`: the completed ranges, and the buckets of 4096 elements that begin.
fn backward_of(config: &RunConfig) -> (Gpt2, Buckets, Vec<String>) {
    let layout = Layout::new(&config.model).padded_to(Buckets::multiple(WorldSize::ONE));
    let model = Gpt2::with_layout(&config.model, layout, tch::Kind::Float, Device::Cpu);
    let gradients = model.flat.zeros_like();
    let buckets = Buckets::new(model.layout.elements(), 4096, WorldSize::ONE);
    let order = Arc::new(ExchangeOrder::new(buckets.clone(), model.layout.completion(config.train.recompute)));
    let ranks = Recording::default();
    let exchange = Exchange::begin(&ranks, &gradients, &order, Reduction::Whole);
    let mut follow = Follow { exchange, seen: ranks.seen.clone() };
    let options = GradientOptions { scale: 1.0, accumulate: false, recompute: config.train.recompute };
    let batch = worker::model::Batch::new(&tokens(), 2);
    let _ = model.accumulate_gradients(&batch, options, &gradients, &mut follow).unwrap();
    (model, buckets, ranks.take())
}

#[test]
fn a_bucket_begins_when_its_last_gradient_is_there() {
    for recompute in [Recompute::None, Recompute::Block] {
        let mut config = config(0);
        config.train.recompute = recompute;
        let (model, buckets, seen) = backward_of(&config);
        // By element; the padding at the end is complete from the start.
        let mut is_complete = vec![false; model.layout.elements()];
        is_complete[model.layout.final_norm().end..].fill(true);
        let mut waiting: Vec<(usize, Range<usize>)> = buckets.ranges().iter().cloned().enumerate().collect();
        let mut expected = Vec::new();
        for event in &seen {
            let Some(place) = event.strip_prefix("complete ") else { continue };
            let (start, end) = place.split_once(' ').unwrap();
            is_complete[start.parse().unwrap()..end.parse().unwrap()].fill(true);
            expected.push(event.clone());
            waiting.retain(|(number, bucket)| {
                let is_whole = is_complete[bucket.clone()].iter().all(|complete| *complete);
                if is_whole {
                    expected.push(format!("begin gradients, bucket {number}"));
                }
                !is_whole
            });
        }
        assert_eq!(seen, expected);
        assert!(waiting.is_empty());
    }
}

/// The token embedding's gradient is complete only when backward has passed all layers. Computation must be left
/// after that, beside which it can be exchanged.
#[test]
fn the_token_embedding_is_exchanged_beside_products_that_were_put_off() {
    let config = config(0);
    let (model, buckets, seen) = backward_of(&config);
    let (embeddings, late) = (model.layout.embeddings(), model.layout.late_blocks(config.train.recompute));
    assert!(late > 1 && late < config.model.layers as usize, "{late}");
    let at = |event: &str| seen.iter().position(|e| e == event).unwrap_or_else(|| panic!("no {event:?} in {seen:?}"));
    let complete = |range: Range<usize>| at(&format!("complete {} {}", range.start, range.end));
    let first_late = complete(model.layout.block(late - 1));
    let within = |bucket: &Range<usize>| embeddings.start <= bucket.start && bucket.end <= embeddings.end;
    let of_embeddings: Vec<usize> = (0..buckets.ranges().len()).filter(|i| within(&buckets.ranges()[*i])).collect();
    assert!(of_embeddings.len() > 1);
    for number in of_embeddings {
        let begun = at(&format!("begin gradients, bucket {number}"));
        assert!(complete(embeddings.clone()) < begun && begun < first_late, "bucket {number}: {seen:?}");
    }
    for layer in 0..late {
        assert!(complete(model.layout.block(layer)) >= first_late);
    }
}
