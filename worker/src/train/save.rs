//! Checkpoints in the background, and resuming from them.
//!
//! A save stops the step only to copy this rank's share to the host. A thread writes it; after every step the ranks
//! agree on whether one is still busy, and when none is, all move on together: from writing to committing (rank 0 alone,
//! again on a thread), and from there to done. A failure on one rank fails the save on all; the run goes on until
//! `checkpoint.max_failures` saves in a row have failed. Before a commit rank 0 looks whether a newer attempt has taken the
//! run over; then this one ends.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::attempt;
use common::checkpoint_layout::CheckpointName;
use common::config::change::{Difference, Rule, differences, order_since};
use common::config::{ConfigChange, RawConfig, WhenBusy};
use common::storage::Folder;
use common::worker_contract::ExitCode;
use serde::{Deserialize, Serialize};

use super::is_due;
use super::observe::Observer;
use super::restore::{Restored, restore_newest};
use super::snapshot::Snapshots;
use super::state::TrainState;
use crate::checkpoint::{self, CheckpointError, ManifestHeader, RankObjects};
use crate::data::{DataSet, TrainingData, order};
use crate::error::JobError;
use crate::world::World;

/// Saves and restores the checkpoints of one attempt.
pub struct Saver<'a> {
    world: &'a World,
    run: Folder,
    data: DataIdentity,
    stage: Stage,
    snapshots: Snapshots,
    /// When the save under way was begun, and how long training stood still for it.
    begun: (Instant, Duration),
    /// Step of the newest checkpoint that this attempt has committed or resumed from.
    saved_step: Option<u64>,
    /// Saves that have failed since the last that did not.
    failures: u32,
    /// Somebody asked for a save while one was under way.
    is_owed: bool,
    clock: Clock,
    /// What was changed in the config in the middle of the run.
    changes: Vec<ConfigChange>,
}

/// When the next save is due by time. Only rank 0's counts.
struct Clock {
    last_begun: Instant,
    has_begun: bool,
}

/// What the order of training sequences depends on, beside the config.
struct DataIdentity {
    tokenizer_hash: String,
    sequences: u64,
}

/// How far the save under way is; the same on every rank.
enum Stage {
    Idle,
    Writing { header: ManifestHeader, writer: JoinHandle<Result<RankObjects, CheckpointError>> },
    Committing { name: CheckpointName, committer: Option<JoinHandle<Result<(), CheckpointError>>> },
}

/// What a rank tells the others about its part of a save.
#[derive(Serialize, Deserialize)]
enum Part {
    Written(RankObjects),
    Failed(Failure),
}

/// Why a save failed, as ranks tell each other.
#[derive(Serialize, Deserialize)]
struct Failure {
    code: ExitCode,
    message: String,
    /// Another save would fail as well.
    ends_run: bool,
}

impl From<&CheckpointError> for Failure {
    fn from(error: &CheckpointError) -> Self {
        Failure { code: error.exit_code(), message: error.to_string(), ends_run: error.is_fenced() }
    }
}

impl Failure {
    /// A rank has said something that cannot be read.
    fn unreadable(error: &serde_json::Error) -> Self {
        Failure { code: ExitCode::Bug, message: error.to_string(), ends_run: false }
    }
}

impl<'a> Saver<'a> {
    /// A saver for the run folder of `world`'s config.
    pub fn open(world: &'a World, data: &TrainingData) -> Result<Self, JobError> {
        let run = Folder::open(&world.config.run.output, &world.config.storage)?;
        // All data sets have the tokenizer of the config.
        let tokenizer_hash = data.sets()[0].tokenizer_hash().to_owned();
        let data = DataIdentity { tokenizer_hash, sequences: data.sets().iter().map(DataSet::sequences).sum() };
        let (snapshots, begun) = (Snapshots::default(), (Instant::now(), Duration::ZERO));
        let clock = Clock { last_begun: Instant::now(), has_begun: false };
        Ok(Saver {
            world,
            run,
            data,
            stage: Stage::Idle,
            snapshots,
            begun,
            saved_step: None,
            failures: 0,
            is_owed: false,
            clock,
            changes: Vec::new(),
        })
    }

    /// Puts the newest checkpoint that every rank can read into `state`; leaves it alone where there is none.
    pub fn resume(&mut self, state: &mut TrainState, observer: &Observer) -> Result<(), JobError> {
        let (on_corrupt, ranks) = (self.world.config.checkpoint.on_corrupt, self.world.collectives.as_ref());
        let restored = restore_newest(state, &self.run, on_corrupt, ranks)?;
        if let Some(restored) = &restored {
            restored.skipped.iter().for_each(|reason| observer.trouble(format!("skipped a checkpoint: {reason}")));
            self.changes = self.accept_changes(restored)?;
        }
        // From here on nothing counts that an older attempt may still commit above this.
        if ranks.rank().is_zero() {
            attempt::record_start(&self.run, self.world.attempt, restored.as_ref().map(|restored| &restored.name))?;
        }
        let Some(Restored { name, manifest, .. }) = restored else { return Ok(()) };
        let new_changes = self.changes.iter().filter(|change| change.attempt == self.world.attempt);
        new_changes.for_each(|change| {
            observer.notice(format!("accepted: {} was {} and is now {}", change.key, change.from, change.to));
        });
        state.norms.restore(&manifest.grad_norms);
        state.skipped_in_a_row = manifest.skipped_in_a_row;
        state.step = name.step;
        state.consumed = manifest.sequences_consumed;
        self.saved_step = Some(name.step);
        observer.begin_at(state.step, state.tokens());
        observer.notice(format!("resumed from {name}, saved by {} ranks", manifest.world_size));
        Ok(())
    }

    /// How many sequences had been consumed where the present order of the data began.
    pub fn order_since(&self) -> u64 {
        order_since(&self.changes)
    }

    /// Whether this rank has work to do for the save under way.
    pub fn is_busy(&self) -> bool {
        match &self.stage {
            Stage::Idle => false,
            Stage::Writing { writer, .. } => !writer.is_finished(),
            Stage::Committing { committer, .. } => committer.as_ref().is_some_and(|thread| !thread.is_finished()),
        }
    }

    /// Whether rank 0's clock asks for a save.
    pub fn is_time(&self) -> bool {
        let config = &self.world.config.checkpoint;
        let first_after = config.first_after().filter(|_| !self.clock.has_begun);
        let elapsed = self.clock.last_begun.elapsed();
        let is_over = |limit: Option<Duration>| limit.is_some_and(|limit| elapsed >= limit);
        let is_idle = matches!(self.stage, Stage::Idle);
        self.world.collectives.rank().is_zero() && is_idle && (is_over(config.interval()) || is_over(first_after))
    }

    /// Whether to save after `step`, where all ranks agree on whether they are `asked` to.
    pub fn is_due(&self, step: u64, asked: bool) -> bool {
        let is_owed = self.is_owed && matches!(self.stage, Stage::Idle);
        is_due(self.world.config.checkpoint.every_steps, step) || asked || is_owed
    }

    /// Begins a save of `state`. One that is still under way is waited for, or this one is left out, or for later where it
    /// is `asked` for. All ranks must call this at the same step.
    pub fn begin(&mut self, state: &mut TrainState, asked: bool, observer: &Observer) -> Result<(), JobError> {
        if !matches!(self.stage, Stage::Idle) {
            let step = state.step;
            match self.world.config.checkpoint.when_busy {
                WhenBusy::Skip if asked => {
                    observer.notice(format!("step {step}: a save is asked for, and follows the one under way"));
                    self.is_owed = true;
                    return Ok(());
                }
                WhenBusy::Skip => {
                    observer.trouble(format!("step {step}: no save, since the one before is still under way"));
                    return Ok(());
                }
                WhenBusy::Wait => {
                    observer.trouble(format!("step {step}: waiting for the save before, which is still under way"));
                    self.wait(observer)?;
                }
            }
        }
        self.is_owed = false;
        self.clock = Clock { last_begun: Instant::now(), has_begun: true };
        let start = Instant::now();
        let ranks = self.world.collectives.as_ref();
        let name = checkpoint::new_name(state.step, self.world.attempt);
        let name = ranks.broadcast_bytes(&serde_json::to_vec(&name).unwrap_or_default())?;
        let name: CheckpointName = serde_json::from_slice(&name)
            .map_err(|error| JobError::Usage(format!("rank 0 sent no name for a checkpoint: {error}")))?;
        let header = ManifestHeader {
            name,
            sequences_consumed: state.consumed,
            updates: state.optimizer.updates(),
            grad_norms: state.norms.to_host(),
            skipped_in_a_row: state.skipped_in_a_row,
            changes: self.changes.clone(),
            world_size: ranks.world_size(),
            tokenizer_hash: self.data.tokenizer_hash.clone(),
            data_sequences: self.data.sequences,
            data_order: order::VERSION,
            config: self.world.config.to_toml(),
            model: self.world.config.model.clone(),
        };
        let snapshot = self.snapshots.take(state, ranks)?;
        let folder = checkpoint::folder_of(&self.run, &header.name);
        let bytes_per_s = self.world.config.checkpoint.max_upload_bytes_per_s;
        let writer = std::thread::spawn(move || checkpoint::write_rank(&folder, snapshot, bytes_per_s));
        self.stage = Stage::Writing { header, writer };
        self.begun = (start, start.elapsed());
        Ok(())
    }

    /// Moves the save under way on, if `is_busy` says that no rank is busy with it. All ranks must call this together.
    pub fn follow(&mut self, is_busy: bool, observer: &Observer) -> Result<(), JobError> {
        if is_busy {
            return Ok(());
        }
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => Ok(()),
            Stage::Writing { header, writer } => self.all_have_written(header, joined(writer), observer),
            Stage::Committing { name, committer } => self.rank_0_has_committed(name, committer, observer),
        }
    }

    /// Saves `state` unless it is saved already, and waits until that is committed.
    pub fn finish(&mut self, state: &mut TrainState, observer: &Observer) -> Result<(), JobError> {
        self.wait(observer)?;
        if self.saved_step == Some(state.step) {
            return Ok(());
        }
        // The last save has to succeed: failing it is failing the run.
        self.failures = self.world.config.checkpoint.max_failures - 1;
        self.begin(state, false, observer)?;
        self.wait(observer)
    }

    fn wait(&mut self, observer: &Observer) -> Result<(), JobError> {
        while !matches!(self.stage, Stage::Idle) {
            std::thread::sleep(Duration::from_millis(2));
            let is_busy = self.world.collectives.agree_any(u32::from(self.is_busy()))? != 0;
            self.follow(is_busy, observer)?;
        }
        Ok(())
    }

    fn all_have_written(
        &mut self,
        header: ManifestHeader,
        mine: Result<RankObjects, CheckpointError>,
        observer: &Observer,
    ) -> Result<(), JobError> {
        let part = match mine {
            Ok(objects) => Part::Written(objects),
            Err(error) => Part::Failed(Failure::from(&error)),
        };
        let parts = self.world.collectives.gather_bytes(&serde_json::to_vec(&part).unwrap_or_default())?;
        let mut gathered = Vec::with_capacity(parts.len());
        for (rank, part) in parts.iter().enumerate() {
            match serde_json::from_slice(part) {
                Ok(Part::Written(objects)) => gathered.push(objects),
                Ok(Part::Failed(failure)) => return self.failed(&header.name, rank, failure, observer),
                Err(error) => return self.failed(&header.name, rank, Failure::unreadable(&error), observer),
            }
        }
        let name = header.name.clone();
        let is_zero = self.world.collectives.rank().is_zero();
        let committer = is_zero.then(|| self.start_commit(header, gathered, observer));
        self.stage = Stage::Committing { name, committer };
        Ok(())
    }

    /// On rank 0: metrics up to here first, so that a committed step never lacks them; then the fence, and the manifest;
    /// then what retention lets go.
    fn start_commit(
        &self,
        header: ManifestHeader,
        gathered: Vec<RankObjects>,
        observer: &Observer,
    ) -> JoinHandle<Result<(), CheckpointError>> {
        let (run, retention, attempt) =
            (self.run.clone(), self.world.config.checkpoint.retention(), self.world.attempt);
        let metrics = observer.flush_metrics();
        std::thread::spawn(move || {
            if let Some(Ok(flushed)) = metrics.map(|receiver| receiver.recv()) {
                flushed?;
            }
            attempt::check_fence(&run, attempt)?;
            checkpoint::commit(&checkpoint::folder_of(&run, &header.name), header, gathered)?;
            // What is committed stays committed when tidying up fails; the next save tries again.
            if let Err(error) = checkpoint::prune(&run, &retention, Some(attempt), attempt::unix_s()) {
                tracing::warn!("old checkpoints stay for now: {error}");
            }
            Ok(())
        })
    }

    fn rank_0_has_committed(
        &mut self,
        name: CheckpointName,
        committer: Option<JoinHandle<Result<(), CheckpointError>>>,
        observer: &Observer,
    ) -> Result<(), JobError> {
        let failure = committer.map(joined).and_then(|result| result.as_ref().err().map(Failure::from));
        let told = serde_json::to_vec(&failure).unwrap_or_default();
        let told = self.world.collectives.broadcast_bytes(&told)?;
        match serde_json::from_slice::<Option<Failure>>(&told) {
            Ok(None) => {
                self.saved_step = Some(name.step);
                self.failures = 0;
                let (begun, stall) = self.begun;
                observer.save(name.step, begun, stall);
                observer.notice(format!("committed {}", checkpoint::folder_of(&self.run, &name).url()));
                Ok(())
            }
            Ok(Some(failure)) => self.failed(&name, 0, failure, observer),
            Err(error) => self.failed(&name, 0, Failure::unreadable(&error), observer),
        }
    }

    /// A save has failed because of `rank`, on all ranks alike.
    fn failed(
        &mut self,
        name: &CheckpointName,
        rank: usize,
        failure: Failure,
        observer: &Observer,
    ) -> Result<(), JobError> {
        self.failures += 1;
        let Failure { code, message, ends_run } = failure;
        let text = format!("the save of {name} failed: rank {rank}: {message}");
        if ends_run || self.failures >= self.world.config.checkpoint.max_failures {
            return Err(JobError::Save { code, message: text });
        }
        observer.trouble(format!("{text}; the run goes on, and the next save tries again"));
        Ok(())
    }

    /// Refuses to resume where the state, or the place in the data, would mean something else, and where the run would become
    /// another experiment without consent. All changes of the run so far, those accepted now among them.
    fn accept_changes(&self, restored: &Restored) -> Result<Vec<ConfigChange>, JobError> {
        let (name, manifest) = (&restored.name, &restored.manifest);
        let saved = RawConfig::parse(&name.to_string(), &manifest.config, &[])?.run()?;
        let mut found = differences(&saved, &self.world.config);
        let identity = [
            ("data.train's tokenizer hash", manifest.tokenizer_hash.clone(), self.data.tokenizer_hash.clone()),
            ("Convoy's order of the data", manifest.data_order.to_string(), order::VERSION.to_string()),
            ("data.train's sequences", manifest.data_sequences.to_string(), self.data.sequences.to_string()),
        ];
        let of_data = identity.into_iter().filter(|(_, from, to)| from != to);
        found.extend(of_data.map(|(key, from, to)| Difference { key: key.into(), from, to, rule: Rule::Refused }));
        let is_accepted = |d: &Difference| d.rule == Rule::Consent && self.world.accepted_changes.contains(&d.key);
        let (accepted, unaccepted): (Vec<_>, Vec<_>) = found.into_iter().partition(is_accepted);
        if !unaccepted.is_empty() {
            let lines: Vec<_> = unaccepted.iter().map(in_words).collect();
            let message = format!("{name} cannot be resumed with this config:\n  {}", lines.join("\n  "));
            return Err(JobError::Usage(message));
        }
        let (step, sequences_consumed, attempt) = (name.step, manifest.sequences_consumed, self.world.attempt);
        let change =
            |Difference { key, from, to, .. }| ConfigChange { key, from, to, step, sequences_consumed, attempt };
        Ok(manifest.changes.iter().cloned().chain(accepted.into_iter().map(change)).collect())
    }
}

/// What differs, and what to do about it.
fn in_words(difference: &Difference) -> String {
    let Difference { key, from, to, rule } = difference;
    let advice = match rule {
        Rule::Consent => format!("give --accept-change {key} if that is meant, or {key} = {from}"),
        _ => "this cannot change in the middle of a run; give what it began with, or another run.output".to_owned(),
    };
    format!("{key} was {from} and is now {to}: {advice}")
}

/// The result of a thread; a panic in it has ended the process already.
fn joined<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
