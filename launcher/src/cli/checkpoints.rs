//! Arguments of `launcher checkpoints` and its commands.

use clap::{Args, Subcommand};

use super::shared::{TargetArgs, YEAR_S};

/// `launcher checkpoints`.
#[derive(Debug, Subcommand)]
pub enum CheckpointsCommand {
    /// Lists the committed checkpoints of a run, oldest first.
    #[command(after_help = "Examples:\n  launcher checkpoints list configs/tiny-cpu.toml\n  \
                      launcher checkpoints list s3://bucket/runs/first --json")]
    List(ListArgs),
    /// Reads every byte of committed checkpoints and compares it with the hashes in their manifests.
    ///
    /// Prints a line for each checkpoint. Exit code 3 if one is damaged.
    #[command(after_help = "Examples:\n  launcher checkpoints verify s3://bucket/runs/first\n  \
                      launcher checkpoints verify run.toml --checkpoint step-00001000-a0003-5c0e9d7b21f3a864")]
    Verify(VerifyArgs),
    /// Deletes old checkpoints, and the remains of saves that were cut off more than an hour ago.
    ///
    /// Flags that are not given default to the config that the run was last started with. The newest checkpoint always stays.
    /// The run may be in progress. Nothing behind a symbolic link is deleted: the link itself is removed.
    #[command(after_help = "Example:\n  launcher checkpoints prune s3://bucket/runs/first --keep-last 2 --dry-run")]
    Prune(PruneArgs),
    /// Copies a checkpoint to another run folder, in this store or another one, verified on the way.
    ///
    /// The copy appears when it is whole. A run in that folder resumes from it; several runs may begin with one checkpoint.
    #[command(after_help = "Examples:\n  launcher checkpoints copy s3://bucket/runs/first --to /data/runs/first\n  \
                      launcher checkpoints copy runs/first --checkpoint step-00001000-a0003-5c0e9d7b21f3a864 --to s3://b/x")]
    Copy(CopyArgs),
    /// Asks a running run, here or elsewhere, for a checkpoint, and waits until it is committed.
    #[command(after_help = "Example:\n  launcher checkpoints save s3://bucket/runs/first")]
    Save(SaveArgs),
}

/// `launcher checkpoints list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub run: TargetArgs,
    /// Also shows what does not count, at the end: never committed, or left behind by a later attempt.
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
    pub run: TargetArgs,
    /// Verifies only the checkpoint of this folder name; every committed one by default.
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
    pub run: TargetArgs,
    /// Keeps the newest N checkpoints; 0 keeps all (checkpoint.keep_last).
    #[arg(long, value_name = "N")]
    pub keep_last: Option<u64>,
    /// Also keeps checkpoints at multiples of N steps; 0 keeps none of them (checkpoint.keep_every_steps).
    #[arg(long, value_name = "N")]
    pub keep_every_steps: Option<u64>,
    /// Only prints what would be deleted.
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
    pub run: TargetArgs,
    /// Run folder to copy to, a storage URL or a path.
    #[arg(long, value_name = "RUN_URL")]
    pub to: String,
    /// Folder name of the checkpoint to copy; the newest by default.
    #[arg(long, value_name = "NAME")]
    pub checkpoint: Option<String>,
}

/// `launcher checkpoints save`.
#[derive(Debug, Args)]
pub struct SaveArgs {
    #[command(flatten)]
    pub run: TargetArgs,
    /// Seconds to wait for the checkpoint; 0 asks without waiting.
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u64).range(..=YEAR_S))]
    pub wait_s: u64,
}
