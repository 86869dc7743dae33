//! The options of `worker eval`, as its command line has them.

#![allow(missing_docs, reason = "each field's text is its help")]

use std::time::Duration;

use clap::Args;
use evaluation::OnLong;

use super::EvaluateOptions;

/// Options of `worker eval`.
#[derive(Debug, Args)]
pub struct OptionArgs {
    /// Folder of the checkpoint; by default the newest of the config's run.
    #[arg(long, value_name = "URL")]
    pub checkpoint: Option<String>,
    /// Tasks, separated by commas; `all` for all that read official files.
    #[arg(long, value_name = "NAME,...")]
    pub tasks: String,
    /// Folder with the tasks' data files.
    #[arg(long, value_name = "URL")]
    pub data: Option<String>,
    /// Folder for scores and results; by default `evaluations` in the checkpoint's run.
    #[arg(long, value_name = "URL")]
    pub output: Option<String>,
    /// Number of items of each task, from the first on, or lines of a whole text; by default all.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Number of examples in front of each item.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub shots: u32,
    /// Tokens of a window over a text; by default the model's context.
    #[arg(long, value_name = "N")]
    pub window: Option<u32>,
    /// Tokens that each window but the first predicts; by default the whole window.
    #[arg(long, value_name = "N")]
    pub stride: Option<u32>,
    /// What to do with items longer than the context: refuse, truncate or skip.
    #[arg(long, value_name = "POLICY", default_value = "truncate", value_parser = on_long)]
    pub on_long: OnLong,
    /// Training data to look for the items in: token shards, documents, or a filter that was saved.
    #[arg(long, value_name = "SHARDS|DOCUMENTS|FILTER")]
    pub overlap: Option<String>,
    /// Save the filter of the training data to this file.
    #[arg(long, value_name = "URL", requires = "overlap")]
    pub save_filter: Option<String>,
    /// Print only the overlap, and read no checkpoint.
    #[arg(long, requires = "overlap")]
    pub overlap_only: bool,
    /// Also put every item with its scores beside the results.
    #[arg(long)]
    pub samples: bool,
    /// Seconds of work between saves of scores.
    #[arg(long, value_name = "S", default_value_t = 10)]
    pub save_every_s: u32,
    /// Print progress for the launcher.
    #[arg(long)]
    pub progress_lines: bool,
}

/// Reads a policy for long items.
fn on_long(text: &str) -> Result<OnLong, String> {
    serde_json::from_value(text.into()).map_err(|_| "expected refuse, truncate or skip".to_owned())
}

impl From<OptionArgs> for EvaluateOptions {
    fn from(args: OptionArgs) -> Self {
        EvaluateOptions {
            checkpoint: args.checkpoint,
            tasks: args.tasks,
            data: args.data,
            output: args.output,
            limit: args.limit.map(|limit| limit as usize),
            shots: args.shots as usize,
            window_tokens: args.window.map(|window| window as usize),
            stride_tokens: args.stride.map(|stride| stride as usize),
            on_long: args.on_long,
            overlap: args.overlap,
            save_filter: args.save_filter,
            overlap_only: args.overlap_only,
            samples: args.samples,
            save_every: Duration::from_secs(u64::from(args.save_every_s)),
            progress_lines: args.progress_lines,
        }
    }
}
