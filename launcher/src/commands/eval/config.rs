//! The config of the ranks: a file's or a run folder's, or else the one that the checkpoint was saved with. An overlap without
//! a run has one of its own.

use common::checkpoint_layout::{MANIFEST_NAME, Manifest};
use common::checkpoint_store::CheckpointStoreError;
use common::config::{RawConfig, RunConfig, StorageConfig};
use common::storage::Folder;

use super::super::target;
use crate::cli::evaluation::EvalArgs;
use crate::error::LaunchError;

/// Config where no run is named, for ranks that read data and have no model. `--set` says what counts: `data.tokenizer`,
/// `[storage]` and `[launch]`.
const WITHOUT_RUN: &str = r#"
[run]
name = "overlap"
output = "overlap"
device = "cpu"

[model]
preset = "gpt2-124m"

[data]
train = [{ url = "overlap" }]

[batch]
global_sequences = 1
micro_sequences = 1
sequence_tokens = 64

[optimizer]
peak_learning_rate = 1e-3
warmup_steps = 1

[train]
max_steps = 6
"#;

/// Returns the config that `args` name, or of their checkpoint. A checkpoint's `[launch]` is where it was trained, and
/// does not count.
pub fn of(args: &EvalArgs) -> Result<RunConfig, LaunchError> {
    if let Some(target) = args.target() {
        return Ok(target::config(&target)?.run()?);
    }
    let Some(url) = args.checkpoint.as_deref() else {
        return Ok(RawConfig::parse("of an overlap without a run", WITHOUT_RUN, &args.overrides)?.run()?);
    };
    let folder = Folder::open(url, &StorageConfig::default())?;
    let (content, manifest_url) = (folder.get(MANIFEST_NAME)?, folder.url_of(MANIFEST_NAME));
    let manifest = Manifest::parse(&manifest_url, &content).map_err(CheckpointStoreError::from)?;
    let origin = format!("in {manifest_url}");
    Ok(RawConfig::parse_without(Some("launch"), &origin, &manifest.config, &args.overrides)?.run()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_without_a_run_needs_no_config_and_takes_what_is_set() {
        let overrides = ["data.tokenizer=own".to_owned(), "launch.ranks=3".to_owned()];
        let config = RawConfig::parse("of the test", WITHOUT_RUN, &overrides).and_then(RawConfig::run).unwrap();
        assert_eq!((config.data.tokenizer.as_str(), config.launch.ranks), ("own", 3));
    }
}
