//! `launcher checkpoints` and its commands.

use clap::{Args, Subcommand};

use super::shared::{RunArgs, YEAR_S};

/// `launcher checkpoints`.
#[derive(Debug, Subcommand)]
pub enum CheckpointsCommand {
    /// Lists the committed checkpoints of a run, oldest first.
    #[command(after_help = "Examples:\n  launcher checkpoints list --config configs/tiny-cpu.toml\n  \
                      launcher checkpoints list s3://bucket/runs/first --json")]
    List(ListArgs),
    /// Reads every byte of committed checkpoints and compares it with the hashes in their manifests.
    ///
    /// Prints a line for each checkpoint. Exit code 3 if one is damaged.
    #[command(after_help = "Examples:\n  launcher checkpoints verify s3://bucket/runs/first\n  \
                      launcher checkpoints verify --config run.toml --checkpoint step-00001000-a0003-5c0e9d7b21f3a864")]
    Verify(VerifyArgs),
    /// Deletes old checkpoints, and what saves that were cut off more than an hour ago have left behind.
    ///
    /// What stays is as the config says that the run was last started with, where it is not given here. The newest one
    /// always stays. A run may go on meanwhile. Nothing behind a symbolic link is deleted: a link is removed itself.
    #[command(after_help = "Example:\n  launcher checkpoints prune s3://bucket/runs/first --keep-last 2 --dry-run")]
    Prune(PruneArgs),
    /// Copies a checkpoint to another run folder, in the same store or another one, verified on the way.
    ///
    /// It appears there when it is whole. A run there goes on from it; several may begin with it.
    #[command(after_help = "Examples:\n  launcher checkpoints copy s3://bucket/runs/first --to /data/runs/first\n  \
                      launcher checkpoints copy runs/first --checkpoint step-00001000-a0003-5c0e9d7b21f3a864 --to s3://b/x")]
    Copy(CopyArgs),
    /// Asks a run that goes on, here or elsewhere, for a checkpoint, and waits until it is committed.
    #[command(after_help = "Example:\n  launcher checkpoints save s3://bucket/runs/first")]
    Save(SaveArgs),
}

/// `launcher checkpoints list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// Shows at the end what does not count, too: never committed, or left behind by a later attempt.
    #[arg(long)]
    pub all: bool,
    /// Prints a JSON array.
    #[arg(long)]
    pub json: bool,
}

/// `launcher checkpoints verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// Only this one, by its folder's name; every committed one where it is not given.
    #[arg(long, value_name = "NAME")]
    pub checkpoint: Option<String>,
    /// Prints a JSON array.
    #[arg(long)]
    pub json: bool,
}

/// `launcher checkpoints prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// Keeps so many of the newest; 0 keeps all (checkpoint.keep_last).
    #[arg(long, value_name = "N")]
    pub keep_last: Option<u64>,
    /// Keeps those of every so many steps, too; 0 for none (checkpoint.keep_every_steps).
    #[arg(long, value_name = "N")]
    pub keep_every_steps: Option<u64>,
    /// Only says what would go.
    #[arg(long)]
    pub dry_run: bool,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// `launcher checkpoints copy`.
#[derive(Debug, Args)]
pub struct CopyArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// The run folder to copy to, a storage URL or a path.
    #[arg(long, value_name = "RUN_URL")]
    pub to: String,
    /// Which one, by its folder's name; the newest where it is not given.
    #[arg(long, value_name = "NAME")]
    pub checkpoint: Option<String>,
}

/// `launcher checkpoints save`.
#[derive(Debug, Args)]
pub struct SaveArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// How long to wait for the checkpoint; 0 only asks.
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u64).range(..=YEAR_S))]
    pub wait_s: u64,
}
