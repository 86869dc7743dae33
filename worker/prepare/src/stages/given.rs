//! What a job is given: the config's inputs, which the first stage reads, and rules.

use common::config::{PrepareConfig, StorageConfig};

use super::options::StageOptions;
use super::pages;
use crate::PrepareError;
use crate::inputs::{Found, Sources, units};

/// Inputs of a job, and the rules of its stages.
#[derive(Clone, Copy)]
pub struct Inputs<'j> {
    /// Section `[prepare]`.
    pub config: &'j PrepareConfig,
    /// Options of the stages.
    pub options: &'j StageOptions,
    /// Section `[storage]`.
    pub storage: &'j StorageConfig,
    /// Objects of the inputs.
    pub found: &'j [Found],
}

/// Returns the number of units of every stage that reads what was `found` for a config.
pub fn count_of_units(config: &PrepareConfig, found: &[Found], storage: &StorageConfig) -> Result<u32, PrepareError> {
    let count = match config.reads_pages() {
        true => pages::units(&found.iter().map(|found| found.bytes).collect::<Vec<_>>()).len(),
        false => units(&Sources::open(&config.inputs, found, storage)?.list).len(),
    };
    Ok(count as u32)
}
