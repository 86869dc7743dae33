//! Metrics, events, and progress. Rank 0 reports for all ranks; others only report how long a step kept them busy.

use std::cell::{Cell, RefCell};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::metrics::{RecordWriter, SaveRecord, StepRecord, ValidationRecord};
use common::preflight::{Finding, Verdict};
use common::storage::{Folder, StorageError};
use common::task_results::TasksRecord;
use common::worker_contract::FromRank;
use serde::Serialize;
use tch::Device;

use super::communication::CommunicationShare;
use super::memory::peak_memory_bytes;
use crate::collectives::bandwidth::Bandwidth;
use crate::control::Control;
use crate::error::JobError;
use crate::step::results::StepReport;
use crate::world::World;

/// Recorder of this attempt.
pub struct Observer {
    writers: Option<Writers>,
    control: Control,
    tokens_per_step: u64,
    /// FLOPs of a token as a fraction of the peak FLOP/s of all ranks; `None` if no peak is given.
    mfu_per_token_rate: Option<f64>,
    max_steps: u64,
    device: Device,
    /// Steps and tokens before this attempt.
    start: Cell<(u64, u64)>,
    /// Whether this rank has sequences in each step. A rank without any only waits, so its times say nothing of the
    /// others.
    has_share: bool,
    communication: RefCell<CommunicationShare>,
}

struct Writers {
    metrics: RecordWriter,
    events: RecordWriter,
}

impl Writers {
    fn append_event(&self, kind: &'static str, text: &str, bandwidth: Option<Bandwidth>) {
        let time_unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis() as u64);
        self.events.append(&Event { time_unix_ms, kind, text, bandwidth });
    }
}

/// Record of an event, in `events/`.
#[derive(Serialize)]
struct Event<'a> {
    time_unix_ms: u64,
    kind: &'static str,
    text: &'a str,
    #[serde(flatten)]
    bandwidth: Option<Bandwidth>,
}

impl Observer {
    /// Starts the records of this attempt.
    pub fn start(world: &World) -> Result<Self, JobError> {
        let config = &world.config;
        let run = Folder::open(&config.run.output, &config.storage)?;
        let number = world.claim.number;
        let writer = |name: String| RecordWriter::start(run.folder(&name)).map_err(JobError::Thread);
        let writers = match world.collectives.rank().is_zero() {
            true => Some(Writers {
                metrics: writer(format!("metrics/attempt-{number:04}"))?,
                events: writer(format!("events/attempt-{number:04}-rank-0"))?,
            }),
            false => None,
        };
        Ok(Observer {
            writers,
            control: world.control.clone(),
            tokens_per_step: config.batch_plan().tokens_per_step(),
            mfu_per_token_rate: (config.run.peak_flops > 0.0).then(|| {
                let all_ranks = config.run.peak_flops * f64::from(world.collectives.world_size().get());
                config.model.flops_per_token(config.batch.sequence_tokens) / all_ranks
            }),
            max_steps: config.train.max_steps,
            device: world.device,
            communication: RefCell::new(CommunicationShare::new(world.hosts)),
            start: Cell::default(),
            has_share: !config.batch_plan().share(world.collectives.rank(), world.collectives.world_size()).is_empty(),
        })
    }

    /// Records a completed step that took `elapsed`.
    pub fn step(&self, report: &StepReport, elapsed: Duration) {
        if self.has_share {
            self.control.report_busy(report.phases.busy());
        }
        let Some(writers) = &self.writers else { return };
        let tokens_per_second = self.tokens_per_step as f64 / elapsed.as_secs_f64();
        let phases = &report.phases;
        let record = StepRecord {
            step: report.step,
            tokens: self.tokens_after(report.step),
            loss: report.loss,
            learning_rate: report.learning_rate,
            grad_norm: report.grad_norm,
            step_ms: milliseconds(elapsed),
            tokens_per_second,
            mfu: self.mfu_per_token_rate.map(|per_rate| per_rate * tokens_per_second),
            data_wait_ms: milliseconds(phases.data_wait),
            forward_ms: milliseconds(phases.forward),
            backward_ms: milliseconds(phases.backward),
            exposed_comm_ms: milliseconds(phases.exposed_comm),
            optimizer_ms: milliseconds(phases.optimizer),
            memory_bytes: peak_memory_bytes(self.device),
        };
        writers.metrics.append(&record);
        if report.is_skipped {
            let why = if report.grad_norm.is_finite() { "an outlier" } else { "not finite" };
            self.event("skipped", format!("step {}: gradient norm {why}, update skipped", report.step));
        }
        let warning = self.communication.borrow_mut().add(elapsed, phases.exposed_comm);
        if let Some(warning) = warning.filter(|_| self.has_share) {
            self.trouble(warning);
        }
        if !self.control.is_connected() {
            self.log_step(&record);
        }
        self.control.send(&FromRank::Progress(record));
    }

    /// Sets the start of this attempt: after `step` steps, which have consumed `tokens` tokens.
    pub fn begin_at(&self, step: u64, tokens: u64) {
        self.start.set((step, tokens));
    }

    /// Returns the tokens consumed in `step` steps. The global batch may have differed before this attempt.
    fn tokens_after(&self, step: u64) -> u64 {
        let (first, tokens) = self.start.get();
        tokens + step.saturating_sub(first) * self.tokens_per_step
    }

    /// Records a validation loss.
    pub fn validation(&self, record: ValidationRecord) {
        let Some(writers) = &self.writers else { return };
        writers.metrics.append(&record);
        if !self.control.is_connected() {
            tracing::info!("step {}: validation loss {:.4}", record.step, record.validation_loss);
        }
        self.control.send(&FromRank::Validation(record));
    }

    /// Records and shows the results of evaluation tasks.
    pub fn tasks(&self, record: TasksRecord) {
        let Some(writers) = &self.writers else { return };
        let text = format!("step {}: {record}", record.step);
        writers.metrics.append(&record);
        writers.append_event("tasks", &text, None);
        if !self.control.is_connected() {
            tracing::info!("{text}");
        }
        self.control.send(&FromRank::Tasks(record));
    }

    /// Records the cost of a checkpoint of `step`, which was begun at `begun` and stopped training for `stall`.
    pub fn save(&self, step: u64, begun: Instant, stall: Duration) {
        let Some(writers) = &self.writers else { return };
        let (save_stall_ms, save_seconds) = (milliseconds(stall), begun.elapsed().as_secs_f64());
        writers.metrics.append(&SaveRecord { step, save_stall_ms, save_seconds });
    }

    /// Records and shows how fast ranks exchange.
    pub fn bandwidth(&self, bandwidth: Bandwidth) {
        self.record("bandwidth", bandwidth.to_string(), Some(bandwidth));
    }

    /// Records and shows a finding about the run before its first step.
    pub fn finding(&self, finding: &Finding) {
        let Some(writers) = &self.writers else { return };
        let text = finding.line();
        writers.append_event("finding", &text, None);
        if !self.control.is_connected() {
            match finding.verdict {
                Verdict::Ok => tracing::info!("{text}"),
                Verdict::Warning | Verdict::Failed => tracing::warn!("{text}"),
            }
        }
        self.control.send(&FromRank::Finding { verdict: finding.verdict, text });
    }

    /// Records and shows an event of note.
    pub fn notice(&self, text: String) {
        self.event("notice", text);
    }

    /// Records and shows a problem that does not end the run.
    pub fn trouble(&self, text: String) {
        let Some(writers) = &self.writers else { return };
        writers.append_event("trouble", &text, None);
        if !self.control.is_connected() {
            tracing::warn!("{text}");
        }
        self.control.send(&FromRank::Trouble { text });
    }

    /// Asks for all metrics so far to be made durable; `None` if this rank has none.
    pub fn flush_metrics(&self) -> Option<Receiver<Result<(), StorageError>>> {
        self.writers.as_ref().map(|writers| writers.metrics.flush())
    }

    fn event(&self, kind: &'static str, text: String) {
        self.record(kind, text, None);
    }

    fn record(&self, kind: &'static str, text: String, bandwidth: Option<Bandwidth>) {
        let Some(writers) = &self.writers else { return };
        writers.append_event(kind, &text, bandwidth);
        if !self.control.is_connected() {
            tracing::info!("{text}");
        }
        self.control.send(&FromRank::Notice { text });
    }

    /// Logs steps if there is no launcher: each of the first ten, then every tenth, and from step 100 every
    /// hundredth.
    fn log_step(&self, record: &StepRecord) {
        let every = if record.step < 10 {
            1
        } else if record.step < 100 {
            10
        } else {
            100
        };
        if record.step.is_multiple_of(every) || record.step == self.max_steps {
            tracing::info!(
                "step {}/{}  loss {:.4}  lr {:.2e}  grad norm {:.3}  {:.0} tokens/s",
                record.step,
                self.max_steps,
                record.loss,
                record.learning_rate,
                record.grad_norm,
                record.tokens_per_second
            );
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
