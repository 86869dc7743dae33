//! Results of steps. The host reads those of a GPU while it works on the next step.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tch::Device;

use super::readback::Readback;
use super::state::TrainState;
use super::timeline::{Phases, Timeline};
use super::verify::Compared;
use crate::collectives::Collectives;
use crate::error::JobError;

/// Outcome of a step, on its way to the host.
pub struct StepOutcome {
    /// Number of the step, from 1.
    pub(super) step: u64,
    pub(super) learning_rate: f64,
    pub(super) timeline: Timeline,
    /// Summed loss over all ranks, sum of the gradients' squares, norm, and 1 if the update was skipped.
    pub(super) numbers: Readback,
    pub(super) tokens: u64,
    /// Comparison of the state that the step began with, if it was made.
    pub(super) compared: Option<Compared>,
}

/// Results of a step.
#[derive(Debug, Clone)]
pub struct StepReport {
    /// Number of the step, from 1.
    pub step: u64,
    /// Mean cross-entropy of the global batch, in nats per token.
    pub loss: f64,
    /// Norm of all ranks' gradients before clipping.
    pub grad_norm: f64,
    /// Whether the update was skipped.
    pub is_skipped: bool,
    /// Learning rate of the update.
    pub learning_rate: f64,
    /// Time of the step's phases.
    pub phases: Phases,
}

impl StepOutcome {
    /// Returns the results; waits for the device if it has not computed them yet.
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

    /// Fails on every rank if the step has found that ranks did not hold identical state when it began. All ranks
    /// must call this together, with the `state` of the run.
    pub fn verify(&self, state: &TrainState, ranks: &dyn Collectives) -> Result<(), JobError> {
        self.compared.as_ref().map_or(Ok(()), |compared| compared.check(self.step - 1, || state.replica_names(), ranks))
    }
}

/// Results in the order of their steps. Each is read once, and a GPU's one step late unless it is needed at once.
pub struct Results {
    /// Outcomes that have not been read, each with the time at which its step began.
    unread: VecDeque<(StepOutcome, Instant)>,
    /// Number of outcomes that may stay unread while nothing needs them.
    late: usize,
    last_read: Instant,
    /// Number of the last step with known results.
    step: u64,
}

impl Results {
    /// Creates the results of the steps that follow `step`, on `device`.
    pub fn after(step: u64, device: Device) -> Self {
        let late = usize::from(device.is_cuda());
        Results { unread: VecDeque::new(), late, last_read: Instant::now(), step }
    }

    /// Adds the outcome of a step that began at `start`.
    pub fn add(&mut self, outcome: StepOutcome, start: Instant) {
        self.unread.push_back((outcome, start));
    }

    /// Reads the oldest results, and how long their step took. `None` if none are left, or if the only ones may wait
    /// because nothing `is_needed`. Fails on every rank if one of them has failed, or if they differ. All ranks must
    /// call this together.
    pub fn read(
        &mut self,
        is_needed: bool,
        state: &TrainState,
        ranks: &dyn Collectives,
    ) -> Result<Option<(StepReport, Duration)>, JobError> {
        let kept = if is_needed { 0 } else { self.late };
        if self.unread.len() <= kept {
            return Ok(None);
        }
        let Some((outcome, start)) = self.unread.pop_front() else { return Ok(None) };
        let report = outcome.read()?;
        ranks.check()?;
        outcome.verify(state, ranks)?;
        // On a GPU, the previous step has ended after this one was begun.
        let elapsed = start.max(self.last_read).elapsed();
        self.last_read = Instant::now();
        self.step = report.step;
        Ok(Some((report, elapsed)))
    }

    /// Returns the last step whose results have been read.
    pub fn step(&self) -> u64 {
        self.step
    }
}
