//! Commands that start ranks, or look whether they could be started: prepare, train, render, sample, check.

use clap::Args;

use super::shared::{ConfigArgs, LaunchArgs};

/// `launcher prepare`.
#[derive(Debug, Args)]
pub struct PrepareArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub launch: LaunchArgs,
    /// Prints the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `launcher train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub launch: LaunchArgs,
    /// The run folder, a storage URL or a path (run.output).
    #[arg(long, value_name = "URL")]
    pub output: Option<String>,
    /// A key that may differ from the config that the run was saved with, such as optimizer.peak_learning_rate; as often as
    /// needed. The change is recorded. configs/README.md says which keys need this, and which may change anyway.
    #[arg(long = "accept-change", value_name = "SECTION.KEY")]
    pub accept_changes: Vec<String>,
    /// Goes back to the checkpoint of this step, or of this name, before it starts. Later ones do not count from then on:
    /// nothing resumes from them, and they are deleted as the run passes them. The same command without this goes on from there.
    #[arg(long, value_name = "STEP|NAME", conflicts_with = "from_scratch")]
    pub from: Option<String>,
    /// Begins anew in a run folder that is not new. What checkpoints are left do not count from then on, as with --from.
    #[arg(long)]
    pub from_scratch: bool,
    /// Steps of which every rank writes a trace into the run folder, for ui.perfetto.dev (metrics.profile).
    #[arg(long, value_name = "FIRST..LAST")]
    pub profile: Option<String>,
    /// With --backend kubernetes: has a Job in the cluster do what this command would do here, and returns.
    #[arg(long)]
    pub detach: bool,
}

/// `launcher render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub launch: LaunchArgs,
    /// With --backend kubernetes: what `launcher train --detach` would apply.
    #[arg(long)]
    pub detach: bool,
}

/// `launcher sample`. What is not given here, the worker chooses.
#[derive(Debug, Args)]
pub struct SampleArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The text to continue.
    #[arg(long)]
    pub prompt: Option<String>,
    /// How many tokens to add at most: text may end before.
    #[arg(long, value_name = "N")]
    pub tokens: Option<u64>,
    /// Divides the logits; 0 always takes the likeliest token.
    #[arg(long, value_name = "F")]
    pub temperature: Option<f64>,
    /// Chooses among so many of the likeliest tokens; 0 for all.
    #[arg(long, value_name = "N")]
    pub top_k: Option<u64>,
    /// Chooses among the likeliest tokens that together have this probability.
    #[arg(long, value_name = "F")]
    pub top_p: Option<f64>,
    /// Seed of the choice: the same seed gives the same text.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The checkpoint, by its folder's name; the newest where it is not given.
    #[arg(long, value_name = "NAME")]
    pub checkpoint: Option<String>,
}

/// `launcher check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub launch: LaunchArgs,
    /// Prints a JSON array.
    #[arg(long)]
    pub json: bool,
}
