//! Trains a tokenizer on documents: the job behind `prepare tokenizer`. docs/tokenizer.md describes the algorithm.
//!
//! A few lanes read the inputs, batch by batch. Any free thread counts the words of a batch. Counts are added up in a fixed
//! order, one batch of each lane in turn, so the vocabulary does not depend on threads, even where rare words are dropped to
//! keep memory bounded. Queues between lanes, threads and the sum are bounded, too.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use common::config::{OnBadDocument, StorageConfig};
use common::exit_code::ExitCode;
use common::figures::counted;
use common::storage::{Folder, StorageError};
use common::tokenizer::train::{Dropped, TrainError, WordCounts, check, train};
use common::tokenizer::{Tokenizer, TokenizerError, files};
use serde::Serialize;

use crate::PrepareError;
use crate::flags::in_flags;
use crate::inputs::{BadDocument, Batch, Batches, ReadOptions, Sources, Unit, find, units};
use crate::text::text_of;

/// Number of units that are read at once. It is a constant because the order of the sum depends on it.
const LANES: usize = 4;
/// Number of batches of a lane that are being counted or wait to be added up.
const LANE_BATCHES: usize = 4;

/// Parameters of a training.
pub struct TokenizerJob {
    /// Objects, folders or patterns, as in `prepare.inputs`.
    pub inputs: Vec<String>,
    /// Folder that receives the tokenizer's files.
    pub output: String,
    /// Number of tokens, special ones and bytes included.
    pub vocabulary: usize,
    /// Special tokens in the order of their ids.
    pub special: Vec<String>,
    /// Options for reading documents.
    pub options: ReadOptions,
    /// Whether a document that cannot be read ends the job.
    pub on_bad_document: OnBadDocument,
    /// Maximum number of distinct words in memory.
    pub words_max: usize,
    /// Number of threads that count words.
    pub threads: usize,
}

/// Progress of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The inputs are being read and their words counted.
    Counting {
        /// Bytes that are done.
        done: u64,
        /// Bytes of all inputs.
        total: u64,
    },
    /// Tokens are being learned.
    Learning {
        /// Number of tokens so far.
        done: u64,
        /// Number of tokens to learn.
        total: u64,
    },
}

/// Why no tokenizer was trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The inputs cannot be read.
    #[error("{}", in_flags(.0))]
    Inputs(#[from] PrepareError),
    /// The output cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A vocabulary of this size or these special tokens is impossible.
    #[error("cannot train: {0}")]
    Train(#[from] TrainError),
    /// The learned tokens do not make a tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A document cannot be read, and the job is to end then.
    #[error("{}; mend it, or leave such documents out with --on-bad-document skip", in_flags(.0))]
    BadDocument(BadDocument),
    /// The inputs have no document with text.
    #[error(
        "no text to learn from: {} gave {empty} empty and {}; check the inputs and --text-field",
        counted(*objects as u64, "object"),
        counted(*skipped, "unreadable document")
    )]
    NoText {
        /// Number of objects that were read.
        objects: usize,
        /// Number of documents without text.
        empty: u64,
        /// Number of documents that were left out.
        skipped: u64,
    },
    /// The output folder has a tokenizer already.
    #[error(
        "{url} exists already, and shards may have been made with it; choose another --output, or remove that folder"
    )]
    OutputTaken {
        /// URL of the existing file.
        url: String,
    },
}

impl TrainingError {
    /// Returns the exit code of a process that ends because of this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            TrainingError::Inputs(error) => error.exit_code(),
            TrainingError::Storage(error) => error.exit_code(),
            TrainingError::Tokenizer(error) => error.exit_code(),
            TrainingError::Train(_) => ExitCode::Config,
            TrainingError::BadDocument(_) | TrainingError::NoText { .. } | TrainingError::OutputTaken { .. } => {
                ExitCode::Data
            }
        }
    }
}

type Result<T> = std::result::Result<T, TrainingError>;

/// Summary of a training; its fields are also those of the JSON form.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingSummary {
    /// URL of the tokenizer's folder.
    pub url: String,
    /// Number of tokens, special ones and bytes included.
    pub vocabulary: u64,
    /// Number of tokens that were asked for; larger than `vocabulary` where the text had no more pairs.
    pub vocabulary_asked: u64,
    /// Hash of the tokenizer.
    pub hash: String,
    /// Number of documents with text.
    pub documents: u64,
    /// Number of documents without text.
    pub empty_documents: u64,
    /// Number of documents, or ends of objects, that could not be read and were left out.
    pub skipped_documents: u64,
    /// Bytes of text.
    pub text_bytes: u64,
    /// Number of distinct words at the end.
    pub words: u64,
    /// Number of entries that were dropped because there were more words than memory may hold.
    pub dropped_words: u64,
    /// Number of occurrences of the dropped entries.
    pub dropped_occurrences: u64,
    /// Duration of the job.
    pub seconds: f64,
}

impl fmt::Display for TrainingSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TrainingSummary { vocabulary, vocabulary_asked, documents, words, text_bytes, seconds, .. } = self;
        let texts = (counted(*documents, "document"), counted(*text_bytes, "byte"), counted(*words, "distinct word"));
        writeln!(f, "{}, {} of text, {}", texts.0, texts.1, texts.2)?;
        if self.empty_documents + self.skipped_documents > 0 {
            writeln!(f, "left out {} empty, {} unreadable", self.empty_documents, self.skipped_documents)?;
        }
        if self.dropped_words > 0 {
            let (words, times) = (counted(self.dropped_words, "rare word"), counted(self.dropped_occurrences, "time"));
            writeln!(f, "dropped {words} that came up {times}; --most-words keeps more")?;
        }
        if vocabulary < vocabulary_asked {
            writeln!(f, "fewer than {vocabulary_asked} tokens: the text has no more pairs to merge")?;
        }
        writeln!(f, "{}: {}", counted(*vocabulary, "token"), self.url)?;
        writeln!(f, "hash {}", self.hash)?;
        writeln!(f, "{seconds:.1} s, {:.1} MB/s", *text_bytes as f64 / 1e6 / seconds.max(1e-9))
    }
}

/// Trains a tokenizer as `job` says, and writes it.
pub fn run(job: &TokenizerJob, storage: &StorageConfig, progress: &mut dyn FnMut(Stage)) -> Result<TrainingSummary> {
    let started = Instant::now();
    check(job.vocabulary, &job.special)?;
    let output = Folder::open(&job.output, storage)?;
    if output.get_if_exists(files::TOKENIZER_NAME)?.is_some() {
        return Err(TrainingError::OutputTaken { url: output.url_of(files::TOKENIZER_NAME) });
    }
    let found = find(&job.inputs, storage)?;
    let sources = Sources::open(&job.inputs, &found, storage)?;
    let counted = count(job, &sources, &units(&sources.list), progress)?;
    let Tally { documents, empty, skipped, text_bytes } = counted.tally;
    if documents == 0 {
        return Err(TrainingError::NoText { objects: found.len(), empty, skipped });
    }
    let (words, Dropped { words: dropped_words, occurrences }) = (counted.words.words(), counted.words.dropped());
    let total = job.vocabulary as u64;
    let learning = |tokens: usize| progress(Stage::Learning { done: tokens as u64, total });
    let vocabulary = train(counted.words, job.vocabulary, &job.special, learning)?;
    let tokenizer = Tokenizer::new(output.url(), vocabulary)?;
    files::write(&output, tokenizer.vocabulary())?;
    Ok(TrainingSummary {
        url: output.url().to_owned(),
        vocabulary: tokenizer.size().into(),
        vocabulary_asked: total,
        hash: tokenizer.hash().to_owned(),
        documents,
        empty_documents: empty,
        skipped_documents: skipped,
        text_bytes,
        words: words as u64,
        dropped_words,
        dropped_occurrences: occurrences,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Counts of what became of documents.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    documents: u64,
    empty: u64,
    skipped: u64,
    text_bytes: u64,
}

/// Counts of a batch, or of all batches.
struct Counted {
    words: WordCounts,
    tally: Tally,
    bad: Vec<BadDocument>,
}

/// A batch to be counted, and the channel for its counts.
struct Task {
    batch: Batch,
    counted: SyncSender<Counted>,
}

/// A batch of a lane, in the order of the lane: the channel for its counts, and the bytes read for it.
struct Ordered {
    counted: Receiver<Counted>,
    bytes: u64,
}

type Lane = Receiver<std::result::Result<Ordered, PrepareError>>;

fn count(job: &TokenizerJob, sources: &Sources, units: &[Unit], progress: &mut dyn FnMut(Stage)) -> Result<Counted> {
    let (tasks_in, tasks_out) = sync_channel::<Task>(job.threads);
    let tasks_out = Mutex::new(tasks_out);
    std::thread::scope(|scope| {
        let lanes = (0..LANES).map(|lane| {
            let (ordered_in, ordered_out) = sync_channel(LANE_BATCHES);
            let tasks = tasks_in.clone();
            scope.spawn(move || {
                for (number, unit) in (0..).zip(units).skip(lane).step_by(LANES) {
                    let batches = Batches::new(&sources.list, &job.options, number, unit);
                    match read(batches, &tasks, &ordered_in) {
                        Ok(true) => {}
                        Ok(false) => return,
                        // Nobody receives the error if another lane has failed before.
                        Err(error) => return drop(ordered_in.send(Err(error))),
                    }
                }
            });
            ordered_out
        });
        let lanes: VecDeque<Lane> = lanes.collect();
        drop(tasks_in);
        for _ in 0..job.threads.max(1) {
            scope.spawn(|| {
                while let Ok(Task { batch, counted }) = next(&tasks_out) {
                    let _ = counted.send(count_batch(job, sources, &batch));
                }
            });
        }
        let total = units.iter().map(|unit| unit.bytes).sum();
        add_up(job, sources, lanes, |done| progress(Stage::Counting { done, total }))
    })
}

/// Takes the next task. The lock is held while a thread waits for one; other threads then wait for that thread.
fn next(tasks: &Mutex<Receiver<Task>>) -> std::result::Result<Task, std::sync::mpsc::RecvError> {
    tasks.lock().unwrap_or_else(PoisonError::into_inner).recv()
}

/// Hands out all batches of a unit, and keeps their order. Returns false where nobody wants them any more.
fn read(
    mut batches: Batches<'_>,
    tasks: &SyncSender<Task>,
    ordered: &SyncSender<std::result::Result<Ordered, PrepareError>>,
) -> std::result::Result<bool, PrepareError> {
    let mut bytes_before = 0;
    while let Some(batch) = batches.next_batch()? {
        let bytes = batches.bytes_read() - bytes_before;
        bytes_before += bytes;
        let (counted_in, counted) = sync_channel(1);
        let is_wanted = ordered.send(Ok(Ordered { counted, bytes })).is_ok();
        if !is_wanted || tasks.send(Task { batch, counted: counted_in }).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn count_batch(job: &TokenizerJob, sources: &Sources, batch: &Batch) -> Counted {
    let mut counted = Counted::new(job.words_max);
    counted.bad.extend(batch.bad.iter().cloned());
    for raw in &batch.documents {
        match text_of(batch, raw, &job.options.text_field, &sources.list) {
            Ok(text) if text.is_empty() => counted.tally.empty += 1,
            Ok(text) => {
                counted.words.count(&text);
                counted.tally.documents += 1;
                counted.tally.text_bytes += text.len() as u64;
            }
            Err(bad) => counted.bad.push(bad),
        }
    }
    counted
}

/// Adds up the lanes' counts, a batch of each in turn, until none has more. Calls `progress` with the bytes done.
fn add_up(
    job: &TokenizerJob,
    sources: &Sources,
    mut lanes: VecDeque<Lane>,
    mut progress: impl FnMut(u64),
) -> Result<Counted> {
    let mut all = Counted::new(job.words_max);
    let mut done = 0;
    while let Some(lane) = lanes.pop_front() {
        let Ok(ordered) = lane.recv() else { continue };
        let Ordered { counted, bytes } = ordered?;
        lanes.push_back(lane);
        // A missing sender has panicked, and a panic ends the process.
        let Ok(counted) = counted.recv() else { continue };
        for bad in &counted.bad {
            if job.on_bad_document == OnBadDocument::Fail {
                return Err(TrainingError::BadDocument(sources.list[bad.source as usize].with_line(bad.clone())));
            }
            tracing::warn!("left out: {}", in_flags(bad));
        }
        all.add(counted);
        done += bytes;
        progress(done);
    }
    Ok(all)
}

impl Counted {
    fn new(words_max: usize) -> Self {
        Counted { words: WordCounts::new(words_max), tally: Tally::default(), bad: Vec::new() }
    }

    fn add(&mut self, batch: Counted) {
        self.words.add(batch.words);
        self.tally.documents += batch.tally.documents;
        self.tally.empty += batch.tally.empty;
        self.tally.skipped += batch.bad.len() as u64;
        self.tally.text_bytes += batch.tally.text_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::tokenizer::END_OF_TEXT;

    fn job(name: &str, threads: usize) -> TokenizerJob {
        TokenizerJob {
            inputs: vec![format!("memory://train-{name}/in")],
            output: format!("memory://train-{name}/out-{threads}"),
            vocabulary: 1000,
            special: vec![END_OF_TEXT.to_owned()],
            options: ReadOptions { text_field: "text".into(), document_bytes_max: 1 << 20 },
            on_bad_document: OnBadDocument::Fail,
            words_max: 100,
            threads,
        }
    }

    /// There are many batches of several units, of words that differ, so that something is dropped after each.
    #[test]
    fn threads_do_not_matter_even_where_words_are_dropped() {
        let folder = Folder::open("memory://train-threads/in", &StorageConfig::default()).unwrap();
        for object in 0..3_u64 {
            let line = |line: u64| {
                let words: String = (0..20_000).map(|n| format!(" {}", (n * n + 7 * line + object) % 9973)).collect();
                serde_json::json!({ "text": words }).to_string() + "\n"
            };
            let lines: String = (0..30).map(line).collect();
            folder.put(&format!("{object}.jsonl"), lines.into()).unwrap();
        }
        let summaries = [1, 9].map(|threads| {
            let job = job("threads", threads);
            let mut last = None;
            let summary = run(&job, &StorageConfig::default(), &mut |stage| {
                if let Stage::Counting { done, total } = stage {
                    last = Some((done, total));
                }
            });
            assert!(last.is_some_and(|(done, total)| done == total && total > 8 << 20), "{last:?}");
            TrainingSummary { url: String::new(), seconds: 0.0, ..summary.unwrap() }
        });
        assert!(summaries[0].dropped_words > 0 && summaries[0].words <= 100, "{summaries:?}");
        assert_eq!(summaries[0], summaries[1]);
    }

    #[test]
    fn a_failure_in_the_middle_ends_every_thread() {
        let folder = Folder::open("memory://train-failure/in", &StorageConfig::default()).unwrap();
        for object in 0..20 {
            folder.put(&format!("{object:02}.txt"), "word ".repeat(200_000).into()).unwrap();
        }
        folder.put("03.jsonl", "{\"text\": \"a\"}\n{}\n".into()).unwrap();
        let mut job = job("failure", 3);
        job.options.document_bytes_max = 1 << 21;
        let error = run(&job, &StorageConfig::default(), &mut |_| ()).unwrap_err().to_string();
        assert!(error.contains("03.jsonl, line 2: no field \"text\" (--text-field names another); mend it"), "{error}");
    }
}
