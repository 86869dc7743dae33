//! The name of a checkpoint's folder and what it tells, and the fixed names around it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::topology::{Rank, WorldSize};

/// Name of the manifest in a checkpoint's folder.
pub const MANIFEST_NAME: &str = "manifest.json";
/// Folder of the checkpoints in a run's folder.
pub const CHECKPOINTS_FOLDER: &str = "checkpoints";

/// Ends a claim's tag in the id of a checkpoint: no hexadecimal digit.
const TAG_END: char = 'x';
/// Characters of the id of an attempt's claim that mark what the attempt puts.
pub(crate) const TAG_CHARACTERS: usize = 8;

/// The identity of one save. Its order is that of resuming: the greatest committed one is the newest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CheckpointName {
    /// Completed steps.
    pub step: u64,
    /// The attempt that saved it.
    pub attempt: u32,
    /// Letters and digits, so that no two saves share a folder: the tag of the attempt's claim, `x`, and random ones. Older
    /// versions had no tag.
    pub id: String,
}

impl fmt::Display for CheckpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step-{:08}-a{:04}-{}", self.step, self.attempt, self.id)
    }
}

impl CheckpointName {
    /// A name for a save of `step` by `attempt`, whose claim has this `tag`, with `random` letters and digits.
    pub fn tagged(step: u64, attempt: u32, tag: &str, random: &str) -> Self {
        CheckpointName { step, attempt, id: format!("{tag}{TAG_END}{random}") }
    }

    /// The checkpoint that the object `name` in [`CHECKPOINTS_FOLDER`] commits; `None` if it is no
    /// manifest.
    pub fn committed_by(name: &str) -> Option<Self> {
        let (folder, file) = name.split_once('/')?;
        if file == MANIFEST_NAME { Self::parse(folder) } else { None }
    }

    /// The tag of the claim of the attempt that saved it; `None` where an older version did.
    pub fn tag(&self) -> Option<&str> {
        let (tag, _) = self.id.split_once(TAG_END)?;
        let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        (tag.len() == TAG_CHARACTERS && tag.bytes().all(is_hex)).then_some(tag)
    }

    /// Whether the attempt that saved this also saved `other`, as far as names tell.
    pub fn is_of_the_attempt_of(&self, other: &CheckpointName) -> bool {
        self.attempt == other.attempt && self.tag() == other.tag()
    }

    /// Reads a folder's name; `None` if it is no checkpoint's.
    pub fn parse(folder: &str) -> Option<Self> {
        let mut parts = folder.strip_prefix("step-")?.splitn(3, '-');
        let step = parts.next()?.parse().ok()?;
        let attempt = parts.next()?.strip_prefix('a')?.parse().ok()?;
        let id = parts.next()?.to_owned();
        let name = CheckpointName { step, attempt, id };
        // One checkpoint has one spelling: no missing zeros, no plus signs.
        (name.is_valid() && name.to_string() == folder).then_some(name)
    }

    fn is_valid(&self) -> bool {
        !self.id.is_empty() && self.id.bytes().all(|b| b.is_ascii_alphanumeric())
    }
}

/// The folder of `rank` on its host, in that of the run: laid out as a run's folder, with this rank's objects alone in its
/// checkpoints.
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
