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
    use super::*;
    use crate::stages::lineage::tests::folder;

    #[test]
    fn of_several_folders_of_a_stage_the_newest_is_taken() {
        let output = folder("newest");
        for name in ["clean-0000000000000001", "extract-0000000000000002", "notes"] {
            output.folder(STAGES_FOLDER).folder(name).put("unit-000000.json", "{}".into()).unwrap();
        }
        let newest = newest_folders(&output, &["extract", "clean", "deduplicate"]).unwrap();
        let names: Vec<&str> = newest.iter().map(|found| found.stage.as_str()).collect();
        assert_eq!(names, ["extract", "clean"]);
        assert_eq!(all_folders(&output).unwrap(), ["clean-0000000000000001", "extract-0000000000000002"]);
    }
}
