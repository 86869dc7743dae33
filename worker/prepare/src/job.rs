//! Runs the job, from config to summary.

use std::time::Instant;

use bytes::Bytes;
use common::config::{OnBadDocument, PrepareConfig, StorageConfig};
use common::secrets::without_secrets;
use common::storage::{Folder, StorageError};
use common::token_shard::{BLOCK_BYTES, INDEX_NAME, Index, ShardEntry};
use common::tokenizer::Tokenizer;
use common::worker_contract::PreparePhase;
use serde::{Deserialize, Serialize};

use crate::card::{self, CARD_NAME};
use crate::encode::Encoder;
use crate::inputs::{Found, ReadOptions, Source, Sources, Unit, find, find_pages, probe, units};
use crate::memory::Memory;
use crate::merge::{Merging, ShardTask, merge, sizes, written};
use crate::overlap::OverlapFilter;
use crate::partitions::{SidePlan, Sizes};
use crate::progress::{Audience, PhaseWork};
use crate::ranks::Ranks;
use crate::record::{self, Identity, RECORD_NAME, Record, SideTotals, Totals};
use crate::sides::{Division, Side};
use crate::stages::document::TEXT_COLUMN;
use crate::stages::done::DoneStage;
use crate::stages::given::Inputs;
use crate::stages::plan::{PlannedStage, plan};
use crate::stages::run::Stages;
use crate::stages::{STAGES_FOLDER, StageOptions};
use crate::summary::Summary;
use crate::tally::Tally;
use crate::tokenize::{Tokenizing, part, share_of, tokenize};
use crate::work::{Runs, Work};
use crate::{PrepareError, WORK_FOLDER};

type Result<T> = std::result::Result<T, PrepareError>;

/// Message of rank 0 to the others at the start.
#[derive(Serialize, Deserialize)]
enum Start {
    AlreadyDone(Totals),
    Work { identity: Identity, found: Vec<Found>, plan: Vec<PlannedStage>, tokenizer_hash: String },
}

/// Data that every rank works with.
struct Job<'j> {
    config: &'j PrepareConfig,
    ranks: &'j Ranks,
    threads: usize,
    output: Folder,
    identity: Identity,
    /// Objects of the inputs.
    found: Vec<Found>,
    stages: Vec<DoneStage>,
    /// Objects with the documents to tokenize: the inputs, or what the last stage has made.
    sources: Vec<Source>,
    units: Vec<Unit>,
    tokenizer: Tokenizer,
    overlap: Option<OverlapFilter>,
}

/// Prepares what `config` says, together with the other `ranks`, with `threads` threads on this one. Where the data is
/// prepared already, nothing is written, and the summary says so.
pub fn run(
    config: &PrepareConfig,
    options: &StageOptions,
    storage: &StorageConfig,
    ranks: &Ranks,
    threads: usize,
    audience: &mut dyn Audience,
) -> Result<Summary> {
    let started = Instant::now();
    let output = Folder::open(&config.output, storage)?;
    let tokenizer = Tokenizer::open(&config.tokenizer, storage)?;
    // Every rank has read it before any rank writes, since all meet to share the start.
    let overlap = OverlapFilter::open(config, storage)?;
    let start = ranks
        .share("the start of the job", || start((config, options), storage, &output, &tokenizer, overlap.as_ref()))?;
    let (identity, found, plan, tokenizer_hash) = match start {
        Start::AlreadyDone(totals) => {
            ranks.share("the end of the work", || remove_work(&output, None))?;
            return Ok(Summary::already_done(totals, config.validation_fraction, &output));
        }
        Start::Work { identity, found, plan, tokenizer_hash } => (identity, found, plan, tokenizer_hash),
    };
    if tokenizer.hash() != tokenizer_hash {
        let (got, expected) = (tokenizer.hash().to_owned(), tokenizer_hash);
        return Err(PrepareError::OtherTokenizer {
            name: without_secrets(&config.tokenizer).into_owned(),
            got,
            expected,
        });
    }
    check_filter(config, overlap.as_ref(), &identity)?;
    let inputs = Inputs { config, options, storage, found: &found };
    let stages = Stages { inputs, ranks, threads, output: &output };
    let stages = stages.run(&plan, audience).map_err(|error| explain(&output, error))?;
    let sources = match stages.last() {
        None => Sources::open(&config.inputs, &found, storage)?.list,
        Some(last) => last.sources(),
    };
    let units = units(&sources);
    let job = Job { config, ranks, threads, output, identity, found, stages, sources, units, tokenizer, overlap };
    let totals = job.tokenize(audience).and_then(|(work, runs)| job.merge(&work, &runs, audience));
    let totals = totals.map_err(|error| explain(&job.output, error))?;
    Ok(Summary::done(totals, config.validation_fraction, &job.output, started.elapsed()))
}

/// Explains the loss of work objects: this job does not remove them, so another one must have.
fn explain(output: &Folder, error: PrepareError) -> PrepareError {
    let folders = [WORK_FOLDER, STAGES_FOLDER].map(|name| output.url_of(name));
    let folder_of = |url: &String| folders.iter().find(|folder| url.starts_with(*folder)).cloned();
    match error {
        PrepareError::Storage(StorageError::NotFound { url }) => match folder_of(&url) {
            Some(folder) => PrepareError::Work {
                url,
                folder,
                reason: "gone while it was needed: is another job preparing the same output?".into(),
            },
            None => PrepareError::Storage(StorageError::NotFound { url }),
        },
        other => other,
    }
}

/// Refuses a filter that is not rank 0's, which is in the `identity`.
fn check_filter(config: &PrepareConfig, overlap: Option<&OverlapFilter>, identity: &Identity) -> Result<()> {
    let (got, expected) = (overlap.map(OverlapFilter::sha256), identity.overlap_filter_sha256.as_deref());
    if got == expected {
        return Ok(());
    }
    let hash = |of: Option<&str>| of.unwrap_or("none").to_owned();
    let url = without_secrets(&config.overlap_filter).into_owned();
    Err(PrepareError::OtherFilter { url, got: hash(got), expected: hash(expected) })
}

/// Finds the objects that a job reads.
pub fn find_inputs(config: &PrepareConfig, storage: &StorageConfig) -> Result<Vec<Found>> {
    let find = if config.reads_pages() { find_pages } else { find };
    let mut found = find(&config.inputs, storage)?;
    if config.on_bad_document == OnBadDocument::Skip {
        probe(&config.inputs, &mut found, storage)?;
    }
    Ok(found)
}

fn start(
    (config, options): (&PrepareConfig, &StageOptions),
    storage: &StorageConfig,
    output: &Folder,
    tokenizer: &Tokenizer,
    overlap: Option<&OverlapFilter>,
) -> Result<Start> {
    let found = find_inputs(config, storage)?;
    let plan = plan(config, options, &found, storage)?;
    let identity = Identity::of(config, &found, &plan, overlap);
    let tokenizer_hash = tokenizer.hash().to_owned();
    Ok(match record::finished(output, &identity, &tokenizer_hash)? {
        Some(totals) => Start::AlreadyDone(totals),
        None => Start::Work { identity, found, plan, tokenizer_hash },
    })
}

impl Job<'_> {
    /// Runs the first phase, until every batch of every unit is in a run.
    fn tokenize(&self, audience: &mut dyn Audience) -> Result<(Work, Runs)> {
        let fraction = self.config.validation_fraction;
        let mut division = Division::of(fraction);
        let total = self.units.iter().map(|unit| unit.bytes).sum();
        let identity = |division| self.identity.of_work(&self.tokenizer, division);
        let unpacked = self.sources.iter().map(Source::unpacked_bytes).sum();
        let mut work = Work::open(&self.output, &identity(division), unpacked);
        let mut last_pass = None;
        loop {
            let runs = self.ranks.share("a list of the runs", || work.runs())?;
            let is_done = (0..self.units.len() as u32).all(|unit| runs.has(unit));
            if !is_done {
                // A pass that added nothing would add nothing again.
                if last_pass == Some(runs.batches()) {
                    return Err(work.damaged("", "the inputs give other documents than before".into()));
                }
                last_pass = Some(runs.batches());
                self.tokenize_rest(&work, &runs, division, total, audience)?;
                continue;
            }
            self.check_corpus(&runs.tally)?;
            let mended = division.mended(&runs.tally, fraction);
            if mended == division {
                return Ok((work, runs));
            }
            // A side would be empty. That happens with few documents, so encoding them again is fast.
            division = mended;
            work = Work::open(&self.output, &identity(division), unpacked);
            last_pass = None;
        }
    }

    fn tokenize_rest(
        &self,
        work: &Work,
        runs: &Runs,
        division: Division,
        total: u64,
        audience: &mut dyn Audience,
    ) -> Result<()> {
        let mut options = ReadOptions::of(self.config);
        if !self.stages.is_empty() {
            options.text_field = TEXT_COLUMN.to_owned();
        }
        let job = Tokenizing {
            sources: &self.sources,
            units: &self.units,
            options: &options,
            encoder: Encoder {
                tokenizer: &self.tokenizer,
                seed: self.config.seed,
                division,
                text_field: &self.config.text_field,
                sources: &self.sources,
                overlap: self.overlap.as_ref(),
            },
            work,
            runs,
            on_bad_document: self.config.on_bad_document,
            threads: self.threads,
            memory: Memory::of(self.config.memory_bytes),
        };
        let share = share_of(&self.units, runs, self.ranks.rank(), self.ranks.count());
        let done_before = self.units.iter().zip(0..).filter(|(_, n)| runs.has(*n)).map(|(unit, _)| unit.bytes).sum();
        let phase = PhaseWork { phase: PreparePhase::Tokenizing, total, done_before };
        self.ranks.run(phase, audience, |progress| tokenize(&job, &share, progress))
    }

    fn check_corpus(&self, tally: &Tally) -> Result<()> {
        if tally.documents > 0 {
            return Ok(());
        }
        let (empty, skipped, overlapping) = (tally.empty, tally.bad_documents(), tally.overlapping);
        Err(PrepareError::EmptyCorpus { objects: self.found.len(), empty, skipped, overlapping })
    }

    /// Runs the second phase: writes the shards, and then what makes them a data set.
    fn merge(&self, work: &Work, runs: &Runs, audience: &mut dyn Audience) -> Result<Totals> {
        let (rank, ranks) = (self.ranks.rank(), self.ranks.count());
        let own = sizes(work, runs, (rank, ranks))?;
        let sizes = Sizes { tokens: self.ranks.sum(own.tokens), documents: self.ranks.sum(own.documents) };
        let partition_bytes = Memory::of(self.config.memory_bytes).partition_bytes;
        let tokens_per_shard = self.config.tokens_per_shard;
        let plans =
            Side::ALL.map(|side| SidePlan::new(side, work.buckets_of(side), &sizes, tokens_per_shard, partition_bytes));
        let tasks: Vec<ShardTask<'_>> =
            plans.iter().flat_map(|plan| (0..plan.shards()).map(move |number| ShardTask { plan, number })).collect();
        let there: Vec<bool> = self.ranks.share("a list of the shards", || {
            // Shards of all jobs have these names, so records of other jobs in the work folder stop being true here.
            remove_work(&self.output, Some(&work.folder))?;
            let written = written(work, &self.output, &tasks)?;
            Ok::<_, PrepareError>(written.iter().map(Option::is_some).collect())
        })?;
        let left: Vec<ShardTask<'_>> =
            tasks.iter().zip(&there).filter(|(_, there)| !**there).map(|(task, _)| *task).collect();
        let bytes = |tasks: &[ShardTask<'_>]| -> u64 {
            tasks.iter().map(|task| task.plan.shard(task.number)).map(|tokens| 2 * (tokens.end - tokens.start)).sum()
        };
        let merging = Merging { work, runs, output: &self.output, threads: self.threads };
        let (total, done_before) = (bytes(&tasks), bytes(&tasks) - bytes(&left));
        let share = &left[part(left.len(), rank, ranks)];
        let phase = PhaseWork { phase: PreparePhase::Writing, total, done_before };
        self.ranks.run(phase, audience, |progress| merge(&merging, share, progress))?;
        self.ranks.share("a summary", || self.finish(work, runs, &tasks))
    }

    /// Writes the data card, the record and the indexes on rank 0, and cleans up. The training index is put last, and makes
    /// the folder a data set.
    fn finish(&self, work: &Work, runs: &Runs, tasks: &[ShardTask<'_>]) -> Result<Totals> {
        let entries = written(work, &self.output, tasks)?;
        let index_of = |side: Side| -> Result<Option<Index>> {
            let of_side = tasks.iter().zip(&entries).filter(|(task, _)| task.plan.side == side);
            let shards: Option<Vec<ShardEntry>> = of_side.map(|(_, entry)| entry.clone()).collect();
            let shards = shards.ok_or_else(|| work.damaged("", "a shard is missing that was written".into()))?;
            Ok((!shards.is_empty()).then(|| self.index(shards)))
        };
        let (train, validation) = (index_of(Side::Train)?, index_of(Side::Validation)?);
        let train = train.ok_or_else(|| work.damaged("", "it has no training documents".into()))?;
        let sides = (SideTotals::of(&train), validation.as_ref().map(SideTotals::of));
        let totals = Totals::of(&self.found, &runs.tally, self.overlap.is_some(), sides);
        let (identity, tokenizer) = (self.identity.clone(), &self.tokenizer);
        let record = Record::new(identity, self.config, tokenizer, &self.found, &runs.tally, totals.clone())
            .with_stages(self.stages.iter().map(DoneStage::summary).collect());
        self.remove_old_shards(Side::Train, Some(&train))?;
        self.remove_old_shards(Side::Validation, validation.as_ref())?;
        self.output.remove_unfinished(|name| name == CARD_NAME || name == RECORD_NAME);
        self.output.put(CARD_NAME, Bytes::from(card::markdown(&record)))?;
        self.output.put(RECORD_NAME, record.to_json())?;
        if let Some(index) = validation {
            self.output.folder(Side::Validation.folder()).put(INDEX_NAME, index.to_json())?;
        }
        self.output.folder(Side::Train.folder()).put(INDEX_NAME, train.to_json())?;
        remove_work(&self.output, None)?;
        Ok(totals)
    }

    fn index(&self, shards: Vec<ShardEntry>) -> Index {
        Index {
            version: 1,
            tokenizer: without_secrets(&self.config.tokenizer).into_owned(),
            tokenizer_hash: self.tokenizer.hash().to_owned(),
            vocabulary: self.tokenizer.size(),
            tokens: shards.iter().map(|shard| shard.tokens).sum(),
            documents: shards.iter().map(|shard| shard.documents).sum(),
            block_bytes: BLOCK_BYTES,
            shards,
        }
    }

    /// Removes shards that an unfinished job has left here, and remains of killed ranks.
    fn remove_old_shards(&self, side: Side, index: Option<&Index>) -> Result<()> {
        let folder = self.output.folder(side.folder());
        let is_shard = |name: &str| name.starts_with("shard-") && name.ends_with(".bin");
        folder.remove_unfinished(|name| name == INDEX_NAME || is_shard(name));
        let is_ours = |name: &str| index.is_some_and(|index| index.shards.iter().any(|shard| shard.name == name));
        for object in folder.list()?.iter().filter(|object| is_shard(&object.name) && !is_ours(&object.name)) {
            folder.delete(&object.name)?;
        }
        Ok(())
    }
}

/// Removes the work folders of other jobs than `of`, or with `None` of all jobs. Nothing else in that folder belongs to
/// prepare.
fn remove_work(output: &Folder, of: Option<&Folder>) -> Result<()> {
    let folder = output.folder(WORK_FOLDER);
    let is_jobs = |name: &String| name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    for name in folder.list_folders()?.into_iter().filter(is_jobs) {
        let job = folder.folder(&name);
        if of.is_none_or(|of| of.url() != job.url()) {
            job.delete_all()?;
        }
    }
    folder.remove_if_empty();
    Ok(())
}
