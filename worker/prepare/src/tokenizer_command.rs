//! The command `prepare tokenizer`: its arguments, and its progress.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use common::config::{OnBadDocument, StorageConfig};
use common::threads;
use common::tokenizer::END_OF_TEXT;
use indicatif::{ProgressBar, ProgressStyle};
use prepare::inputs::ReadOptions;
use prepare::train_tokenizer::{Stage, TokenizerJob, TrainingError, TrainingSummary, run};

#[derive(Args)]
pub struct TokenizerArgs {
    /// Texts: files, folders or patterns, by path or URL, as in prepare.inputs.
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<String>,
    /// Tokens in the vocabulary: the 256 bytes, the special tokens, and what is learned; at most 65,536.
    #[arg(long, value_name = "N")]
    vocab_size: usize,
    /// Folder for the tokenizer's files, a storage URL or a path.
    #[arg(long, value_name = "FOLDER_OR_URL")]
    output: String,
    /// Special token after `<|endoftext|>`, which is always the first; may be repeated.
    #[arg(long, value_name = "TOKEN")]
    special: Vec<String>,
    /// Field of a JSON line, or column of a Parquet file, that holds the text.
    #[arg(long, value_name = "FIELD", default_value = "text")]
    text_field: String,
    /// Whether a document that cannot be read ends the job, or is skipped and counted.
    #[arg(long, value_enum, default_value = "fail")]
    on_bad_document: OnBad,
    /// Longest document in bytes; a longer one counts as one that cannot be read, since memory is bounded.
    #[arg(long, value_name = "N", default_value_t = 64 << 20)]
    max_document_bytes: usize,
    /// Maximum number of distinct words in memory, about 100 bytes each; beyond that the rarest are dropped and counted.
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    most_words: usize,
    /// Threads that count words; 0 for one on every core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Prints the summary as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Values of `--on-bad-document`.
#[derive(Clone, Copy, ValueEnum)]
pub enum OnBad {
    Fail,
    Skip,
}

impl OnBad {
    /// Returns the value of the config's key.
    pub fn value(self) -> OnBadDocument {
        match self {
            OnBad::Fail => OnBadDocument::Fail,
            OnBad::Skip => OnBadDocument::Skip,
        }
    }
}

impl TokenizerArgs {
    /// Runs the job.
    pub fn run(&self) -> Result<TrainingSummary, TrainingError> {
        let mut view = View::new();
        let summary = run(&self.job(), &StorageConfig::default(), &mut |stage| view.show(stage));
        view.bar.finish_and_clear();
        summary
    }

    fn job(&self) -> TokenizerJob {
        let others = self.special.iter().filter(|token| *token != END_OF_TEXT).cloned();
        TokenizerJob {
            inputs: self.inputs.clone(),
            output: self.output.clone(),
            vocabulary: self.vocab_size,
            special: std::iter::once(END_OF_TEXT.to_owned()).chain(others).collect(),
            options: ReadOptions { text_field: self.text_field.clone(), document_bytes_max: self.max_document_bytes },
            on_bad_document: self.on_bad_document.value(),
            words_max: self.most_words,
            threads: if self.threads == 0 { threads::cores() } else { self.threads },
        }
    }
}

/// Time between two lines in a log.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows progress as a bar on a terminal, and as lines in the log elsewhere.
struct View {
    bar: ProgressBar,
    next_line: Instant,
}

impl View {
    fn new() -> Self {
        let style = ProgressStyle::with_template("{msg:8} {bar:24} {percent}%  left {eta}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        View { bar: ProgressBar::new(0).with_style(style), next_line: Instant::now() + LINE_INTERVAL }
    }

    fn show(&mut self, stage: Stage) {
        let (what, done, total) = match stage {
            Stage::Counting { done, total } => ("counting", done, total),
            Stage::Learning { done, total } => ("learning", done, total),
        };
        if !stderr().is_terminal() {
            return self.log(what, done, total);
        }
        if self.bar.message() != what {
            self.bar.set_message(what);
            self.bar.reset();
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    fn log(&mut self, what: &str, done: u64, total: u64) {
        if Instant::now() >= self.next_line {
            self.next_line = Instant::now() + LINE_INTERVAL;
            tracing::info!("{what}: {:.0}%", 100.0 * done as f64 / total.max(1) as f64);
        }
    }
}
