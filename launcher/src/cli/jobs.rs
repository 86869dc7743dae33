//! Arguments of commands that start ranks, or check whether they could be started: prepare, train, render, sample, check.

use clap::{Args, Subcommand};

use super::shared::{LaunchArgs, TargetArgs};

/// `launcher prepare`.
#[derive(Debug, Default, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, disable_help_subcommand = true)]
pub struct PrepareArgs {
    #[command(subcommand)]
    pub command: Option<PrepareCommand>,
    #[command(flatten)]
    pub config: TargetArgs,
    #[command(flatten)]
    pub launch: LaunchArgs,
    /// Prints what would run, over what, and what is done already. Starts no ranks, and writes nothing.
    #[arg(long, conflicts_with_all = ["render", "detach"])]
    pub dry_run: bool,
    /// Prints the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// Prints what would start the ranks, without a secret, and starts nothing: a command line, a script, or the objects of a
    /// cluster.
    #[arg(long)]
    pub render: bool,
    /// With --backend kubernetes: starts a Job in the cluster that does what this command would do here, and returns.
    #[arg(long)]
    pub detach: bool,
}

/// Commands of `launcher prepare` beside preparing.
#[derive(Debug, Subcommand)]
pub enum PrepareCommand {
    /// Prints what became of a document in every stage, and why: source, place, rule, measure and limit.
    ///
    /// A URL may be that of several documents. Exit code 3 if no stage has seen such a document.
    #[command(
        after_help = "Examples:\n  launcher prepare explain https://example.com/page --config configs/prepare-webtext.toml\n  \
                      launcher prepare explain 5f0c1a configs/prepare-webtext.toml --json"
    )]
    Explain(ExplainArgs),
}

/// `launcher prepare explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Id of the document (32 hex digits, or the first 6 or more of them), or its URL. URLs are compared without scheme,
    /// `www.`, last slashes and fragment.
    #[arg(value_name = "ID|URL")]
    pub document: String,
    #[command(flatten)]
    pub config: TargetArgs,
    /// Prints the answer as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `launcher train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    #[command(flatten)]
    pub config: TargetArgs,
    #[command(flatten)]
    pub launch: LaunchArgs,
    /// Run folder, a storage URL or a path (run.output).
    #[arg(long, value_name = "URL")]
    pub output: Option<String>,
    /// Key that may differ from the config that the run was saved with, such as optimizer.peak_learning_rate; may be
    /// repeated. The change is recorded. configs/README.md says which keys need this, and which may always change.
    #[arg(long = "accept-change", value_name = "SECTION.KEY")]
    pub accept_changes: Vec<String>,
    /// Goes back to the checkpoint of this step or name before the run starts. Later checkpoints no longer count: nothing
    /// resumes from them, and they are deleted as the run passes them. To continue afterwards, run the command without this
    /// flag.
    #[arg(long, value_name = "STEP|NAME", conflicts_with = "from_scratch")]
    pub from: Option<String>,
    /// Begins the run again, from its first step, whether it is done, stopped or refused; any config will do. The
    /// checkpoints that it has no longer count, as with --from, and neither do their metrics.
    #[arg(long)]
    pub from_scratch: bool,
    /// Range of steps for which every rank writes a trace into the run folder, for ui.perfetto.dev (metrics.profile).
    #[arg(long, value_name = "FIRST..LAST")]
    pub profile: Option<String>,
    /// With --backend kubernetes: starts a Job in the cluster that does what this command would do here, and returns.
    #[arg(long)]
    pub detach: bool,
}

/// `launcher render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    #[command(flatten)]
    pub config: TargetArgs,
    #[command(flatten)]
    pub launch: LaunchArgs,
    /// Run folder, a storage URL or a path (run.output).
    #[arg(long, value_name = "URL")]
    pub output: Option<String>,
    /// With --backend kubernetes: prints what --detach of `launcher train` or `launcher prepare` would apply.
    #[arg(long)]
    pub detach: bool,
}

/// `launcher sample`. The worker chooses defaults for flags that are not given.
#[derive(Debug, Args)]
pub struct SampleArgs {
    #[command(flatten)]
    pub config: TargetArgs,
    /// Text to continue.
    #[arg(long)]
    pub prompt: Option<String>,
    /// Maximum number of tokens to add; the text may end earlier.
    #[arg(long, value_name = "N")]
    pub tokens: Option<u64>,
    /// Divisor of the logits; 0 always takes the likeliest token.
    #[arg(long, value_name = "F")]
    pub temperature: Option<f64>,
    /// Samples from the N likeliest tokens; 0 from all.
    #[arg(long, value_name = "N")]
    pub top_k: Option<u64>,
    /// Samples from the likeliest tokens that together have this probability.
    #[arg(long, value_name = "F")]
    pub top_p: Option<f64>,
    /// Seed of the sampling: one seed always gives one text.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Folder name of the checkpoint; the newest by default.
    #[arg(long, value_name = "NAME")]
    pub checkpoint: Option<String>,
}

/// `launcher check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub config: TargetArgs,
    #[command(flatten)]
    pub launch: LaunchArgs,
    /// Run folder, a storage URL or a path (run.output).
    #[arg(long, value_name = "URL")]
    pub output: Option<String>,
    /// Prints a JSON array.
    #[arg(long)]
    pub json: bool,
}
