//! Checkpoints in the background.
//!
//! A save stops the step only to copy this rank's share to the host. A thread writes it. After every step the ranks
//! agree on whether one is still busy. When none is, all move on together: from writing to committing (rank 0 alone,
//! again on a thread), and from there to done. A failure on one rank fails the save on all; the run goes on until
//! `checkpoint.max_failures` saves in a row have failed. In the step after a save the ranks compare their state, and
//! nothing is committed before that ([`crate::step::verify`]). Before a commit and each deletion rank 0 checks
//! whether this attempt still holds the run. If a newer one has taken it over, or the run folder was deleted, this
//! attempt ends.
//!
//! A save on the hosts (`checkpoint.local_dir`) goes through the same stages, except that every rank commits its own
//! part, and that a failure ends nothing. There is one save at a time, since there is memory for one snapshot; a save
//! of the run waits for one on the hosts, which takes seconds.

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::attempt;
use common::checkpoint_layout::CheckpointName;
use common::config::change::DataIdentity;
use common::config::{ConfigChange, WhenBusy};
use common::storage::Folder;
use common::threads::{Background, in_background};

use super::changes::identity;
use super::clock::Clock;
use super::failure::{Failure, Part};
use super::snapshot::Snapshots;
use super::tokenizer_files;
use crate::checkpoint::{self, CheckpointError, HostFolder, ManifestHeader, RankObjects, Tier};
use crate::data::{TrainingData, order};
use crate::error::JobError;
use crate::observe::observer::Observer;
use crate::step::state::TrainState;
use crate::world::World;

/// Time that a save on the hosts waits for metrics to be durable.
const METRICS_TIMEOUT: Duration = Duration::from_secs(5);

/// Saves the checkpoints of one attempt, and resumes from the newest.
pub struct Saver<'a> {
    pub(super) world: &'a World,
    pub(super) run: Folder,
    /// Folder in which this rank saves on its host, if the config asks for that.
    pub(super) host: Option<HostFolder>,
    pub(super) data: DataIdentity,
    /// Files of the tokenizer, on rank 0, which puts them into each checkpoint of the run folder. Empty if they cannot be
    /// made.
    tokenizer_files: Vec<(&'static str, Bytes)>,
    stage: Stage,
    snapshots: Snapshots,
    /// Time at which the save under way was begun, and how long training stood still for it.
    begun: (Instant, Duration),
    /// Step of the newest checkpoint of the run folder that this attempt has committed or resumed from.
    pub(super) saved_step: Option<u64>,
    /// Number of saves that have failed since the last one that succeeded.
    failures: u32,
    /// Whether a save is owed: it was asked for while one was under way, or was due while updates were being skipped.
    is_owed: bool,
    /// Whether the last known updates were skipped: the newest checkpoint must then not replace older ones.
    is_skipping: bool,
    clock: Clock,
    /// Changes of the config in the middle of the run.
    pub(super) changes: Vec<ConfigChange>,
}

/// State of saving, identical on every rank.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Whether no save is under way.
    pub is_idle: bool,
    /// Whether a save is owed: it was asked for while one was under way, or was due while updates were being skipped.
    pub is_owed: bool,
    /// Whether ranks also save on their hosts.
    pub has_host: bool,
}

/// Stage of the save under way, identical on every rank.
enum Stage {
    Idle,
    Writing { tier: Tier, header: ManifestHeader, writer: Background<Result<RankObjects, CheckpointError>> },
    Committing { tier: Tier, name: CheckpointName, committer: Option<Committer> },
}

type Committer = Background<Result<(), CheckpointError>>;

impl<'a> Saver<'a> {
    /// Opens the run folder of `world`'s config for saving. If the tokenizer's files cannot be made, checkpoints do
    /// without them, and `observer` records why. All ranks must call this together.
    pub fn open(world: &'a World, data: &TrainingData, observer: &Observer) -> Result<Self, JobError> {
        let run = Folder::open(&world.config.run.output, &world.config.storage)?;
        let ranks = world.collectives.as_ref();
        let id: String = ranks.share("the run's id", || attempt::run_id(&run).map_err(JobError::from))?;
        let config = (&world.config.checkpoint, &world.config.storage);
        let host = HostFolder::open(config, &id, ranks.rank(), ranks.world_size())?;
        let data = identity(data);
        let files = match ranks.rank().is_zero() {
            true => tokenizer_files::make(&world.config, &data.tokenizer_hash),
            false => Ok(Vec::new()),
        };
        let tokenizer_files = files.unwrap_or_else(|reason| {
            observer.trouble(format!("checkpoints have no tokenizer files: {reason}"));
            Vec::new()
        });
        let now = Instant::now();
        Ok(Saver {
            world,
            run,
            host,
            data,
            tokenizer_files,
            stage: Stage::Idle,
            snapshots: Snapshots::default(),
            begun: (now, Duration::ZERO),
            saved_step: None,
            failures: 0,
            is_owed: false,
            is_skipping: false,
            clock: Clock::start(now),
            changes: Vec::new(),
        })
    }

    /// Returns whether this rank has work to do for the save under way.
    pub fn is_busy(&self) -> bool {
        match &self.stage {
            Stage::Idle => false,
            Stage::Writing { writer, .. } => !writer.is_finished(),
            Stage::Committing { committer, .. } => committer.as_ref().is_some_and(|thread| !thread.is_finished()),
        }
    }

    /// Returns whether rank 0's clock asks for a save of the run.
    pub fn is_time(&self) -> bool {
        self.world.collectives.rank().is_zero() && self.is_idle() && self.clock.is_time(&self.world.config.checkpoint)
    }

    /// Returns whether rank 0's clock asks for a save on the hosts.
    pub fn is_time_on_hosts(&self) -> bool {
        self.world.collectives.rank().is_zero() && self.clock.is_time_on_hosts(&self.world.config.checkpoint)
    }

    /// Returns the state of saving, by which [`due`](mod@crate::train::due) decides whether a save is due.
    pub fn standing(&self) -> Standing {
        Standing { is_idle: self.is_idle(), is_owed: self.is_owed, has_host: self.host.is_some() }
    }

    fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle)
    }

    /// Leaves out a save that is due while updates are being skipped. A save of the run follows as soon as an update
    /// is made again.
    pub fn put_off(&mut self, step: u64, tier: Tier, observer: &Observer) {
        if tier == Tier::Run && !std::mem::replace(&mut self.is_owed, true) {
            observer.notice(format!("step {step}: the save waits until updates are made again"));
        }
    }

    /// Begins a save of `state`. If another save is still under way, waits for it, or leaves this one out, or, if it
    /// is `asked` for, makes it later. All ranks must call this at the same step.
    pub fn begin(
        &mut self,
        state: &mut TrainState,
        tier: Tier,
        asked: bool,
        observer: &Observer,
    ) -> Result<(), JobError> {
        if !self.may_begin(state.step, asked, observer)? {
            return Ok(());
        }
        let start = Instant::now();
        self.clock.begin(tier, start);
        if tier == Tier::Run {
            self.is_owed = false;
        }
        state.verify_in_next_step();
        let header = self.header(state)?;
        let files = if tier == Tier::Run { self.tokenizer_files.clone() } else { Vec::new() };
        let snapshot = self.snapshots.take(state, self.world.collectives.as_ref())?.with_files(files);
        let host = self.host_of(tier);
        let folder = self.folder_of(tier, &header.name);
        let bytes_per_s = if tier == Tier::Run { self.world.config.checkpoint.max_upload_bytes_per_s } else { 0 };
        let attempt = header.name.attempt;
        let writer = in_background(move || {
            // Leftovers of a failed save may take the room that this one needs.
            host.as_ref().map_or(Ok(()), |host| host.prune(attempt))?;
            checkpoint::write_rank(&folder, snapshot, bytes_per_s)
        });
        self.stage = Stage::Writing { tier, header, writer };
        self.begun = (start, start.elapsed());
        Ok(())
    }

    /// Returns whether a save can begin now. Waits until it can, or reports why it does not.
    fn may_begin(&mut self, step: u64, asked: bool, observer: &Observer) -> Result<bool, JobError> {
        let tier = match &self.stage {
            Stage::Idle => return Ok(true),
            Stage::Writing { tier, .. } | Stage::Committing { tier, .. } => *tier,
        };
        match self.world.config.checkpoint.when_busy {
            _ if tier == Tier::Hosts => self.wait(observer)?,
            WhenBusy::Skip if asked => {
                observer.notice(format!("step {step}: a save is asked for, and follows the one under way"));
                self.is_owed = true;
                return Ok(false);
            }
            WhenBusy::Skip => {
                observer.trouble(format!("step {step}: no save, since the one before is still under way"));
                return Ok(false);
            }
            WhenBusy::Wait => {
                observer.trouble(format!("step {step}: waiting for the save before, which is still under way"));
                self.wait(observer)?;
            }
        }
        Ok(true)
    }

    /// Makes the part of the manifest for a save of `state` that is not about its objects, identical on all ranks.
    fn header(&self, state: &TrainState) -> Result<ManifestHeader, JobError> {
        let ranks = self.world.collectives.as_ref();
        let new_name = || Ok::<_, JobError>(checkpoint::new_name(state.step, &self.world.claim));
        let name = ranks.share("a checkpoint's name", new_name)?;
        Ok(ManifestHeader {
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
            config: self.world.config.to_stored_toml(),
            model: self.world.config.model.clone(),
        })
    }

    fn host_of(&self, tier: Tier) -> Option<HostFolder> {
        self.host.clone().filter(|_| tier == Tier::Hosts)
    }

    /// Returns the folder that this rank writes checkpoint `name` to.
    fn folder_of(&self, tier: Tier, name: &CheckpointName) -> Folder {
        match self.host_of(tier) {
            Some(host) => host.folder_of(name),
            None => checkpoint::folder_of(&self.run, name),
        }
    }

    /// Moves the save under way on, if no rank is busy with it, as `is_busy` says, and if the results of the steps up
    /// to `read` say that all ranks held identical state when it was begun. `is_skipping` says whether the last
    /// update was skipped. All ranks must call this together.
    pub fn follow(&mut self, is_busy: bool, read: u64, is_skipping: bool, observer: &Observer) -> Result<(), JobError> {
        self.is_skipping = is_skipping;
        let is_unverified = matches!(&self.stage, Stage::Writing { header, .. } if header.name.step >= read);
        if is_busy || is_unverified {
            return Ok(());
        }
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => Ok(()),
            Stage::Writing { tier, header, writer } => self.all_have_written(tier, header, writer.join(), observer),
            Stage::Committing { tier, name, committer } => self.all_have_committed(tier, &name, committer, observer),
        }
    }

    /// Saves `state` unless it is saved already, and waits until the save is committed.
    pub fn finish(&mut self, state: &mut TrainState, observer: &Observer) -> Result<(), JobError> {
        state.verify_at_end(self.world.collectives.as_ref())?;
        self.wait(observer)?;
        if self.saved_step == Some(state.step) {
            return Ok(());
        }
        // The last save has to succeed: if it fails, the run fails.
        self.failures = self.world.config.checkpoint.max_failures - 1;
        self.begin(state, Tier::Run, false, observer)?;
        self.wait(observer)
    }

    /// Waits until the save under way has ended. It has been verified by a later step, whose results have been read,
    /// or at the end.
    fn wait(&mut self, observer: &Observer) -> Result<(), JobError> {
        while !self.is_idle() {
            std::thread::sleep(Duration::from_millis(2));
            let is_busy = self.world.collectives.agree_any(u32::from(self.is_busy()))? != 0;
            self.follow(is_busy, u64::MAX, self.is_skipping, observer)?;
        }
        Ok(())
    }

    fn all_have_written(
        &mut self,
        tier: Tier,
        header: ManifestHeader,
        mine: Result<RankObjects, CheckpointError>,
        observer: &Observer,
    ) -> Result<(), JobError> {
        let part = match mine {
            Ok(objects) => Part::Written(objects),
            Err(error) => Part::Failed(Failure::from(&error)),
        };
        let parts = self.world.collectives.gather("its part of a save", &part)?;
        let mut gathered = Vec::with_capacity(parts.len());
        for (rank, part) in parts.into_iter().enumerate() {
            match part {
                Part::Written(objects) => gathered.push(objects),
                Part::Failed(failure) => {
                    self.discard(tier, &header.name);
                    return self.failed(tier, &header.name, rank, failure, observer);
                }
            }
        }
        let name = header.name.clone();
        let is_zero = self.world.collectives.rank().is_zero();
        let committer = match self.host_of(tier) {
            Some(host) => Some(start_commit_on_host(host, header, gathered, observer)),
            None => is_zero.then(|| self.start_commit(header, gathered, observer)),
        };
        self.stage = Stage::Committing { tier, name, committer };
        Ok(())
    }

    /// Deletes in the background what ranks have written for a save that can no longer be committed: there may be no
    /// room for the next one beside it. Anything left is deleted after the next commit.
    fn discard(&self, tier: Tier, name: &CheckpointName) {
        if tier == Tier::Run && self.world.collectives.rank().is_zero() {
            let folder = checkpoint::folder_of(&self.run, name);
            drop(in_background(move || {
                if let Err(error) = folder.delete_all() {
                    tracing::warn!("what a failed save has left stays for now: {error}");
                }
            }));
        }
    }

    /// On rank 0: makes the metrics up to here durable, so that a committed step never lacks them, checks the fence,
    /// puts the manifest, and prunes.
    fn start_commit(&self, header: ManifestHeader, gathered: Vec<RankObjects>, observer: &Observer) -> Committer {
        let (run, retention, claim) =
            (self.run.clone(), self.world.config.checkpoint.retention(), self.world.claim.clone());
        let (metrics, is_skipping) = (observer.flush_metrics(), self.is_skipping);
        in_background(move || {
            if let Some(Ok(flushed)) = metrics.map(|receiver| receiver.recv()) {
                flushed?;
            }
            checkpoint::commit_as_holder(&run, &claim, header, gathered)?;
            if is_skipping {
                // This checkpoint may contain the cause of the skipped updates. The next commit after an update
                // prunes.
                return Ok(());
            }
            match checkpoint::prune(&run, &retention, Some(&claim), common::clock::unix_s()) {
                Err(error) if error.is_another_attempts() => return Err(error.into()),
                // A commit stays valid if pruning fails; the next save tries again.
                Err(error) => tracing::warn!("old checkpoints stay for now: {error}"),
                Ok(_) => {}
            }
            Ok(())
        })
    }

    fn all_have_committed(
        &mut self,
        tier: Tier,
        name: &CheckpointName,
        committer: Option<Committer>,
        observer: &Observer,
    ) -> Result<(), JobError> {
        let mine = committer.map(Background::join).and_then(|result| result.as_ref().err().map(Failure::from));
        let all = self.world.collectives.gather("its result of a commit", &mine)?;
        if let Some((rank, failure)) = all.into_iter().enumerate().find_map(|(rank, mine)| Some((rank, mine?))) {
            return self.failed(tier, name, rank, failure, observer);
        }
        if tier == Tier::Run {
            self.saved_step = Some(name.step);
            self.failures = 0;
        }
        let (begun, stall) = self.begun;
        observer.save(name.step, begun, stall);
        observer.notice(format!("committed {}", self.folder_of(tier, name).url()));
        Ok(())
    }

    /// Handles a save that has failed because of `rank`, on all ranks alike.
    fn failed(
        &mut self,
        tier: Tier,
        name: &CheckpointName,
        rank: usize,
        failure: Failure,
        observer: &Observer,
    ) -> Result<(), JobError> {
        let Failure { code, message, ends_run } = failure;
        if tier == Tier::Hosts {
            observer.trouble(format!("the save of {name} in checkpoint.local_dir failed: rank {rank}: {message}"));
            return Ok(());
        }
        self.failures += 1;
        let text = format!("the save of {name} failed: rank {rank}: {message}");
        if ends_run || self.failures >= self.world.config.checkpoint.max_failures {
            return Err(JobError::Save { code, message: text });
        }
        observer.trouble(format!("{text}; the run goes on, and the next save tries again"));
        Ok(())
    }
}

/// On every rank: commits this rank's part of a checkpoint on the hosts, with an identical manifest everywhere.
fn start_commit_on_host(
    host: HostFolder,
    header: ManifestHeader,
    gathered: Vec<RankObjects>,
    observer: &Observer,
) -> Committer {
    let metrics = observer.flush_metrics();
    in_background(move || {
        // A step that a run resumes from should have its metrics, but a save on a host must not depend on the run
        // folder's store.
        if !metrics.is_none_or(|receiver| matches!(receiver.recv_timeout(METRICS_TIMEOUT), Ok(Ok(())))) {
            tracing::warn!("the metrics before {} in checkpoint.local_dir are not durable yet", header.name);
        }
        let attempt = header.name.attempt;
        checkpoint::commit(&host.folder_of(&header.name), header, gathered)?;
        host.prune(attempt)
    })
}
