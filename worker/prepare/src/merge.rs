//! Runs the second phase: merges runs into shards. Every rank writes a part of the shards, whole ones.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use bytes::Bytes;
use common::storage::Folder;
use common::threads;
use common::token_shard::ShardEntry;

use crate::PrepareError;
use crate::partitions::{Partition, SidePlan, Sizes};
use crate::progress::Progress;
use crate::shards::ShardWriter;
use crate::sides::Side;
use crate::tokenize::part;
use crate::work::{Document, RunFile, Runs, Work};

/// Largest number of threads that write shards, each with a partition in memory.
const WRITERS_MAX: usize = 4;

/// A shard to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardTask<'p> {
    /// Plan of the shard's side.
    pub plan: &'p SidePlan,
    /// Number of the shard on that side.
    pub number: u64,
}

impl ShardTask<'_> {
    /// Returns the name of the shard's file.
    pub fn file_name(&self) -> String {
        format!("shard-{:06}.bin", self.number)
    }

    /// Returns the name of the shard's entry, an object in the work folder. It says that the shard is written, and holds its
    /// line of the index.
    pub fn entry_name(&self) -> String {
        format!("{}-{:06}.shard.json", self.plan.side.folder(), self.number)
    }
}

/// Sums the sizes of all buckets over every `ranks`th run from number `rank` on.
pub fn sizes(work: &Work, runs: &Runs, (rank, ranks): (usize, usize)) -> Result<Sizes, PrepareError> {
    let buckets = work.buckets();
    let sizes = Mutex::new(Sizes { tokens: vec![0; buckets], documents: vec![0; buckets] });
    let mine: Vec<&RunFile> = runs.files.iter().skip(rank).step_by(ranks).collect();
    let add = |run: &&RunFile| -> Result<(), PrepareError> {
        let lines = work.table(run, 0..buckets)?;
        let mut sizes = sizes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (bucket, pair) in lines.windows(2).enumerate() {
            sizes.documents[bucket] += u64::from(pair[0].documents);
            sizes.tokens[bucket] += pair[0].tokens(pair[1]);
        }
        Ok(())
    };
    threads::map(&mine, work.folder.concurrency(), add).into_iter().collect::<Result<(), _>>()?;
    Ok(sizes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Sources and destination of the shards.
pub struct Merging<'j> {
    /// Work folder.
    pub work: &'j Work,
    /// Runs in the work folder.
    pub runs: &'j Runs,
    /// Folder that receives a folder for each side.
    pub output: &'j Folder,
    /// Threads of this rank.
    pub threads: usize,
}

/// Writes the shards of `tasks`, in order on each thread, so that neighbours share what they read.
pub fn merge(job: &Merging<'_>, tasks: &[ShardTask<'_>], progress: &Progress) -> Result<(), PrepareError> {
    let writers = job.threads.clamp(1, WRITERS_MAX);
    let parts: Vec<_> = (0..writers).map(|i| &tasks[part(tasks.len(), i, writers)]).collect();
    let write = |tasks: &&[ShardTask<'_>]| {
        let mut loaded = Loaded::default();
        tasks.iter().try_for_each(|task| job.write(task, &mut loaded, progress))
    };
    threads::map(&parts, writers, write).into_iter().collect()
}

/// The partition that was loaded last.
#[derive(Default)]
struct Loaded {
    of: Option<(Side, usize)>,
    documents: Vec<Document>,
}

impl Merging<'_> {
    fn write(&self, task: &ShardTask<'_>, loaded: &mut Loaded, progress: &Progress) -> Result<(), PrepareError> {
        let (plan, shard) = (task.plan, task.plan.shard(task.number));
        let folder = self.output.folder(plan.side.folder());
        let mut writer = ShardWriter::begin(&folder, &task.file_name(), shard.end - shard.start)?;
        for number in plan.partitions_of(&shard) {
            let partition = &plan.partitions[number];
            if loaded.of != Some((plan.side, number)) {
                *loaded = Loaded::default();
                loaded.documents = self.load(partition)?;
                loaded.of = Some((plan.side, number));
            }
            let mut at = partition.tokens.start;
            for document in &loaded.documents {
                let (start, end) = (at, at + document.tokens.len() as u64 / 2);
                at = end;
                if end <= shard.start || start >= shard.end {
                    continue;
                }
                let cut = (shard.start.max(start) - start) as usize..(shard.end.min(end) - start) as usize;
                writer.write(&document.tokens[2 * cut.start..2 * cut.end], cut.start == 0)?;
                progress.advance(2 * cut.len() as u64);
            }
        }
        let entry = writer.finish()?;
        let json = serde_json::to_vec(&entry).unwrap_or_else(|e| unreachable!("an entry is JSON: {e}"));
        Ok(self.work.folder.put(&task.entry_name(), Bytes::from(json))?)
    }

    /// Loads the documents of a partition from all runs, in order.
    fn load(&self, partition: &Partition) -> Result<Vec<Document>, PrepareError> {
        let read = |run: &RunFile| {
            let lines = self.work.table(run, partition.buckets.clone())?;
            self.work.documents(run, &lines)
        };
        let parts = threads::map(&self.runs.files, self.work.folder.concurrency(), read);
        let mut documents = Vec::new();
        for part in parts {
            documents.extend(part?);
        }
        documents.sort_unstable_by_key(|document| document.key);
        let tokens: usize = documents.iter().map(|document| document.tokens.len() / 2).sum();
        if tokens as u64 != partition.tokens.end - partition.tokens.start {
            return Err(self.work.damaged("", "its runs have changed while they were read".into()));
        }
        Ok(documents)
    }
}

/// Returns the index lines of the shards that are written, in the order of `tasks`; `None` where a shard is missing.
pub fn written(work: &Work, output: &Folder, tasks: &[ShardTask<'_>]) -> Result<Vec<Option<ShardEntry>>, PrepareError> {
    let listed = work.folder.list()?;
    let there: HashSet<&str> = listed.iter().map(|o| o.name.as_str()).collect();
    let mut shards = HashMap::new();
    for side in Side::ALL {
        let of_side = output.folder(side.folder()).list()?;
        shards.extend(of_side.into_iter().map(|object| ((side, object.name), object.bytes)));
    }
    let read = |task: &ShardTask<'_>| -> Result<Option<ShardEntry>, PrepareError> {
        let name = task.entry_name();
        if !there.contains(name.as_str()) {
            return Ok(None);
        }
        let content = work.folder.get(&name)?;
        let entry: ShardEntry = serde_json::from_slice(&content).map_err(|e| work.damaged(&name, e.to_string()))?;
        if entry.name != task.file_name() || !entry.fits() {
            return Err(work.damaged(&name, format!("it does not describe {}", task.file_name())));
        }
        // The shard may have been removed since.
        let bytes = shards.get(&(task.plan.side, entry.name.clone()));
        Ok((bytes == Some(&entry.bytes)).then_some(entry))
    };
    threads::map(tasks, work.folder.concurrency(), read).into_iter().collect()
}
