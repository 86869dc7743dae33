//! `prepare dry-run`: its arguments, and what it does with them.

use std::path::PathBuf;

use clap::Args;
use common::config::RawConfig;
use common::storage::Folder;
use prepare::PrepareError;
use prepare::inputs::find;
use prepare::stages::dry_run::{DryRun, Inputs, TokenShards, dry_run};

/// Arguments of `prepare dry-run`.
#[derive(Args)]
pub struct DryRunArgs {
    /// Config file of the job.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Overrides a value of the config; may be repeated, and the last one wins.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Prints the answer as JSON.
    #[arg(long)]
    pub json: bool,
}

impl DryRunArgs {
    /// Looks at inputs and output.
    pub fn run(&self) -> Result<DryRun, PrepareError> {
        let config = RawConfig::load(&self.config, &self.set)?.prepare()?;
        let output = Folder::open(&config.prepare.output, &config.storage)?;
        let found = find(&config.prepare.inputs, &config.storage)?;
        let inputs = Inputs { objects: found.len() as u64, bytes: found.iter().map(|found| found.bytes).sum() };
        let token_shards = TokenShards::of(&output, &config.prepare)?;
        dry_run(&output, inputs, &[], token_shards)
    }
}
