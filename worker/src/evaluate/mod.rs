//! Evaluates a checkpoint by tasks: `worker eval`, on any number of ranks.
//!
//! - this file: the job from the checkpoint to the results, and its options. [`arguments`]: their command line.
//! - [`subject`]: the checkpoint. [`questions`]: the tasks' data, items and sequences.
//! - [`units`]: sequences that are scored together, and how they are spread over the ranks.
//! - [`scoring`]: scores of a unit by one forward pass.
//! - [`saved`]: scores that are kept, so that a killed job goes on where it was.
//! - [`overlap`]: overlap of the items with training data.
//! - [`report`]: results, as objects beside the scores. [`progress`]: how far a rank is.
//! - [`error`]: why a checkpoint cannot be evaluated.
//!
//! A score depends on its item and that item's neighbours in the data file, the checkpoint, and the device and threads of a rank,
//! and on nothing else: ranks divide whole units, and exchange nothing until each has scored its own.
//!
//! Absent on purpose: what tasks ask and how scores become figures, which is the package `evaluation`.

pub mod arguments;
pub mod error;
pub mod overlap;
pub mod progress;
pub mod questions;
pub mod report;
pub mod saved;
pub mod scoring;
pub mod subject;
pub mod units;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use common::storage::Folder;
use common::topology::Rank;
use evaluation::report::Settings;
use evaluation::tasks::{Cut, Selection, choose};
use evaluation::{Key, Limits, OnLong, Score, Scores, Sequence};

use crate::collectives::Collectives;
use crate::error::JobError;
use crate::world::World;
use error::EvaluateError;
use progress::Progress;
use questions::Questions;
use saved::Saved;
use subject::Subject;
use units::Unit;

/// Time-out of the exchange at the end, in which fast ranks wait for slow ones: the launcher watches that scores are made.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Settings of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluateOptions {
    /// URL of the checkpoint's folder; `None` for the newest checkpoint of the config's run.
    pub checkpoint: Option<String>,
    /// Tasks, separated by commas, or `all`.
    pub tasks: String,
    /// Folder of the tasks' data.
    pub data: Option<String>,
    /// Folder for scores and results; `None` for that of the checkpoint's run.
    pub output: Option<String>,
    /// Items of each task, from its first on, or lines of a task that is one whole text; `None` for all.
    pub limit: Option<usize>,
    /// Examples in front of each item.
    pub shots: usize,
    /// Tokens that a window over a text feeds the model at most; `None` for the model's context.
    pub window_tokens: Option<usize>,
    /// Tokens that each window over a text but the first predicts; `None` for a whole window.
    pub stride_tokens: Option<usize>,
    /// What is done with items that do not fit into the context.
    pub on_long: OnLong,
    /// Training data that items are looked for in, or a filter of them: a URL, path or pattern.
    pub overlap: Option<String>,
    /// URL of a file for the filter of the training data.
    pub save_filter: Option<String>,
    /// Whether only the overlap is printed, and no checkpoint is read.
    pub overlap_only: bool,
    /// Whether all items are put beside the results, with their scores.
    pub samples: bool,
    /// Seconds of work between saves of scores.
    pub save_every: Duration,
    /// Whether progress is printed for the launcher.
    pub progress_lines: bool,
}

impl EvaluateOptions {
    /// Returns the options for all items of `tasks`, with defaults.
    pub fn of(tasks: &str) -> Self {
        EvaluateOptions {
            checkpoint: None,
            tasks: tasks.to_owned(),
            data: None,
            output: None,
            limit: None,
            shots: 0,
            window_tokens: None,
            stride_tokens: None,
            on_long: OnLong::default(),
            overlap: None,
            save_filter: None,
            overlap_only: false,
            samples: false,
            save_every: Duration::from_secs(10),
            progress_lines: false,
        }
    }

    fn selection(&self) -> Selection {
        Selection { limit: self.limit, shots: self.shots, ..Selection::default() }
    }

    /// Returns the limits of sequences for a model of this context.
    pub fn limits(&self, context_tokens: usize) -> Limits {
        let window_tokens = self.window_tokens.unwrap_or(context_tokens);
        let stride_tokens = self.stride_tokens.unwrap_or(window_tokens);
        Limits { context_tokens, window_tokens, stride_tokens, on_long: self.on_long }
    }
}

/// Evaluates a checkpoint. Rank 0 puts the results into the store and prints where they are. If only the overlap is asked for,
/// rank 0 prints that.
pub fn evaluate(world: &World, options: &EvaluateOptions) -> Result<(), JobError> {
    let _no_grad = tch::no_grad_guard();
    let (config, ranks) = (&world.config, world.collectives.as_ref());
    let chosen = choose(&options.tasks).map_err(EvaluateError::from)?;
    if options.overlap_only {
        overlap::tell(&overlap::of_tasks(world, &chosen, options)?);
        return Ok(());
    }
    let subject = Subject::open(config, options.checkpoint.as_deref(), ranks)?;
    let root = subject.evaluations(options.output.as_deref(), config)?;
    let limits = options.limits(subject.model.context_tokens as usize);
    let questions = questions::read(&chosen, options, (&subject.tokenizer, &limits), &config.storage, ranks)?;
    let settings = settings(world, options, &subject, &limits, &questions)?;
    let overlaps = overlap::of_tasks(world, &chosen, options)?;
    let began = Instant::now();
    let job = Job { questions: &questions, saved: saved_in(&root.folder(&subject.name()), &settings), options };
    let scores = job.score(world, &subject)?;
    if ranks.rank().is_zero() {
        let seconds = began.elapsed().as_secs_f64();
        let tasks = questions.iter().zip(settings).zip(&job.saved).zip(&scores);
        for (task, (((questions, settings), saved), scores)) in tasks.enumerate() {
            let overlap = overlaps.get(task);
            let report = report::report(&subject, settings, questions, scores, (options, seconds), overlap)?;
            report::publish(&report, (&root, saved.folder()), questions, scores, options.samples)?;
        }
    }
    Ok(())
}

fn saved_in(folder: &Folder, settings: &[Settings]) -> Vec<Saved> {
    settings.iter().map(|settings| Saved::open(folder, settings)).collect()
}

/// Returns the settings of each task, as rank 0 has them.
fn settings(
    world: &World,
    options: &EvaluateOptions,
    subject: &Subject,
    limits: &Limits,
    questions: &[Questions],
) -> Result<Vec<Settings>, JobError> {
    let threads_per_rank = tch::get_num_threads().max(1) as u32;
    warn_of_other_threads(&world.collectives.gather("threads", &threads_per_rank)?, world.collectives.rank());
    let of = |questions: &Questions| Settings {
        convoy: env!("CARGO_PKG_VERSION").to_owned(),
        task: questions.task.name.to_owned(),
        data_sha256: questions.data_sha256.clone(),
        // A limit cuts a whole text, and leaves an item of any other task as it is.
        lines: options.limit.filter(|_| questions.task.cut == Some(Cut::Whole)),
        manifest_sha256: subject.manifest_sha256.clone(),
        tokenizer_hash: subject.tokenizer.hash().to_owned(),
        shots: options.shots,
        window_tokens: limits.window_tokens,
        stride_tokens: limits.stride_tokens,
        on_long: limits.on_long,
        device: if world.device.is_cuda() { "cuda" } else { "cpu" }.to_owned(),
        threads_per_rank,
    };
    world.collectives.share("the settings", || Ok(questions.iter().map(of).collect()))
}

/// Says that digits depend on which rank scores what, if ranks have different numbers of threads.
fn warn_of_other_threads(threads: &[u32], rank: Rank) {
    let (Some(least), Some(most)) = (threads.iter().min(), threads.iter().max()) else { return };
    if rank.is_zero() && least != most {
        tracing::warn!(
            "the last digits of a score depend on its rank, since ranks have from {least} to {most} threads; give \
             --threads-per-rank {least}"
        );
    }
}

/// An evaluation whose items are known.
struct Job<'a> {
    questions: &'a [Questions],
    /// Saved scores of each task.
    saved: Vec<Saved>,
    options: &'a EvaluateOptions,
}

impl Job<'_> {
    /// Scores all sequences that have no score yet. Returns the scores of each task, on rank 0 alone.
    fn score(&self, world: &World, subject: &Subject) -> Result<Vec<Scores>, JobError> {
        let ranks = world.collectives.as_ref();
        let sequences: Vec<&[Sequence]> = self.questions.iter().map(|q| q.sequences.sequences.as_slice()).collect();
        let units = units::units_of(self.questions);
        let mut scores = Vec::new();
        let todo = ranks.share("the items that are left", || {
            scores = self.read_saved(&sequences)?;
            let scored: Vec<HashSet<Key>> =
                scores.iter().map(|scores| scores.iter().map(|(key, _)| key).collect()).collect();
            Ok::<_, JobError>(units::unscored(&units, self.questions, &scored))
        })?;
        let mine = units::share(&units, &todo, ranks.rank(), ranks.world_size());
        let cost = |indices: &[usize]| indices.iter().map(|index| units[*index].cost).sum::<u64>();
        let all: u64 = units.iter().map(|unit| unit.cost).sum();
        let before = if ranks.rank().is_zero() { all - cost(&todo) } else { 0 };
        let progress = Progress::begin(self.options.progress_lines, before, cost(&mine));
        let new = match todo.is_empty() {
            true => Vec::new(),
            false => self.score_units(world, subject, mine.iter().map(|index| &units[*index]), progress)?,
        };
        let gathered = gather(ranks, new, world.config.parallel.timeout_s)?;
        if ranks.rank().is_zero() {
            self.put_together(&mut scores, (&units, &todo), gathered)?;
        }
        Ok(scores)
    }

    fn read_saved(&self, sequences: &[&[Sequence]]) -> Result<Vec<Scores>, JobError> {
        self.saved.iter().zip(sequences).map(|(saved, sequences)| Ok(saved.read(sequences)?)).collect()
    }

    /// Scores this rank's units, and saves what it has every now and then.
    fn score_units<'u>(
        &self,
        world: &World,
        subject: &Subject,
        units: impl Iterator<Item = &'u Unit>,
        mut progress: Progress,
    ) -> Result<Vec<NewScore>, JobError> {
        let model = subject.load(world.device)?;
        let (mut all, mut unsaved) = (Vec::new(), Vec::new());
        let mut last_save = Instant::now();
        for unit in units {
            let questions = &self.questions[unit.task];
            let members = questions.members(&unit.sequences);
            let scored = members.iter().zip(scoring::score(&model, &members)?);
            for (sequence, score) in scored.filter(|(sequence, _)| questions.asks(sequence.key)) {
                check_finite(questions, sequence, score)?;
                unsaved.push((unit.task, sequence.key, score));
            }
            if last_save.elapsed() >= self.options.save_every {
                self.save(&unsaved)?;
                all.append(&mut unsaved);
                last_save = Instant::now();
            }
            progress.add(unit.cost);
        }
        self.save(&unsaved)?;
        all.append(&mut unsaved);
        Ok(all)
    }

    fn save(&self, scores: &[NewScore]) -> Result<(), JobError> {
        for (task, saved) in self.saved.iter().enumerate() {
            // Sequences are in the order of their keys.
            let sequences = &self.questions[task].sequences.sequences;
            let of_task = scores.iter().filter(|(of, _, _)| *of == task).filter_map(|(_, key, score)| {
                let index = sequences.binary_search_by_key(key, |sequence| sequence.key).ok()?;
                Some((&sequences[index], *score))
            });
            saved.save(of_task)?;
        }
        Ok(())
    }

    /// Puts the scores that were saved before and the new ones of all ranks together. Saved scores of units that have been
    /// computed again do not count.
    fn put_together(
        &self,
        scores: &mut [Scores],
        (units, todo): (&[Unit], &[usize]),
        gathered: Vec<NewScore>,
    ) -> Result<(), JobError> {
        let again: HashSet<(usize, Key)> = todo
            .iter()
            .map(|index| &units[*index])
            .flat_map(|unit| self.questions[unit.task].asked(&unit.sequences).map(|sequence| (unit.task, sequence.key)))
            .collect();
        for (task, of_task) in scores.iter_mut().enumerate() {
            let mut kept = Scores::default();
            let before = of_task.iter().filter(|(key, _)| !again.contains(&(task, *key)));
            let new = gathered.iter().filter(|(of, _, _)| *of == task).map(|(_, key, score)| (*key, *score));
            for (key, score) in before.chain(new) {
                let name = self.questions[task].task.name;
                kept.insert(key, score).map_err(|error| EvaluateError::Scores { task: name, error })?;
            }
            *of_task = kept;
        }
        Ok(())
    }
}

/// A score that this attempt has made: index of the task, key, score.
type NewScore = (usize, Key, Score);

/// Refuses a log-likelihood that is not a number, before it is saved or sent.
fn check_finite(questions: &Questions, sequence: &Sequence, score: Score) -> Result<(), EvaluateError> {
    if score.log_likelihood.is_finite() {
        return Ok(());
    }
    Err(EvaluateError::NotFinite {
        task: questions.task.name,
        item: questions.items[sequence.key.item as usize].id.clone(),
        log_likelihood: score.log_likelihood,
    })
}

/// Gathers the scores of all ranks, the only exchange after items have been spread. Fast ranks wait here for slow ones.
fn gather(ranks: &dyn Collectives, mine: Vec<NewScore>, timeout_s: u64) -> Result<Vec<NewScore>, JobError> {
    ranks.set_timeout(LONGEST_WAIT);
    let gathered = ranks.gather("scores", &mine);
    ranks.set_timeout(Duration::from_secs(timeout_s));
    Ok(gathered?.concat())
}
