//! Overlap of the tasks' items with training data: `--overlap`.
//!
//! - this file: from the arguments to the overlap of each task.
//! - [`training_data`]: what the training data are. [`texts`]: their texts in units that ranks share. [`shards`]: of token shards.
//!   [`documents`]: of documents.
//! - [`fill`]: the filter of their grams, made by all ranks. [`mod@file`]: filters in a store.
//!
//! Absent on purpose: words, grams and the filter itself, which are `evaluation::overlap`.

mod documents;
mod file;
mod fill;
mod shards;
mod texts;
mod training_data;

use std::time::Duration;

use common::config::StorageConfig;
use common::secrets::without_secrets;
use common::worker_contract::OVERLAP_MARK;
use evaluation::overlap::{Filter, OverlapSummary, TaskOverlap, overlap_of};
use evaluation::report::WithoutOverlap;
use evaluation::tasks::{Chosen, Selection};
use evaluation::{DataFile, Item, Scores, metrics};

use super::error::EvaluateError;
use super::questions::{FileHead, Questions, read_files};
use super::{EvaluateOptions, LONGEST_WAIT};
use crate::collectives::Label;
use crate::error::JobError;
use crate::world::World;
use training_data::TrainingTexts;

/// Overlap of a task.
pub struct Overlap {
    /// Training data, as they were named.
    with: String,
    /// Identity of their filter.
    filter_sha256: String,
    data_url: String,
    data_sha256: String,
    of_items: TaskOverlap,
}

/// Items of a task without examples in front of them, which belong to other items.
struct Looked {
    task: &'static str,
    file: FileHead,
    items: Vec<Item>,
}

/// Returns the overlap of each of the `chosen` tasks with the training data that `options` name, on rank 0 alone; nothing where
/// none are named. All ranks must call this together.
pub fn of_tasks(world: &World, chosen: &[Chosen], options: &EvaluateOptions) -> Result<Vec<Overlap>, JobError> {
    let Some(words) = &options.overlap else { return Ok(Vec::new()) };
    let ranks = world.collectives.as_ref();
    // Fast ranks wait for slow ones: the launcher watches that something is read.
    ranks.set_timeout(LONGEST_WAIT);
    let overlaps = look(world, words, chosen, options)?;
    ranks.barrier(Label::new("the overlap with training data")).wait()?;
    ranks.set_timeout(Duration::from_secs(world.config.parallel.timeout_s));
    Ok(overlaps)
}

fn look(world: &World, words: &str, chosen: &[Chosen], options: &EvaluateOptions) -> Result<Vec<Overlap>, JobError> {
    let is_first = world.collectives.rank().is_zero();
    // What is wrong with a task's data is found before the training data are read.
    let looked = if is_first { items(chosen, options, &world.config.storage)? } else { Vec::new() };
    let filter = filter(world, words, options.progress_lines)?;
    let Some(filter) = filter.filter(|_| is_first) else { return Ok(Vec::new()) };
    if let Some(url) = &options.save_filter {
        file::save(&filter, url, &world.config.storage, options.progress_lines)?;
    }
    let (with, filter_sha256) = (without_secrets(words).into_owned(), filter.identity());
    let of = |Looked { task, file, items }: Looked| Overlap {
        with: with.clone(),
        filter_sha256: filter_sha256.clone(),
        data_url: file.url,
        data_sha256: file.sha256,
        of_items: overlap_of(task, &items, &filter),
    };
    Ok(looked.into_iter().map(of).collect())
}

/// Reads the items of each task.
fn items(chosen: &[Chosen], options: &EvaluateOptions, storage: &StorageConfig) -> Result<Vec<Looked>, JobError> {
    let (heads, contents) = read_files(chosen, options.data.as_deref(), storage)?;
    let selection = Selection { limit: options.limit, ..Selection::default() };
    let mut looked = Vec::with_capacity(chosen.len());
    for (chosen, file) in chosen.iter().zip(heads) {
        let content = contents.get(file.file).map(Vec::as_slice).unwrap_or_default();
        let data = DataFile { name: &file.url, content };
        let items = chosen.task.items(&data, &selection).map_err(EvaluateError::from)?;
        looked.push(Looked { task: chosen.task.name, file, items });
    }
    Ok(looked)
}

/// Returns the filter of the training data that `words` name; of a filter that was saved, on rank 0 alone.
fn filter(world: &World, words: &str, progress_lines: bool) -> Result<Option<Filter>, JobError> {
    let ranks = world.collectives.as_ref();
    match training_data::open(words, &world.config, ranks)? {
        TrainingTexts::Saved(folder, bytes) => match ranks.rank().is_zero() {
            true => file::read(&folder, bytes, progress_lines).map(Some),
            false => Ok(None),
        },
        TrainingTexts::Texts(texts) => fill::fill(texts.as_ref(), ranks, progress_lines).map(Some),
    }
}

/// Prints the overlap of each task for the launcher.
pub fn tell(overlaps: &[Overlap]) {
    for overlap in overlaps {
        let json = serde_json::to_string(&overlap.summary()).unwrap_or_else(|e| unreachable!("a summary is JSON: {e}"));
        #[allow(clippy::print_stdout, reason = "the result of the command, which the launcher reads")]
        {
            println!("{OVERLAP_MARK}{json}");
        }
    }
}

impl Overlap {
    fn summary(&self) -> OverlapSummary {
        self.of_items.summary(&self.data_url, (&self.with, &self.filter_sha256))
    }

    /// Returns the results of the items that do not overlap.
    pub fn results(&self, questions: &Questions, scores: &Scores) -> Result<WithoutOverlap, EvaluateError> {
        let Questions { task, items, sequences, data_url, data_sha256, .. } = questions;
        if *data_sha256 != self.data_sha256 {
            return Err(EvaluateError::DataChanged { url: data_url.clone() });
        }
        let is_free = |index: usize| self.of_items.items.get(index).is_some_and(|item| !item.overlaps());
        let results =
            metrics::results(task, items, sequences, scores, is_free).map_err(EvaluateError::of_scores(task.name))?;
        Ok(WithoutOverlap { overlap: self.summary(), results })
    }
}
