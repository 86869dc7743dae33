//! `prepare dry-run`: its arguments, and what it does with them.

use std::path::PathBuf;

use clap::Args;
use common::config::RawConfig;
use common::storage::Folder;
use common::tokenizer::Tokenizer;
use prepare::PrepareError;
use prepare::job::find_inputs;
use prepare::overlap::OverlapFilter;
use prepare::record::Identity;
use prepare::stages::StageOptions;
use prepare::stages::deduplicate::compared_with;
use prepare::stages::dry_run::{DryRun, Inputs, Planned, TokenShards, dry_run};
use prepare::stages::given::count_of_units;
use prepare::stages::plan::plan;

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
    /// Looks at inputs and output, and fails where the job itself would before it begins.
    pub fn run(&self) -> Result<DryRun, PrepareError> {
        let config = RawConfig::load(&self.config, &self.set)?.prepare()?;
        let output = Folder::open(&config.prepare.output, &config.storage)?;
        let options = StageOptions::read(&config.prepare, &config.webtext)?;
        let tokenizer = Tokenizer::open(&config.prepare.tokenizer, &config.storage)?;
        let overlap = OverlapFilter::open(&config.prepare, &config.storage)?;
        let found = find_inputs(&config.prepare, &config.storage)?;
        let inputs = Inputs { objects: found.len() as u64, bytes: found.iter().map(|found| found.bytes).sum() };
        let plan = plan(&config.prepare, &options, &found, &config.storage)?;
        let identity = Identity::of(&config.prepare, &found, &plan, overlap.as_ref());
        let token_shards = TokenShards::of(&output, &identity, tokenizer.hash())?;
        let units = count_of_units(&config.prepare, &found, &config.storage)?;
        let planned: Vec<Planned> = plan.iter().map(|stage| Planned { folder: stage.folder_name(), units }).collect();
        let used = compared_with(&options.deduplicate, &config.storage)?;
        Ok(dry_run(&output, inputs, &planned, token_shards)?.without(&used))
    }
}
