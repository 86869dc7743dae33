//! Name of a checkpoint's folder, what it tells, and the fixed names around it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::topology::{Rank, WorldSize};

/// Name of the manifest in a checkpoint's folder.
pub const MANIFEST_NAME: &str = "manifest.json";
/// Folder of the checkpoints in a run folder.
pub const CHECKPOINTS_FOLDER: &str = "checkpoints";
/// Folder of the evaluations of its checkpoints in a run folder.
pub const EVALUATIONS_FOLDER: &str = "evaluations";

/// Separator after a claim's tag in the id of a checkpoint; not a hexadecimal digit.
const TAG_END: char = 'x';
/// Number of characters of a claim's id that form the tag in the names of what its attempt puts.
pub(crate) const TAG_CHARACTERS: usize = 8;

/// Identity of one save. Names are ordered for resuming: the greatest committed one is the newest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CheckpointName {
    /// Number of completed steps.
    pub step: u64,
    /// Number of the attempt that saved it.
    pub attempt: u32,
    /// Letters and digits, so that no two saves share a folder: the tag of the attempt's claim, `x`, and random characters.
    /// Older versions had no tag.
    pub id: String,
}

impl fmt::Display for CheckpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step-{:08}-a{:04}-{}", self.step, self.attempt, self.id)
    }
}

impl CheckpointName {
    /// Returns a name for a save of `step` by `attempt`, whose claim has this `tag`, with `random` letters and digits.
    pub fn tagged(step: u64, attempt: u32, tag: &str, random: &str) -> Self {
        CheckpointName { step, attempt, id: format!("{tag}{TAG_END}{random}") }
    }

    /// Returns the checkpoint that the object `name` in [`CHECKPOINTS_FOLDER`] commits, or `None` if the object is not a
    /// manifest.
    pub fn committed_by(name: &str) -> Option<Self> {
        let (folder, file) = name.split_once('/')?;
        if file == MANIFEST_NAME { Self::parse(folder) } else { None }
    }

    /// Returns the tag of the claim of the attempt that saved it, or `None` if an older version did.
    pub fn tag(&self) -> Option<&str> {
        let (tag, _) = self.id.split_once(TAG_END)?;
        let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        (tag.len() == TAG_CHARACTERS && tag.bytes().all(is_hex)).then_some(tag)
    }

    /// Returns whether the attempt that saved this also saved `other`, as far as names tell.
    pub fn is_of_the_attempt_of(&self, other: &CheckpointName) -> bool {
        self.attempt == other.attempt && self.tag() == other.tag()
    }

    /// Parses the name of a folder. Returns `None` if it is not a checkpoint's.
    pub fn parse(folder: &str) -> Option<Self> {
        let mut parts = folder.strip_prefix("step-")?.splitn(3, '-');
        let step = parts.next()?.parse().ok()?;
        let attempt = parts.next()?.strip_prefix('a')?.parse().ok()?;
        let id = parts.next()?.to_owned();
        let name = CheckpointName { step, attempt, id };
        // A checkpoint has one spelling: no missing zeros, no plus signs.
        (name.is_valid() && name.to_string() == folder).then_some(name)
    }

    fn is_valid(&self) -> bool {
        !self.id.is_empty() && self.id.bytes().all(|b| b.is_ascii_alphanumeric())
    }
}

/// Returns the folder of `rank` on its host, within that of the run. It is laid out like a run folder, and its checkpoints
/// contain this rank's objects alone.
pub fn host_folder(rank: Rank, world: WorldSize) -> String {
    format!("rank-{:05}-of-{world:05}", rank.index() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        let name = CheckpointName { step: 1000, attempt: 3, id: "0af3".into() };
        assert_eq!(name.to_string(), "step-00001000-a0003-0af3");
        assert_eq!(CheckpointName::parse("step-00001000-a0003-0af3"), Some(name));
        let long = CheckpointName { step: u64::MAX, attempt: u32::MAX, id: "z".into() };
        assert_eq!(CheckpointName::parse(&long.to_string()), Some(long));
        for wrong in [
            "",
            "step-",
            "step-00001000-a0003-",
            "step-00001000-a0003",
            "step-1000-a0003-x",
            "step-+0001000-a0003-x",
            "step-00001000-a3-x",
            "step-00001000-0003-x",
            "step-00001000-a0003-x-y",
            "step-00001000-a0003-..",
            "step-99999999999999999999-a0003-x",
            "tmp-00001000-a0003-x",
        ] {
            assert_eq!(CheckpointName::parse(wrong), None, "{wrong}");
        }
    }
}
