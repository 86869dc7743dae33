//! `prepare explain`: its arguments, and what it does with them.

use std::path::PathBuf;

use clap::Args;
use common::config::{PrepareJobConfig, RawConfig, StageName};
use common::storage::Folder;
use prepare::PrepareError;
use prepare::job::find_inputs;
use prepare::stages::StageOptions;
use prepare::stages::explain::{Explained, Wanted, explain};
use prepare::stages::folders::{StageFolder, newest_folders};
use prepare::stages::plan::plan;
use prepare::stages::shards::Shards;

/// Arguments of `prepare explain`.
#[derive(Args)]
pub struct ExplainArgs {
    /// Id of the document (32 hex digits, or the first 6 or more of them), or its URL, which is compared without scheme, `www.`,
    /// last slashes and fragment.
    #[arg(value_name = "ID|URL")]
    document: String,
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

impl ExplainArgs {
    /// Finds the document, and what became of it.
    pub fn run(&self) -> Result<Explained, PrepareError> {
        let wanted = Wanted::parse(&self.document)?;
        let config = RawConfig::load(&self.config, &self.set)?.prepare()?;
        let output = Folder::open(&config.prepare.output, &config.storage)?;
        let (stages, shards) = made(&config, &output)?;
        explain(&wanted, &stages, shards)
    }
}

/// Returns the folders of the stages of `config`, and what there is of its token shards. The names of the folders follow from the
/// inputs; where these are gone, the newest folder of each stage is taken.
fn made(config: &PrepareJobConfig, output: &Folder) -> Result<(Vec<StageFolder>, Shards), PrepareError> {
    let options = StageOptions::read(&config.prepare, &config.webtext)?;
    let Ok(found) = find_inputs(&config.prepare, &config.storage) else {
        let names: Vec<&str> = config.prepare.stages.iter().copied().map(StageName::name).collect();
        return Ok((newest_folders(output, &names)?, Shards::of(output, &config.prepare, None)?));
    };
    let plan = plan(&config.prepare, &options, &found);
    let folders = plan.iter().filter_map(|stage| StageFolder::named(output, &stage.folder_name())).collect();
    Ok((folders, Shards::of(output, &config.prepare, Some(&plan))?))
}
