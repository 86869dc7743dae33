//! The second half of a step: the end of the exchange, the norm, the update, and the results for the host.

use std::ops::Range;

use common::config::OnBadNorm;
use common::topology::Rank;
use tch::{Kind, TchError, Tensor};

use super::accumulate::Accumulated;
use super::readback::Readback;
use super::results::{StepOutcome, StepReport};
use super::state::TrainState;
use super::timeline::Phase;
use super::verify::Comparison;
use crate::collectives::{Collectives, Label, ReduceOp};
use crate::error::JobError;
use crate::gradients::{Reduction, Verdict};
use crate::kernels::norm::sum_of_squares;

/// Number of skipped updates in a row that ends the run.
const SKIPPED_MAX: u64 = 10;

impl TrainState {
    /// Ends the step: waits for the gradients, clips, and updates. Updated weights may still be under way on return.
    pub fn update(&mut self, ranks: &dyn Collectives, accumulated: Accumulated<'_>) -> Result<StepOutcome, JobError> {
        let _no_grad = tch::no_grad_guard();
        let Accumulated { exchange, loss_sum, mut timeline } = accumulated;
        // Forward has waited for all weights, and kept any error.
        self.gather.finish()?;
        // Beside the exchange, and before the update, which may spread a rank's own part to all ranks.
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

    /// Returns the squares of the reduced gradients, summed over this rank's part of each bucket: a float64 scalar.
    ///
    /// Each rank sums only its part even if all ranks have all gradients, so that all compute the norm from identical
    /// numbers.
    fn own_sum_of_squares(&self, rank: Rank) -> Result<Tensor, TchError> {
        let buckets = self.order.buckets();
        let parts = buckets.ranges().iter().map(|bucket| {
            let part = buckets.part(bucket, rank);
            self.gradients.narrow(0, part.start as i64, part.len() as i64)
        });
        sum_of_squares(&parts.collect::<Vec<_>>())
    }

    /// Updates this rank's slices in the order in which forward will need them, and sends each one as soon as it is
    /// updated.
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

    /// Returns whether the last known update was skipped.
    pub fn is_skipping(&self) -> bool {
        self.skipped_in_a_row > 0
    }

    /// Ends the run if an update was skipped that must not be, or if too many in a row were. All ranks decide alike.
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
}

#[cfg(test)]
mod tests {
    use common::config::{RawConfig, RunConfig};
    use common::topology::WorldSize;
    use tch::Device;

    use super::*;
    use crate::collectives::single::Single;

    fn config(on_bad_norm: &str) -> RunConfig {
        let toml = format!(
            "[run]\noutput = \"memory://x\"\n[model]\nlayers = 1\nwidth = 32\nheads = 2\ncontext_tokens = 16\n\
             vocabulary = 300\n[data]\ntrain = [{{ url = \"memory://x\" }}]\n[batch]\nglobal_sequences = 2\n\
             micro_sequences = 2\nsequence_tokens = 16\n[optimizer]\npeak_learning_rate = 1e-3\nwarmup_steps = 0\n\
             skip_z_score = 6.0\non_bad_norm = \"{on_bad_norm}\"\n[train]\nmax_steps = 1000\n"
        );
        RawConfig::parse("of the test", &toml, &[]).unwrap().run().unwrap()
    }

    /// Makes a step with tokens that depend on its number, and with gradients multiplied by `times`.
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
