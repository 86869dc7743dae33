//! The config of the ranks: a file's or a run folder's, or else the one that the checkpoint was saved with.

use common::checkpoint_layout::{MANIFEST_NAME, Manifest};
use common::checkpoint_store::CheckpointStoreError;
use common::config::{RawConfig, RunConfig, StorageConfig};
use common::storage::Folder;

use super::super::target;
use crate::cli::evaluation::EvalArgs;
use crate::error::LaunchError;

/// Returns the config that `args` name, or of their checkpoint. A checkpoint's `[launch]` is where it was trained, and
/// does not count.
pub fn of(args: &EvalArgs) -> Result<RunConfig, LaunchError> {
    if let Some(target) = args.target() {
        return Ok(target::config(&target)?.run()?);
    }
    let url = args.checkpoint.as_deref().unwrap_or_else(|| unreachable!("clap asks for one of the two"));
    let folder = Folder::open(url, &StorageConfig::default())?;
    let (content, manifest_url) = (folder.get(MANIFEST_NAME)?, folder.url_of(MANIFEST_NAME));
    let manifest = Manifest::parse(&manifest_url, &content).map_err(CheckpointStoreError::from)?;
    let origin = format!("in {manifest_url}");
    Ok(RawConfig::parse_without(Some("launch"), &origin, &manifest.config, &args.overrides)?.run()?)
}
