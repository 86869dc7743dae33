//! The first half of a step: forward and backward over a rank's micro batches, and the exchange of gradients beside
//! them.

use std::ops::Range;
use std::time::Instant;

use tch::{Kind, Tensor};

use super::state::TrainState;
use super::timeline::{Mark, Phase, Timeline};
use crate::collectives::Collectives;
use crate::control::Control;
use crate::data::TokenStream;
use crate::error::JobError;
use crate::gradients::Exchange;
use crate::model::{GradientOptions, Hooks};
use crate::optimizer::gather::WeightGather;

/// A step with its gradients accumulated and their exchange under way.
pub struct Accumulated<'a> {
    pub(super) exchange: Exchange<'a>,
    /// Sum of the cross-entropies of this rank's tokens, in nats: a float64 scalar.
    pub(super) loss_sum: Tensor,
    pub(super) timeline: Timeline,
}

impl TrainState {
    /// Accumulates the gradients of this rank's next micro batches from `stream`, and starts to exchange them. Reports to
    /// `control` how many are done.
    pub fn accumulate<'a>(
        &mut self,
        ranks: &'a dyn Collectives,
        stream: &mut TokenStream,
        control: &Control,
    ) -> Result<Accumulated<'a>, JobError> {
        let micro_batches = self.plan.micro_batches(self.consumed, ranks.rank(), ranks.world_size()).count();
        let mut done = 0..micro_batches;
        let next = |timeline: &mut Timeline| {
            control.report_micro_batches(done.next().unwrap_or(micro_batches), micro_batches);
            let start = Mark::Host(Instant::now());
            let micro = stream.next()?;
            timeline.add(Phase::DataWait, start);
            Ok((micro.tokens, micro.batch))
        };
        let accumulated = self.accumulate_on(ranks, micro_batches, next)?;
        control.report_micro_batches(micro_batches, micro_batches);
        Ok(accumulated)
    }

    /// Accumulates the gradients of `micro_batches` micro batches, which `next` returns as tokens, row by row, and a
    /// number of sequences. Starts to exchange them.
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
                // Gradients are complete in the last micro batch only.
                exchange: (i + 1 == micro_batches).then_some(&mut exchange),
                since: timeline.mark(),
                timeline: &mut timeline,
            };
            loss_sum += self.model.accumulate_gradients(&batch, options, &self.gradients, &mut beside)?;
            beside.ended(Phase::Backward);
        }
        Ok(Accumulated { exchange, loss_sum, timeline })
    }

    /// Takes part in the exchange on a rank without micro batches: with zeros, in every exchange, in the order of
    /// other ranks.
    fn contribute_nothing(&mut self, exchange: &mut Exchange<'_>, timeline: &mut Timeline) {
        let start = timeline.mark();
        self.gather.wait_until(usize::MAX);
        timeline.add(Phase::ExposedComm, start);
        let start = timeline.mark();
        let _ = self.gradients.zero_();
        exchange.complete_rest();
        timeline.add(Phase::Backward, start);
    }
}

/// Hooks of a training step during a pass through the model.
struct Beside<'b, 'a> {
    gather: &'b mut WeightGather,
    /// Exchange of the gradients; `None` while more gradients are still to be added.
    exchange: Option<&'b mut Exchange<'a>>,
    timeline: &'b mut Timeline,
    /// Begin of the present phase.
    since: Mark,
}

impl Beside<'_, '_> {
    /// Ends `phase` now; another one begins.
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
