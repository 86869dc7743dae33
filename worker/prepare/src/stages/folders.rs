//! Folders of stages in `prepare.output`.
//!
//! A stage's folder is `stages/NAME-HASH`, where the hash, 16 hex digits, stands for all that decides what comes out. Another
//! config makes another folder beside it.

use common::storage::Folder;

use super::names::{HASH_DIGITS, STAGES_FOLDER, stage_of};
use crate::PrepareError;

/// A stage with the folder of what it has made.
#[derive(Debug, Clone)]
pub struct StageFolder {
    /// Name of the stage.
    pub stage: String,
    /// Folder of the stage.
    pub folder: Folder,
}

impl StageFolder {
    /// Returns the folder `name` (`clean-0123456789abcdef`) in `output`; `None` where that is no name of a stage's folder.
    pub fn named(output: &Folder, name: &str) -> Option<Self> {
        let stage = stage_of(name)?.to_owned();
        Some(StageFolder { stage, folder: output.folder(STAGES_FOLDER).folder(name) })
    }

    /// Returns whether this is the folder of what has the hash `sha256`, in hex digits.
    pub fn is_of(&self, sha256: &str) -> bool {
        let digits = self.folder.url().rsplit_once('-').map(|(_, digits)| digits);
        digits.is_some_and(|digits| digits.len() == HASH_DIGITS && sha256.starts_with(digits))
    }
}

/// Returns the names of all stages' folders in `output`, sorted.
pub fn all_folders(output: &Folder) -> Result<Vec<String>, PrepareError> {
    let names = output.folder(STAGES_FOLDER).list_folders()?;
    Ok(names.into_iter().filter(|name| stage_of(name).is_some()).collect())
}

/// Returns, for each of `stages` for which there is one, the folder that was changed last.
pub fn newest_folders(output: &Folder, stages: &[&str]) -> Result<Vec<StageFolder>, PrepareError> {
    let names = all_folders(output)?;
    let mut newest = Vec::new();
    for stage in stages {
        let mut best = None;
        for folder in names.iter().filter_map(|name| StageFolder::named(output, name)).filter(|f| f.stage == *stage) {
            let changed = folder.folder.list()?.iter().map(|object| object.changed_unix_s).max();
            if best.as_ref().is_none_or(|(latest, _)| changed >= *latest) {
                best = Some((changed, folder));
            }
        }
        newest.extend(best.map(|(_, folder)| folder));
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use common::config::StorageConfig;

    use super::*;

    /// Puts objects that were changed at these times into a stage's folder.
    fn put(dir: &Path, name: &str, changed_unix_s: &[u64]) {
        let folder = dir.join(STAGES_FOLDER).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (number, seconds) in changed_unix_s.iter().enumerate() {
            let file = File::create(folder.join(format!("unit-{number:06}.json"))).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(*seconds)).unwrap();
        }
    }

    #[test]
    fn of_several_folders_of_a_stage_the_newest_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        // The newest is neither the first nor the last by name, and has the oldest object too.
        put(dir.path(), "clean-0000000000000001", &[3000, 3000]);
        put(dir.path(), "clean-0000000000000002", &[1000, 4000, 2000]);
        put(dir.path(), "clean-0000000000000003", &[3500]);
        put(dir.path(), "extract-0000000000000004", &[2000]);
        put(dir.path(), "extract-0000000000000005", &[1000]);
        put(dir.path(), "notes", &[9000]);
        let output = Folder::open(dir.path().to_str().unwrap(), &StorageConfig::default()).unwrap();
        let newest = newest_folders(&output, &["extract", "clean", "deduplicate"]).unwrap();
        let found: Vec<(&str, &str)> =
            newest.iter().map(|found| (found.stage.as_str(), found.folder.url().rsplit('/').next().unwrap())).collect();
        assert_eq!(found, [("extract", "extract-0000000000000004"), ("clean", "clean-0000000000000002")]);
        let all = all_folders(&output).unwrap();
        assert_eq!((all.len(), all.contains(&"notes".to_owned())), (5, false));
    }
}
