//! What the names in `attempts/` say, without reading anything: which attempt is the newest, and which checkpoints are void.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{ATTEMPTS_FOLDER, AttemptError};
use crate::checkpoint_layout::CheckpointName;
use crate::storage::{Folder, ObjectInfo, StorageError};

/// What stands between an attempt's number and the checkpoint that it started from.
const FROM: &str = ".from.";
/// In the place of a checkpoint's name where an attempt started from the beginning.
const NOTHING: &str = "nothing";

/// The attempts of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    newest: u32,
    /// Of the attempts that have come so far: the checkpoint that each started from.
    starts: BTreeMap<u32, Option<CheckpointName>>,
}

impl History {
    /// Lists the attempts of `run`.
    pub fn read(run: &Folder) -> Result<Self, StorageError> {
        Ok(Self::among(&run.folder(ATTEMPTS_FOLDER).list()?))
    }

    /// The attempts among `objects`, the listing of a run's `attempts/`.
    pub fn among(objects: &[ObjectInfo]) -> Self {
        let mut history = History::default();
        for object in objects {
            if let Some(number) = object.name.strip_suffix(".json").and_then(|number| number.parse().ok()) {
                history.newest = history.newest.max(number);
            } else if let Some((number, start)) = parse_start(&object.name) {
                history.starts.insert(number, start);
            }
        }
        history
    }

    /// The number of the newest attempt; 0 where there is none.
    pub fn newest(&self) -> u32 {
        self.newest
    }

    /// Whether a checkpoint does not count: a newer attempt went on from an older one, so that what this one holds is no
    /// part of the run any more, or never was.
    pub fn is_void(&self, name: &CheckpointName) -> bool {
        let place = |name: &CheckpointName| (name.step, name.attempt);
        let mut later = self.starts.iter().filter(|(attempt, _)| **attempt > name.attempt);
        later.any(|(_, start)| start.as_ref().is_none_or(|start| place(name) > place(start)))
    }
}

fn parse_start(name: &str) -> Option<(u32, Option<CheckpointName>)> {
    let (number, start) = name.split_once(FROM)?;
    let start = if start == NOTHING { None } else { Some(CheckpointName::parse(start)?) };
    Some((number.parse().ok()?, start))
}

/// Notes in `run` what `attempt` starts from, before it commits anything.
pub fn record_start(run: &Folder, attempt: u32, start: Option<&CheckpointName>) -> Result<(), StorageError> {
    let start = start.map_or(NOTHING.to_owned(), CheckpointName::to_string);
    // Everything is in the name; some stores refuse objects without content.
    run.folder(ATTEMPTS_FOLDER).put(&format!("{attempt:04}{FROM}{start}"), Bytes::from(format!("{start}\n")))
}

/// An error if an attempt newer than `mine` has claimed `run`.
pub fn check_fence(run: &Folder, mine: u32) -> Result<(), AttemptError> {
    match History::read(run)?.newest() {
        newer if newer > mine => Err(AttemptError::Fenced { run: run.url().to_owned(), mine, newer }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> ObjectInfo {
        ObjectInfo { name: name.into(), bytes: 1, version: String::new(), changed_unix_s: 0 }
    }

    fn name(step: u64, attempt: u32) -> CheckpointName {
        CheckpointName { step, attempt, id: "x1".into() }
    }

    #[test]
    fn names_tell_the_newest_and_what_each_started_from() {
        let names = [
            "0001.json",
            "0001.alive",
            "0001.from.nothing",
            "0010.json",
            "0002.json",
            "0002.from.step-00000010-a0001-x1",
            "0003.from.step-10",
            "x.json",
            "notes.txt",
        ];
        let history = History::among(&names.map(object));
        assert_eq!(history.newest(), 10);
        assert_eq!(history.starts, BTreeMap::from([(1, None), (2, Some(name(10, 1)))]));
        assert_eq!(History::among(&[]), History::default());
    }

    #[test]
    fn what_lies_above_a_newer_attempts_start_is_void() {
        // 1 saved 10, 20 and 30; 2 went on from 10, since the others were damaged, and saved 20; 3 went on from that. The
        // first is suspended meanwhile, and commits 40 at last; the second was not told of 3, and commits 30.
        let starts = [(1, None), (2, Some(name(10, 1))), (3, Some(name(20, 2)))];
        let history = History { newest: 3, starts: starts.into() };
        for (checkpoint, is_void) in [
            (name(10, 1), false),
            (name(20, 1), true),
            (name(30, 1), true),
            (name(40, 1), true),
            (name(20, 2), false),
            (name(30, 2), true),
            (name(30, 3), false),
        ] {
            assert_eq!(history.is_void(&checkpoint), is_void, "{checkpoint}");
        }
        // An attempt that has claimed the run, and started from nothing yet, voids nothing.
        assert!(!History { newest: 9, ..History::default() }.is_void(&name(10, 1)));
        // One that began anew voids all.
        assert!(History { newest: 2, starts: [(2, None)].into() }.is_void(&name(10, 1)));
    }
}
