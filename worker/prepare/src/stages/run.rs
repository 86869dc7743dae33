//! Runs stages, one after another, over all ranks and their threads.
//!
//! What an earlier job has left is verified before it is used. A stage that was done is refused where it is damaged; of one that
//! was not, a damaged unit is done again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::config::StageName;
use common::storage::Folder;
use common::threads;
use common::worker_contract::PreparePhase;
use serde::{Deserialize, Serialize};

use super::deduplicate;
use super::done::DoneStage;
use super::given::Inputs;
use super::names::{STAGE_NAME, documents_name};
use super::object::verify;
use super::plan::PlannedStage;
use super::record::{StageRecord, UnitRecord, units_done};
use super::tally::Tally;
use super::units::Units;
use crate::PrepareError;
use crate::failure::Failure;
use crate::progress::{Audience, PhaseWork};
use crate::ranks::Ranks;
use crate::tokenize::{part, share_of_bytes};

/// Number of units' records that are in memory at once while they are added up. Each may have as many domains as are counted
/// ([`COUNTED_MAX`](super::tally::COUNTED_MAX)), which takes about 3 MB, or 11 MB with the longest names.
const RECORDS_AT_ONCE: usize = 8;

/// The stages of a job.
pub struct Stages<'j> {
    /// What the first stage reads, and by what rules all work.
    pub inputs: Inputs<'j>,
    /// Ranks that share the work.
    pub ranks: &'j Ranks,
    /// Threads of this rank.
    pub threads: usize,
    /// Folder `prepare.output`.
    pub output: &'j Folder,
}

/// Returns the phase of the job in which a stage is done.
fn phase_of(stage: StageName) -> PreparePhase {
    match stage {
        StageName::Extract => PreparePhase::Extracting,
        StageName::Clean => PreparePhase::Cleaning,
        StageName::Deduplicate => PreparePhase::Deduplicating,
        StageName::Overlap => PreparePhase::Overlapping,
    }
}

/// Message of rank 0 to the others before a stage.
#[derive(Serialize, Deserialize)]
enum State {
    Done(Box<StageRecord>),
    /// Units that are done.
    Left(BTreeSet<u32>),
}

impl Stages<'_> {
    /// Does the stages of `plan` that are not done yet. Returns all of them.
    pub fn run(&self, plan: &[PlannedStage], audience: &mut dyn Audience) -> Result<Vec<DoneStage>, PrepareError> {
        let mut done: Vec<DoneStage> = Vec::new();
        for planned in plan {
            let stage = self.stage(planned, done.last(), audience)?;
            if stage.record.tally.kept == 0 {
                return Err(nothing_kept(&stage.record));
            }
            done.push(stage);
        }
        if let Some(last) = done.last().filter(|last| !last.is_verified) {
            self.verify(last, audience)?;
        }
        Ok(done)
    }

    /// Checks that the documents of a stage that an earlier job has done are as it wrote them. Ranks share that.
    fn verify(&self, stage: &DoneStage, audience: &mut dyn Audience) -> Result<(), PrepareError> {
        let units = &stage.record.units;
        let share: Vec<usize> = part(units.len(), self.ranks.rank(), self.ranks.count()).collect();
        let (threads, total) = (self.threads, units.iter().map(|unit| unit.bytes).sum());
        let phase = PhaseWork { phase: phase_of(stage.plan.name), total, done_before: 0 };
        self.ranks.run(phase, audience, |progress| {
            let verify = |number: &usize| {
                verify(&stage.folder, &documents_name(*number as u32), &units[*number])?;
                progress.advance(units[*number].bytes);
                Ok(())
            };
            threads::map(&share, threads, verify).into_iter().collect()
        })
    }

    fn stage(
        &self,
        planned: &PlannedStage,
        before: Option<&DoneStage>,
        audience: &mut dyn Audience,
    ) -> Result<DoneStage, PrepareError> {
        let folder = planned.folder(self.output);
        let work = Units::open(self.inputs, planned, before)?;
        let count = work.bytes().len() as u32;
        let state = self.ranks.share("the state of a stage", || look(&folder, planned, count))?;
        let is_verified = matches!(state, State::Left(_));
        let record = match state {
            State::Done(record) => *record,
            State::Left(done) => {
                let whole = self.whole((&folder, planned.name), &work, done, audience)?;
                if let Units::Deduplicate(deduplication) = &work {
                    deduplication.compare(&folder, (self.ranks, self.threads), audience)?;
                }
                self.units((&folder, planned.name), &work, &whole, audience)?;
                self.ranks.share("a stage", || self.finish(&folder, planned, &work))?
            }
        };
        Ok(DoneStage { plan: planned.clone(), folder, record, is_verified })
    }

    /// Returns the units among `done` whose objects are as an earlier job wrote them. The others are to be done again, which
    /// loses nothing: what they had can be made from the inputs. Ranks share the reading.
    fn whole(
        &self,
        (folder, stage): (&Folder, StageName),
        work: &Units<'_>,
        done: BTreeSet<u32>,
        audience: &mut dyn Audience,
    ) -> Result<BTreeSet<u32>, PrepareError> {
        let bytes = work.bytes();
        if done.is_empty() {
            return Ok(done);
        }
        let all: Vec<u32> = done.iter().copied().collect();
        let share = &all[part(all.len(), self.ranks.rank(), self.ranks.count())];
        let (threads, total) = (self.threads, all.iter().map(|unit| bytes[*unit as usize]).sum());
        let mut is_damaged = vec![0_u64; bytes.len()];
        let found = &mut is_damaged;
        let phase = PhaseWork { phase: phase_of(stage), total, done_before: 0 };
        self.ranks.run(phase, audience, |progress| {
            let look = |unit: &u32| {
                let damage = work.damage(folder, *unit)?;
                progress.advance(bytes[*unit as usize]);
                Ok::<_, PrepareError>(damage)
            };
            for (unit, damage) in share.iter().zip(threads::map(share, threads, look)) {
                if let Some(damage) = damage? {
                    tracing::warn!("{damage}; unit {unit} of the stage {} is done again", stage.name());
                    found[*unit as usize] = 1;
                }
            }
            Ok::<_, PrepareError>(())
        })?;
        let is_damaged = self.ranks.sum(is_damaged);
        Ok(all.into_iter().filter(|unit| is_damaged[*unit as usize] == 0).collect())
    }

    /// Does this rank's share of the units that are left.
    fn units(
        &self,
        (folder, stage): (&Folder, StageName),
        work: &Units<'_>,
        done: &BTreeSet<u32>,
        audience: &mut dyn Audience,
    ) -> Result<(), PrepareError> {
        let bytes = work.bytes();
        let (rank, ranks) = (self.ranks.rank(), self.ranks.count());
        let share = share_of_bytes(&bytes, |unit| done.contains(&unit), rank, ranks);
        let total = bytes.iter().sum();
        let done_before = (0..).zip(&bytes).filter(|(unit, _)| done.contains(unit)).map(|(_, bytes)| bytes).sum();
        let phase = PhaseWork { phase: phase_of(stage), total, done_before };
        let threads = self.threads.clamp(1, share.len().max(1));
        self.ranks.run(phase, audience, |progress| {
            let (next, failure) = (AtomicUsize::new(0), Failure::default());
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        let next = || share.get(next.fetch_add(1, Ordering::Relaxed)).copied();
                        let result = work.do_all(folder, (progress, &failure), next);
                        result.unwrap_or_else(|error| failure.set(error));
                    });
                }
            });
            failure.into_result()
        })
    }

    /// Adds the units up on rank 0, a few at a time and in their order, and makes the stage done.
    fn finish(&self, folder: &Folder, planned: &PlannedStage, work: &Units<'_>) -> Result<StageRecord, PrepareError> {
        let count = work.bytes().len() as u32;
        let numbers: Vec<u32> = (0..count).collect();
        let get = |number: &u32| UnitRecord::get(folder, *number);
        let (mut units, mut tally) = (Vec::new(), Tally::default());
        for some in numbers.chunks(folder.concurrency().clamp(1, RECORDS_AT_ONCE)) {
            for record in threads::map(some, some.len(), get) {
                let record = record?;
                units.push(record.documents);
                tally.add(record.tally);
            }
        }
        tally.forget_rare_domains();
        let (stage, options) = (planned.name.name().to_owned(), self.inputs.options.of(planned.name));
        let is_deduplication = planned.name == StageName::Deduplicate;
        let clusters = is_deduplication.then(|| deduplicate::sums_of(folder)).transpose()?;
        let overlaps = match work {
            Units::Overlap(overlapping) => Some(overlapping.sums(folder, count)?),
            _ => None,
        };
        let record = StageRecord { stage, sha256: planned.sha256, options, units, tally, clusters, overlaps };
        folder.remove_unfinished(|_| true);
        record.put(folder)?;
        if is_deduplication {
            deduplicate::remove_work(folder)?;
        }
        Ok(record)
    }
}

/// Looks at what is done of a stage of `count` units.
fn look(folder: &Folder, planned: &PlannedStage, count: u32) -> Result<State, PrepareError> {
    if let Some(record) = StageRecord::get(folder, &planned.sha256)? {
        let units = record.units.len();
        if units != count as usize {
            let reason = format!("it has {units} units, expected {count}");
            return Err(super::damaged(folder, STAGE_NAME, reason));
        }
        if planned.name == StageName::Deduplicate {
            // Of a job that was killed at its end.
            deduplicate::remove_work(folder)?;
        }
        return Ok(State::Done(Box::new(record)));
    }
    Ok(State::Left(units_done(&folder.list()?, count)))
}

fn nothing_kept(record: &StageRecord) -> PrepareError {
    let mut reasons: Vec<(String, u64)> =
        record.tally.dropped.iter().map(|(rule, dropped)| (rule.clone(), dropped.count)).collect();
    reasons.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then_with(|| a.cmp(b)));
    reasons.truncate(3);
    PrepareError::NothingKept { stage: record.stage.clone(), seen: record.tally.seen, reasons }
}
