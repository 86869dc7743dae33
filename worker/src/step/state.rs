//! Everything that training changes, and one step of it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use common::batch_plan::BatchPlan;
use common::config::{OnBadNorm, Precision, Recompute, RunConfig};
use common::cost::StepCost;
use common::lr_schedule::LrSchedule;
use common::topology::{Rank, WorldSize};
use tch::{Device, Kind, TchError, Tensor};

use super::cadence::is_due;
use super::readback::Readback;
use super::timeline::{Mark, Phase, Phases, Timeline};
use super::upload::Upload;
use super::verify::{Compared, Comparison, Replica};
use crate::collectives::{Collectives, Label, ReduceOp};
use crate::data::TokenStream;
use crate::error::JobError;
use crate::gradients::verdict::NormHistory;
use crate::gradients::{Buckets, Exchange, ExchangeOrder, Reduction, Verdict};
use crate::kernels::norm::sum_of_squares;
use crate::model::head;
use crate::model::parameters::{Layout, initialise};
use crate::model::{Batch, Gpt2, GradientOptions, Hooks};
use crate::optimizer::gather::WeightGather;
use crate::optimizer::{Optimizer, Rounding};

/// So many skipped updates in a row end the run.
const SKIPPED_MAX: u64 = 10;

/// The model, the optimizer and the place in the run.
pub struct TrainState {
    /// Completed steps.
    pub step: u64,
    /// Training sequences consumed over all ranks: the whole cursor of the token stream.
    pub consumed: u64,
    /// The model; see [`weights_are_here`](Self::weights_are_here).
    pub model: Gpt2,
    /// Its optimizer.
    pub optimizer: Optimizer,
    /// Norms of the last steps' gradients.
    pub norms: NormHistory,
    gradients: Tensor,
    order: Arc<ExchangeOrder>,
    reduction: Reduction,
    gather: WeightGather,
    upload: Upload,
    plan: BatchPlan,
    schedule: LrSchedule,
    recompute: Recompute,
    on_bad_norm: OnBadNorm,
    /// Updates skipped since the last that was not.
    pub skipped_in_a_row: u64,
    /// Steps from one comparison of the ranks' state to the next; 0 for none.
    verify_every_steps: u64,
    /// The present state is being saved, and is compared in any case.
    is_saved: bool,
}

/// A step whose gradients are under way.
pub struct Accumulated<'a> {
    exchange: Exchange<'a>,
    /// Sum of the cross-entropies of this rank's tokens, in nats: a float64 scalar.
    loss_sum: Tensor,
    timeline: Timeline,
}

/// A step's results, on their way to the host.
pub struct StepOutcome {
    /// Of the step that this is the outcome of, from 1.
    step: u64,
    learning_rate: f64,
    timeline: Timeline,
    /// Summed loss over all ranks, sum of the gradients' squares, norm, and 1 if the update was skipped.
    numbers: Readback,
    tokens: u64,
    /// Of the state that the step began with, where it was compared.
    compared: Option<Compared>,
}

/// A step's results.
#[derive(Debug, Clone)]
pub struct StepReport {
    /// Of which step, from 1.
    pub step: u64,
    /// Mean cross-entropy of the global batch, in nats per token.
    pub loss: f64,
    /// Norm of all ranks' gradients before clipping.
    pub grad_norm: f64,
    /// Whether the update was not made.
    pub is_skipped: bool,
    /// Learning rate of the update.
    pub learning_rate: f64,
    /// Where its time went.
    pub phases: Phases,
}

impl StepOutcome {
    /// The results; waits for the device where it has not got there yet.
    pub fn read(&self) -> Result<StepReport, JobError> {
        let numbers = Vec::<f64>::try_from(self.numbers.read()?)?;
        Ok(StepReport {
            step: self.step,
            loss: numbers[0] / self.tokens as f64,
            grad_norm: numbers[2],
            is_skipped: numbers[3] != 0.0,
            learning_rate: self.learning_rate,
            phases: self.timeline.phases(),
        })
    }

    /// Fails on every rank where the step has found that ranks did not hold the same when it began. All ranks must call this
    /// together, with the `state` of the run.
    pub fn verify(&self, state: &TrainState, ranks: &dyn Collectives) -> Result<(), JobError> {
        self.compared.as_ref().map_or(Ok(()), |compared| compared.check(self.step - 1, || state.replica_names(), ranks))
    }
}

/// libtorch's name of a kind.
pub fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::Float32 => Kind::Float,
        Precision::Bfloat16 => Kind::BFloat16,
    }
}

impl TrainState {
    /// A fresh state of rank `rank` on `device`: parameters from `run.seed`, nothing consumed.
    pub fn initialise(config: &RunConfig, device: Device, rank: Rank, world: WorldSize) -> Result<Self, JobError> {
        let _no_grad = tch::no_grad_guard();
        let train = &config.train;
        let layout = Layout::new(&config.model).padded_to(Buckets::multiple(world));
        let model = Gpt2::with_layout(&config.model, layout, kind(train.precision), device);
        let gradients = Tensor::zeros([model.layout.elements() as i64], (kind(train.gradients), device));
        let bucket_elements = config.parallel.bucket_bytes / train.gradients.bytes();
        let buckets = Buckets::new(model.layout.elements(), bucket_elements as usize, world);
        let is_divided = config.parallel.zero == 1;
        let owned: fn(&Buckets, &Range<usize>, Rank) -> Range<usize> =
            if is_divided { Buckets::part } else { |_, bucket, _| bucket.clone() };
        let ranges = buckets.ranges().iter().rev().map(|bucket| owned(&buckets, bucket, rank)).collect();
        let rounding = match train.stochastic_rounding {
            true => Rounding::Stochastic(config.run.seed),
            false => Rounding::Nearest,
        };
        let order = Arc::new(ExchangeOrder::new(buckets, model.layout.completion(train.recompute)));
        let mut state = TrainState {
            step: 0,
            consumed: 0,
            optimizer: Optimizer::new(&model, &gradients, ranges, &config.optimizer, rounding),
            norms: NormHistory::new(&config.optimizer, &gradients),
            model,
            gradients,
            order,
            reduction: if is_divided { Reduction::Parts } else { Reduction::Whole },
            gather: WeightGather::default(),
            upload: Upload::to(device)?,
            plan: config.batch_plan(),
            schedule: config.lr_schedule(),
            recompute: train.recompute,
            on_bad_norm: config.optimizer.on_bad_norm,
            skipped_in_a_row: 0,
            verify_every_steps: config.parallel.verify_every_steps,
            is_saved: false,
        };
        state.set_weights(|layout, flat| initialise(layout, flat, &config.model, config.run.seed))?;
        Ok(state)
    }

    /// What a step of `config` costs each of `world` ranks on a device like this.
    pub fn cost(&self, config: &RunConfig, world: WorldSize) -> StepCost {
        let (device, kind) = (self.device(), self.model.flat.kind());
        let rows = head::chunk_rows(device) as u64;
        StepCost::of(config, world, rows, head::logit_bytes(device, kind))
    }

    /// What this rank computes on.
    pub fn device(&self) -> Device {
        self.gradients.device()
    }

    /// Sequences of T + 1 tokens each, row by row, where the model is.
    pub fn batch(&self, tokens: &[i32], sequences: usize) -> Result<Batch, JobError> {
        Ok(self.upload.batch(tokens, sequences)?)
    }

    /// Lets `fill` write all weights, float32, into a flat tensor in host memory, and takes them over.
    pub fn set_weights(&mut self, fill: impl FnOnce(&Layout, &Tensor)) -> Result<(), JobError> {
        let weights = self.host_weights();
        fill(&self.model.layout, &weights);
        self.set_weights_from(&weights)
    }

    /// Room for all weights, flat, float32, in host memory: the model's own where they are that. Padding in it is zero.
    pub fn host_weights(&self) -> Tensor {
        match self.has_plain_weights() {
            true => self.model.flat.shallow_clone(),
            false => Tensor::zeros([self.model.layout.elements() as i64], (Kind::Float, Device::Cpu)),
        }
    }

    /// Takes over what was written into [`host_weights`](Self::host_weights).
    pub fn set_weights_from(&mut self, weights: &Tensor) -> Result<(), JobError> {
        let _no_grad = tch::no_grad_guard();
        if !self.has_plain_weights() {
            self.optimizer.set_weights(weights, &self.model.flat)?;
        }
        Ok(())
    }

    fn has_plain_weights(&self) -> bool {
        self.model.flat.kind() == Kind::Float && self.model.flat.device() == Device::Cpu
    }

    /// Accumulates the gradients of this rank's next micro batches of `stream`, and starts to exchange them.
    pub fn accumulate<'a>(
        &mut self,
        ranks: &'a dyn Collectives,
        stream: &mut TokenStream,
    ) -> Result<Accumulated<'a>, JobError> {
        let micro_batches = self.plan.micro_batches(self.consumed, ranks.rank(), ranks.world_size()).count();
        let next = |timeline: &mut Timeline| {
            let start = Mark::Host(Instant::now());
            let micro = stream.next()?;
            timeline.add(Phase::DataWait, start);
            Ok((micro.tokens, micro.batch))
        };
        self.accumulate_on(ranks, micro_batches, next)
    }

    /// The same of `micro_batches` that `next` gives: tokens, row by row, and their number of sequences.
    pub fn accumulate_on<'a>(
        &mut self,
        ranks: &'a dyn Collectives,
        micro_batches: usize,
        mut next: impl FnMut(&mut Timeline) -> Result<(Vec<i32>, usize), JobError>,
    ) -> Result<Accumulated<'a>, JobError> {
        let _no_grad = tch::no_grad_guard();
        let scale = 1.0 / self.plan.tokens_per_step() as f64;
        let mut loss_sum = Tensor::zeros([], (Kind::Double, self.gradients.device()));
        let mut exchange = Exchange::begin(ranks, &self.gradients, &self.order, self.reduction);
        let mut timeline = Timeline::start(self.gradients.device());
        if micro_batches == 0 {
            self.contribute_nothing(&mut exchange, &mut timeline);
        }
        for i in 0..micro_batches {
            let (tokens, sequences) = next(&mut timeline)?;
            let batch = self.upload.batch(&tokens, sequences)?;
            let options = GradientOptions { scale, accumulate: i > 0, recompute: self.recompute };
            let mut beside = Beside {
                gather: &mut self.gather,
                // Gradients are whole in the last micro batch only.
                exchange: (i + 1 == micro_batches).then_some(&mut exchange),
                since: timeline.mark(),
                timeline: &mut timeline,
            };
            loss_sum += self.model.accumulate_gradients(&batch, options, &self.gradients, &mut beside)?;
            beside.ended(Phase::Backward);
        }
        Ok(Accumulated { exchange, loss_sum, timeline })
    }

    /// The part of a rank that has no micro batch: zeros, which take part in every exchange when those of others do.
    fn contribute_nothing(&mut self, exchange: &mut Exchange<'_>, timeline: &mut Timeline) {
        let start = timeline.mark();
        self.gather.wait_until(usize::MAX);
        timeline.add(Phase::ExposedComm, start);
        let start = timeline.mark();
        let _ = self.gradients.zero_();
        exchange.complete_rest();
        timeline.add(Phase::Backward, start);
    }

    /// Ends the step: waits for the gradients, clips, and updates. Updated weights may still be under way when this returns.
    pub fn update(&mut self, ranks: &dyn Collectives, accumulated: Accumulated<'_>) -> Result<StepOutcome, JobError> {
        let _no_grad = tch::no_grad_guard();
        let Accumulated { exchange, loss_sum, mut timeline } = accumulated;
        // Forward has waited for all weights, and kept what went wrong.
        self.gather.finish()?;
        // Beside the exchange, and before the update, by which a rank's own part may become everybody's.
        let comparison = self.is_verified_now(ranks.world_size()).then(|| {
            let start = timeline.mark();
            let comparison = Comparison::begin(&self.replicas(), ranks);
            timeline.add(Phase::Optimizer, start);
            comparison
        });
        let start = timeline.mark();
        exchange.finish()?;
        timeline.add(Phase::ExposedComm, start);
        let start = timeline.mark();
        let sums = Tensor::stack(&[loss_sum, self.own_sum_of_squares(ranks.rank())?], 0); // [2]
        ranks.all_reduce(&sums, ReduceOp::Sum, Label::new("loss and norm")).wait()?;
        let verdict = self.norms.judge(&sums.select(0, 1));
        let learning_rate = self.schedule.at(self.step);
        self.update_weights(ranks, learning_rate, &verdict)?;
        timeline.add(Phase::Optimizer, start);
        self.step += 1;
        self.consumed += self.plan.global_sequences;
        let judged = Tensor::stack(&[verdict.norm, verdict.skip.to_kind(Kind::Double)], 0); // [2]
        Ok(StepOutcome {
            step: self.step,
            learning_rate,
            timeline,
            numbers: Readback::start(&Tensor::cat(&[sums, judged], 0))?,
            tokens: self.plan.tokens_per_step(),
            compared: comparison.map(Comparison::arrive).transpose()?,
        })
    }

    /// The squares of the reduced gradients, summed over this rank's part of each bucket: a float64 scalar.
    ///
    /// Each rank takes its part even where all have everything, so that all get the norm from the same numbers.
    fn own_sum_of_squares(&self, rank: Rank) -> Result<Tensor, TchError> {
        let buckets = self.order.buckets();
        let parts = buckets.ranges().iter().map(|bucket| {
            let part = buckets.part(bucket, rank);
            self.gradients.narrow(0, part.start as i64, part.len() as i64)
        });
        sum_of_squares(&parts.collect::<Vec<_>>())
    }

    /// Updates this rank's slices in the order in which forward will need them, and sends each on its way at once.
    fn update_weights(
        &mut self,
        ranks: &dyn Collectives,
        learning_rate: f64,
        verdict: &Verdict,
    ) -> Result<(), JobError> {
        let buckets = self.order.buckets();
        for (slice, bucket) in buckets.ranges().iter().rev().enumerate() {
            self.optimizer.update_slice(slice, learning_rate, verdict)?;
            if self.reduction == Reduction::Parts {
                let part = buckets.part(bucket, ranks.rank());
                let view = |range: &Range<usize>| self.model.flat.narrow(0, range.start as i64, range.len() as i64);
                let label = Label::bucket("weights", slice);
                self.gather.add(bucket.clone(), ranks.all_gather(&view(&part), &view(bucket), label));
            }
        }
        self.optimizer.end_update(verdict);
        Ok(())
    }

    /// Waits until the model's weights are those of the last update, on every rank; to be called before they are read other
    /// than by the next step.
    pub fn weights_are_here(&mut self) -> Result<(), JobError> {
        Ok(self.gather.finish()?)
    }

    /// Whether this rank holds only a part of the optimizer's state, as the others do of theirs.
    pub fn is_divided(&self) -> bool {
        self.reduction == Reduction::Parts
    }

    /// Shows all float32 weights to `visit`, bucket by bucket, each with its place in the flat layout. All ranks must call
    /// this together, with the model's weights in place.
    pub fn for_each_master_bucket(
        &self,
        ranks: &dyn Collectives,
        mut visit: impl FnMut(&Range<usize>, &Tensor) -> Result<(), TchError>,
    ) -> Result<(), JobError> {
        for (slice, bucket) in self.order.buckets().ranges().iter().rev().enumerate() {
            let (start, length) = (bucket.start as i64, bucket.len() as i64);
            match self.optimizer.master(slice) {
                None => visit(bucket, &self.model.flat.narrow(0, start, length))?,
                Some(whole) if !self.is_divided() => visit(bucket, whole)?,
                Some(part) => {
                    let whole = Tensor::zeros([length], (Kind::Float, part.device()));
                    ranks.all_gather(part, &whole, Label::bucket("master weights", slice)).wait()?;
                    visit(bucket, &whole)?;
                }
            }
        }
        Ok(())
    }

    /// Ends the run when an update was skipped and must not be, or when too many in a row were; every rank judges the same.
    pub fn judge(&mut self, report: &StepReport) -> Result<(), JobError> {
        self.skipped_in_a_row = if report.is_skipped { self.skipped_in_a_row + 1 } else { 0 };
        let may_skip = match self.on_bad_norm {
            OnBadNorm::Skip => SKIPPED_MAX - 1,
            OnBadNorm::Stop => 0,
        };
        match self.skipped_in_a_row <= may_skip {
            true => Ok(()),
            false => {
                Err(JobError::BadNorm { step: report.step, norm: report.grad_norm, skipped: self.skipped_in_a_row })
            }
        }
    }

    /// Fails on every rank, and names the ones that differ, unless all begin with the same state at the same place in the data.
    pub fn agree_on_start(&self, ranks: &dyn Collectives) -> Result<(), JobError> {
        self.verify(ranks)?;
        ranks.agree_same(self.consumed, "the place in the data")?;
        Ok(())
    }

    /// Has the next step verify the state that it begins with, which is being saved.
    pub fn verify_in_next_step(&mut self) {
        self.is_saved = true;
    }

    /// The same where no step follows.
    pub fn verify_at_end(&mut self, ranks: &dyn Collectives) -> Result<(), JobError> {
        self.weights_are_here()?;
        if self.verify_every_steps > 0 { self.verify(ranks) } else { Ok(()) }
    }

    fn verify(&self, ranks: &dyn Collectives) -> Result<(), JobError> {
        match ranks.world_size() {
            WorldSize::ONE => Ok(()),
            _ => Comparison::begin(&self.replicas(), ranks).arrive()?.check(self.step, || self.replica_names(), ranks),
        }
    }

    /// Whether this step verifies the state that it begins with, on all ranks alike.
    fn is_verified_now(&mut self, world: WorldSize) -> bool {
        let is_saved = std::mem::take(&mut self.is_saved);
        let every = self.verify_every_steps;
        world != WorldSize::ONE && (is_due(every, self.step) || (is_saved && every > 0))
    }

    /// What every rank must hold alike: the model's weights, and the optimizer's state where it is not divided.
    fn replicas(&self) -> Vec<Replica> {
        let parameters = &self.model.layout.parameters;
        let weights = parameters.iter().map(|parameter| Replica {
            name: parameter.name.clone(),
            values: self.model.flat.narrow(0, parameter.start as i64, parameter.padded_elements as i64),
        });
        let parts = if self.is_divided() { Vec::new() } else { self.optimizer.parts(&self.model.layout) };
        let has_master = self.optimizer.master(0).is_some();
        let of_optimizer = parts.into_iter().flat_map(|part| {
            let name = &parameters[part.parameter].name;
            let replica = |what: &str, values| Replica { name: format!("{what} of {name}"), values };
            let moments = [replica("exp_avg", part.exp_avg), replica("exp_avg_sq", part.exp_avg_sq)];
            moments.into_iter().chain(has_master.then(|| replica("float32 weights", part.master)))
        });
        weights.chain(of_optimizer).collect()
    }

    fn replica_names(&self) -> Vec<String> {
        self.replicas().into_iter().map(|replica| replica.name).collect()
    }

    /// Tokens consumed so far.
    pub fn tokens(&self) -> u64 {
        self.consumed * self.plan.sequence_tokens
    }
}

/// What a training step does beside a pass through the model.
struct Beside<'b, 'a> {
    gather: &'b mut WeightGather,
    /// `None` while gradients are still to be added to.
    exchange: Option<&'b mut Exchange<'a>>,
    timeline: &'b mut Timeline,
    /// When what goes on began.
    since: Mark,
}

impl Beside<'_, '_> {
    /// `phase` has gone on until now, and something else begins.
    fn ended(&mut self, phase: Phase) {
        let now = self.timeline.mark();
        let since = std::mem::replace(&mut self.since, now);
        self.timeline.add(phase, since);
    }
}

impl Hooks for Beside<'_, '_> {
    fn before_use(&mut self, range: Range<usize>) {
        if self.gather.is_waiting_before(range.end) {
            self.ended(Phase::Forward);
            self.gather.wait_until(range.end);
            self.ended(Phase::ExposedComm);
        }
    }

    fn forward_ended(&mut self) {
        self.ended(Phase::Forward);
    }

    fn complete(&mut self, range: Range<usize>) {
        if let Some(exchange) = &mut self.exchange {
            exchange.complete(&range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectives::single::Single;
    use common::config::RawConfig;

    fn config(on_bad_norm: &str) -> RunConfig {
        let toml = format!(
            "[run]\noutput = \"memory://x\"\n[model]\nlayers = 1\nwidth = 32\nheads = 2\ncontext_tokens = 16\n\
             vocabulary = 300\n[data]\ntrain = [{{ url = \"memory://x\" }}]\n[batch]\nglobal_sequences = 2\n\
             micro_sequences = 2\nsequence_tokens = 16\n[optimizer]\npeak_learning_rate = 1e-3\nwarmup_steps = 0\n\
             skip_z_score = 6.0\non_bad_norm = \"{on_bad_norm}\"\n[train]\nmax_steps = 1000\n"
        );
        RawConfig::parse("of the test", &toml, &[]).unwrap().run().unwrap()
    }

    /// A step of tokens that depend on its number, whose gradients are `times` what they would be.
    fn step(state: &mut TrainState, times: f64) -> StepReport {
        let (ranks, number) = (Single::default(), state.step as i32);
        let tokens: Vec<i32> = (0..2 * 17).map(|i| (i * 7 + number * number) % 300).collect();
        let accumulated = state.accumulate_on(&ranks, 1, |_| Ok((tokens.clone(), 2))).unwrap();
        state.gradients.copy_(&(&state.gradients * times));
        state.update(&ranks, accumulated).unwrap().read().unwrap()
    }

    #[test]
    fn an_outlying_norm_changes_nothing_and_the_next_step_counts() {
        for (on_bad_norm, may_go_on) in [("skip", true), ("stop", false)] {
            let mut state =
                TrainState::initialise(&config(on_bad_norm), Device::Cpu, Rank::ZERO, WorldSize::ONE).unwrap();
            let all = |state: &TrainState| {
                let parts = state.optimizer.parts(&state.model.layout);
                let moments = parts.iter().flat_map(|part| [part.exp_avg.copy(), part.exp_avg_sq.copy()]);
                moments.chain([state.model.flat.copy()]).collect::<Vec<_>>()
            };
            for _ in 0..140 {
                let report = step(&mut state, 1.0);
                assert!(!report.is_skipped, "step {}: {}", report.step, report.grad_norm);
                state.judge(&report).unwrap();
            }
            let (before, updates) = (all(&state), state.optimizer.updates());
            let report = step(&mut state, 100.0);
            assert!(report.is_skipped && report.step == 141);
            assert_eq!(state.judge(&report).is_ok(), may_go_on);
            assert!(all(&state) == before && state.optimizer.updates() == updates);
            let report = step(&mut state, 1.0);
            assert!(!report.is_skipped && all(&state) != before && state.optimizer.updates() == updates + 1);
            assert_eq!(state.consumed, 142 * 2);
        }
    }
}
