//! Checkpoints in the background, and resuming from them.
//!
//! A save stops the step only to copy this rank's share to the host. A thread writes it; after every step the ranks
//! agree on whether one is still busy, and when none is, all move on together: from writing to committing (rank 0 alone,
//! again on a thread), and from there to done. A failure on one rank fails the save on all; the run goes on until
//! [`FAILURES_MAX`] saves in a row have failed.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::checkpoint_layout::CheckpointName;
use common::config::{RawConfig, RunConfig};
use common::storage::Folder;
use common::worker_contract::ExitCode;
use serde::{Deserialize, Serialize};

use super::observe::Observer;
use super::restore::{Restored, restore_newest};
use super::snapshot::Snapshots;
use super::state::TrainState;
use crate::checkpoint::{self, CheckpointError, ManifestHeader, RankObjects};
use crate::data::{DataSet, TrainingData};
use crate::error::JobError;
use crate::world::World;

/// So many failed saves in a row end the run.
const FAILURES_MAX: u32 = 3;

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
    failures: u32,
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
    Failed { code: ExitCode, message: String },
}

impl<'a> Saver<'a> {
    /// A saver for the run folder of `world`'s config.
    pub fn open(world: &'a World, data: &TrainingData) -> Result<Self, JobError> {
        let run = Folder::open(&world.config.run.output, &world.config.storage)?;
        // All data sets have the tokenizer of the config.
        let tokenizer_hash = data.sets()[0].tokenizer_hash().to_owned();
        let data = DataIdentity { tokenizer_hash, sequences: data.sets().iter().map(DataSet::sequences).sum() };
        let (snapshots, begun) = (Snapshots::default(), (Instant::now(), Duration::ZERO));
        Ok(Saver { world, run, data, stage: Stage::Idle, snapshots, begun, saved_step: None, failures: 0 })
    }

    /// Puts the newest checkpoint that every rank can read into `state`; leaves it alone where there is none.
    pub fn resume(&mut self, state: &mut TrainState, observer: &Observer) -> Result<(), JobError> {
        let (on_corrupt, ranks) = (self.world.config.checkpoint.on_corrupt, self.world.collectives.as_ref());
        let Some(restored) = restore_newest(state, &self.run, on_corrupt, ranks)? else { return Ok(()) };
        restored.skipped.iter().for_each(|reason| observer.trouble(format!("skipped a checkpoint: {reason}")));
        self.check_is_same_run(&restored)?;
        let Restored { name, manifest, .. } = restored;
        state.norms.restore(&manifest.grad_norms);
        state.step = name.step;
        state.consumed = manifest.sequences_consumed;
        state.optimizer.set_updates(manifest.updates);
        self.saved_step = Some(name.step);
        observer.notice(format!("resumed from {name}, saved by {} ranks", manifest.world_size));
        Ok(())
    }

    /// Whether this rank has work to do for the save under way.
    pub fn is_busy(&self) -> bool {
        match &self.stage {
            Stage::Idle => false,
            Stage::Writing { writer, .. } => !writer.is_finished(),
            Stage::Committing { committer, .. } => committer.as_ref().is_some_and(|thread| !thread.is_finished()),
        }
    }

    /// Begins a save of `state`, unless one is still under way, in which case this one is skipped. All ranks must call
    /// this at the same step.
    pub fn begin(&mut self, state: &mut TrainState, observer: &Observer) -> Result<(), JobError> {
        if !matches!(self.stage, Stage::Idle) {
            observer.trouble(format!("step {}: no save, since the one before is still under way", state.step));
            return Ok(());
        }
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
            world_size: ranks.world_size(),
            tokenizer_hash: self.data.tokenizer_hash.clone(),
            data_sequences: self.data.sequences,
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
        self.failures = FAILURES_MAX - 1;
        self.begin(state, observer)?;
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
            Err(error) => Part::Failed { code: error.exit_code(), message: error.to_string() },
        };
        let parts = self.world.collectives.gather_bytes(&serde_json::to_vec(&part).unwrap_or_default())?;
        let mut gathered = Vec::with_capacity(parts.len());
        for (rank, part) in parts.iter().enumerate() {
            match serde_json::from_slice(part) {
                Ok(Part::Written(objects)) => gathered.push(objects),
                Ok(Part::Failed { code, message }) => {
                    return self.failed(&header.name, code, &format!("rank {rank}: {message}"), observer);
                }
                Err(error) => {
                    return self.failed(&header.name, ExitCode::Bug, &format!("rank {rank}: {error}"), observer);
                }
            }
        }
        let name = header.name.clone();
        let is_zero = self.world.collectives.rank().is_zero();
        let committer = is_zero.then(|| self.start_commit(header, gathered, observer));
        self.stage = Stage::Committing { name, committer };
        Ok(())
    }

    /// On rank 0: metrics up to here first, so that a committed step never lacks them; then the manifest; then what
    /// retention lets go.
    fn start_commit(
        &self,
        header: ManifestHeader,
        gathered: Vec<RankObjects>,
        observer: &Observer,
    ) -> JoinHandle<Result<(), CheckpointError>> {
        let (run, keep_last) = (self.run.clone(), self.world.config.checkpoint.keep_last);
        let metrics = observer.flush_metrics();
        std::thread::spawn(move || {
            if let Some(Ok(flushed)) = metrics.map(|receiver| receiver.recv()) {
                flushed?;
            }
            checkpoint::commit(&checkpoint::folder_of(&run, &header.name), header, gathered)?;
            // What is committed stays committed when tidying up fails; the next save tries again.
            if let Err(error) = checkpoint::prune(&run, keep_last) {
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
        let failure = match committer.map(joined) {
            Some(Err(error)) => Some((error.exit_code(), error.to_string())),
            _ => None,
        };
        let told = serde_json::to_vec(&failure).unwrap_or_default();
        let told = self.world.collectives.broadcast_bytes(&told)?;
        match serde_json::from_slice::<Option<(ExitCode, String)>>(&told) {
            Ok(None) => {
                self.saved_step = Some(name.step);
                self.failures = 0;
                let (begun, stall) = self.begun;
                observer.save(name.step, begun, stall);
                observer.notice(format!("committed {}", checkpoint::folder_of(&self.run, &name).url()));
                Ok(())
            }
            Ok(Some((code, message))) => self.failed(&name, code, &format!("rank 0: {message}"), observer),
            Err(error) => self.failed(&name, ExitCode::Bug, &format!("rank 0: {error}"), observer),
        }
    }

    /// A save has failed, on all ranks alike.
    fn failed(
        &mut self,
        name: &CheckpointName,
        code: ExitCode,
        message: &str,
        observer: &Observer,
    ) -> Result<(), JobError> {
        self.failures += 1;
        let text = format!("the save of {name} failed: {message}");
        if self.failures >= FAILURES_MAX {
            return Err(JobError::Save { code, message: text });
        }
        observer.trouble(format!("{text}; the run goes on, and the next save tries again"));
        Ok(())
    }

    /// Refuses to resume where the place in the data would mean another one: what was trained on would be repeated, or
    /// left out, without a word.
    fn check_is_same_run(&self, restored: &Restored) -> Result<(), JobError> {
        let manifest = &restored.manifest;
        let saved = RawConfig::parse(&restored.name.to_string(), &manifest.config, &[])?.run()?;
        let now = &self.world.config;
        let differences = [
            ("run.seed", saved.run.seed.to_string(), now.run.seed.to_string()),
            (
                "batch.global_sequences",
                saved.batch.global_sequences.to_string(),
                now.batch.global_sequences.to_string(),
            ),
            ("the weights of data.train", weights(&saved), weights(now)),
            ("batch.sequence_tokens", saved.batch.sequence_tokens.to_string(), now.batch.sequence_tokens.to_string()),
            ("data.train's tokenizer hash", manifest.tokenizer_hash.clone(), self.data.tokenizer_hash.clone()),
            ("data.train's sequences", manifest.data_sequences.to_string(), self.data.sequences.to_string()),
        ];
        let differences: Vec<_> = differences
            .iter()
            .filter(|(_, saved, now)| saved != now)
            .map(|(what, saved, now)| format!("{what} was {saved} and is now {now}"))
            .collect();
        match differences.is_empty() {
            true => Ok(()),
            false => Err(JobError::Usage(format!(
                "{} cannot be resumed, since the order of the data would be another one: {}; give what the run began \
                 with, or another run.output",
                restored.name,
                differences.join("; ")
            ))),
        }
    }
}

/// The result of a thread; a panic in it has ended the process already.
fn joined<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The weights of the data sets, relative to the first.
fn weights(config: &RunConfig) -> String {
    let train = &config.data.train;
    let relative: Vec<String> = train.iter().map(|source| (source.weight / train[0].weight).to_string()).collect();
    relative.join(" : ")
}
