//! Arguments of `launcher eval`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::shared::{LaunchArgs, TargetArgs};

/// `launcher eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Config (a TOML file) or run folder (a path or a storage URL), whose newest checkpoint is evaluated. With --checkpoint it may be
    /// left out: the config that the checkpoint was saved with then serves, except for its section launch. With --overlap both
    /// may be left out.
    #[arg(value_name = "CONFIG|RUN", required_unless_present_any = ["config", "checkpoint", "overlap", "list"])]
    pub target: Option<String>,
    /// Config, as the argument takes it, too.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the checkpoint; by default the newest of the run.
    #[arg(long, value_name = "URL")]
    pub checkpoint: Option<String>,
    /// Overrides a value of the config; may be repeated, and the last one wins. A value is TOML or plain text.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub overrides: Vec<String>,
    #[command(flatten)]
    pub launch: LaunchArgs,
    /// Tasks, separated by commas; all for those that read official files; text=FILE and documents=FILE for files of your own.
    #[arg(long, value_name = "NAME,...", required_unless_present = "list")]
    pub tasks: Option<String>,
    /// Folder with the tasks' data files; --list says which file each task reads, and where to get it.
    #[arg(long, value_name = "URL")]
    pub data: Option<String>,
    /// Folder for scores and results; by default evaluations in the run folder of the checkpoint.
    #[arg(long, value_name = "URL")]
    pub output: Option<String>,
    /// Looks for the 8-grams of the tasks' items in training data: a folder of token shards, documents as prepare reads them
    /// (with the text in the field "text"), or a filter that --save-filter has written. Prints how many were seen, and the
    /// results without the items of which any was. Without a checkpoint or a run, prints the overlap alone.
    #[arg(long, value_name = "SHARDS|DOCUMENTS|FILTER")]
    pub overlap: Option<String>,
    /// Saves the filter of the training data to this file, for another --overlap.
    #[arg(long, value_name = "URL", requires = "overlap")]
    pub save_filter: Option<String>,
    /// Prints the overlap alone, and reads no checkpoint. A config or a run then says only where ranks run, and the tokenizer.
    #[arg(long, requires = "overlap")]
    pub overlap_only: bool,
    /// Evaluates only the first N items of each task, and of a task that is one whole text its first N lines.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Number of other items, with their right answers, in front of each item.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub shots: u32,
    /// Maximum number of tokens that a window over a text feeds the model; the model's context by default.
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    pub window: Option<u32>,
    /// Number of tokens that each window over a text but the first predicts; the whole window by default.
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    pub stride: Option<u32>,
    /// What to do with an item that is longer than the model's context.
    #[arg(long, value_enum, default_value = "truncate")]
    pub on_long: OnLongName,
    /// Writes every item to this file, with its text and scores, as JSON lines.
    #[arg(long, value_name = "FILE")]
    pub samples: Option<PathBuf>,
    /// Seconds of work between saves of scores. What a killed job has saved is not computed again.
    #[arg(long, value_name = "S", default_value_t = 10)]
    pub save_every_s: u32,
    /// Prints the results as JSON.
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// Prints the table as Markdown.
    #[arg(long)]
    pub markdown: bool,
    /// Prints what would start the ranks, as `launcher render` does for training, and evaluates nothing.
    #[arg(long)]
    pub render: bool,
    /// Lists all tasks with their data files and sources, and evaluates nothing.
    #[arg(long, conflicts_with_all = ["target", "checkpoint", "config", "tasks", "render"])]
    pub list: bool,
}

impl EvalArgs {
    /// Returns whether no checkpoint is evaluated.
    pub fn is_overlap_only(&self) -> bool {
        let names_run = self.target.is_some() || self.config.is_some() || self.checkpoint.is_some();
        self.overlap_only || (self.overlap.is_some() && !names_run)
    }

    /// Returns what names the config; `None` if the checkpoint's own serves.
    pub fn target(&self) -> Option<TargetArgs> {
        let (target, config) = (self.target.clone(), self.config.clone());
        let is_named = target.is_some() || config.is_some();
        is_named.then(|| TargetArgs { target, config, overrides: self.overrides.clone() })
    }
}

/// Values of `--on-long`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnLongName {
    /// Ends with an error that names the item.
    Refuse,
    /// Leaves out the beginning of its context, and lists it.
    Truncate,
    /// Leaves it out of the results, and lists it.
    Skip,
}

impl OnLongName {
    /// Returns the name, as the worker takes it.
    pub fn word(self) -> &'static str {
        match self {
            OnLongName::Refuse => "refuse",
            OnLongName::Truncate => "truncate",
            OnLongName::Skip => "skip",
        }
    }
}
