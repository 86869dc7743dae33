//! What is told of the overlap of documents with evaluation sets: a table by set, and the longest overlaps.

use evaluation::overlap::{ItemOverlap, TaskOverlap};
use serde::{Deserialize, Serialize};

use super::longest::{LongOverlap, keep_longest};
use super::seen::SeenRecord;
use super::sets::TestSets;

/// Sums of the stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OverlapSums {
    /// Number of documents that overlap.
    pub documents: u64,
    /// Number of windows that were removed.
    pub windows: u64,
    /// Number of characters that were removed with them.
    pub characters: u64,
    /// What was seen of each evaluation set, in the order of the config.
    pub tasks: Vec<TaskSums>,
    /// Longest overlaps, the longest first.
    pub longest: Vec<LongOverlap>,
}

/// What documents have of an evaluation set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSums {
    /// Name of the task, and for a file of the user's `=` and the file's name.
    pub task: String,
    /// URL of its data file, without secrets.
    pub data: String,
    /// Number of items.
    pub items: u64,
    /// Number of items that are too short to be looked for.
    pub without_grams: u64,
    /// Number of items with an 8-gram that was seen.
    pub overlapping: u64,
    /// 8-grams of all items, as often as they occur.
    pub grams: u64,
    /// 8-grams of them that were seen.
    pub seen: u64,
    /// Share of 8-grams that were seen, from 0 to 1; `None` of no 8-grams.
    pub share: Option<f64>,
}

/// What units have seen, while it is united.
pub struct Uniting<'s> {
    sets: &'s TestSets,
    is_seen: Vec<bool>,
    sums: OverlapSums,
}

impl<'s> Uniting<'s> {
    /// Begins with nothing seen of the `sets`.
    pub fn new(sets: &'s TestSets) -> Self {
        Uniting { sets, is_seen: vec![false; sets.distinct_grams()], sums: OverlapSums::default() }
    }

    /// Adds what a unit has seen.
    pub fn add(&mut self, record: SeenRecord) {
        let sums = &mut self.sums;
        // A record may be input from outside.
        sums.documents = sums.documents.saturating_add(record.documents);
        sums.windows = sums.windows.saturating_add(record.windows);
        sums.characters = sums.characters.saturating_add(record.characters);
        record.seen.into_iter().for_each(|number| self.is_seen[number as usize] = true);
        keep_longest(&mut sums.longest, record.longest);
    }

    /// Returns the sums with the table.
    pub fn finish(self) -> OverlapSums {
        let item = |(id, grams): (&str, &[u32])| ItemOverlap {
            id: id.to_owned(),
            grams: grams.len() as u64,
            found: grams.iter().filter(|number| self.is_seen[**number as usize]).count() as u64,
        };
        let tasks = self.sets.sets.iter().map(|set| {
            let overlap = TaskOverlap { task: set.task.clone(), items: self.sets.items(set).map(item).collect() };
            TaskSums {
                data: set.url.clone(),
                items: overlap.items.len() as u64,
                without_grams: overlap.without_grams() as u64,
                overlapping: overlap.overlapping() as u64,
                grams: overlap.grams(),
                seen: overlap.found(),
                share: overlap.share(),
                task: overlap.task,
            }
        });
        OverlapSums { tasks: tasks.collect(), ..self.sums }
    }
}
