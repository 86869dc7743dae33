//! `prepare explain`: its arguments, and what it does with them.

use std::path::PathBuf;

use clap::Args;
use common::config::RawConfig;
use common::storage::Folder;
use prepare::PrepareError;
use prepare::stages::StageOptions;
use prepare::stages::explain::{Explained, Made, Wanted, explain};

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
        let options = StageOptions::read(&config.prepare, &config.webtext)?;
        let made = Made::find((&config.prepare, &options), &config.storage, &output)?;
        explain(&wanted, &made)
    }
}
