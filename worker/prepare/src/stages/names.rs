//! Names of the stages' folders, and of the objects in them.

use common::config::StageName;
use common::sha256::Sha256Sum;

use super::lineage::units::UNIT_START;
pub use super::lineage::units::lineage_name;

/// Folder of the stages' folders in `prepare.output`.
pub const STAGES_FOLDER: &str = "stages";
/// Object that says that a stage is done: the sum of its tallies.
pub const STAGE_NAME: &str = "stage.json";
/// Hex digits at the end of a folder's name.
pub const HASH_DIGITS: usize = 16;

/// Returns the name of the folder of `stage`, where `sha256` is the hash of all that decides what the stage makes.
pub fn folder_name(stage: StageName, sha256: &Sha256Sum) -> String {
    format!("{}-{}", stage.name(), &sha256.to_string()[..HASH_DIGITS])
}

/// Returns the stage to which a folder of this name belongs.
pub fn stage_of(folder_name: &str) -> Option<&str> {
    let (stage, hash) = folder_name.rsplit_once('-')?;
    let is_hash = hash.len() == HASH_DIGITS && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_hash && !stage.is_empty()).then_some(stage)
}

/// Returns the name of the documents of unit `number`.
pub fn documents_name(number: u32) -> String {
    format!("{UNIT_START}{number:06}.documents.parquet")
}

/// Returns the name of the object that makes unit `number` count.
pub fn unit_name(number: u32) -> String {
    format!("{UNIT_START}{number:06}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_a_stage_by_its_name() {
        assert_eq!(stage_of("clean-0123456789abcdef"), Some("clean"));
        assert_eq!(stage_of("two-words-0123456789abcdef"), Some("two-words"));
        assert_eq!(stage_of(&folder_name(StageName::Extract, &Sha256Sum::of(b"rules"))), Some("extract"));
        for name in ["clean", "clean-0123456789abcdeg", "clean-0123456789ABCDEF", "clean-0123", "-0123456789abcdef", ""]
        {
            assert_eq!(stage_of(name), None, "{name}");
        }
    }

    #[test]
    fn names_of_a_unit_stay_from_release_to_release() {
        let names = [documents_name(7), lineage_name(7), unit_name(7)];
        assert_eq!(names, ["unit-000007.documents.parquet", "unit-000007.lineage.parquet", "unit-000007.json"]);
    }
}
