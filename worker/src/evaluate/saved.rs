//! Scores that a job has saved, in a folder for each task and its settings.
//!
//! Every rank saves what it has scored since its last save as a new [`Part`]. A job that was killed goes on from the parts that are
//! there. They are input from outside: a part that is damaged, or that contradicts another, is left out with a warning, and its
//! items are scored again.

use std::collections::HashMap;

use common::random::random_hex;
use common::storage::{Folder, StorageError};
use evaluation::part::{Part, settings_sha256};
use evaluation::report::Settings;
use evaluation::{Key, Score, Scores, Sequence};

/// Folder of the parts.
const PARTS: &str = "scores";
/// Size of the largest part that is read, in bytes.
const PART_BYTES_MAX: u64 = 1 << 30;
/// Characters of a hash in the name of a folder.
const NAME_CHARACTERS: usize = 16;

/// Returns the name of the folder for `settings`: scores with other settings are in another one.
pub fn folder_name(settings: &Settings) -> String {
    format!("{}-{}", settings.task, &settings_sha256(settings)[..NAME_CHARACTERS])
}

/// The saved scores of a task.
pub struct Saved {
    folder: Folder,
    settings_sha256: String,
}

impl Saved {
    /// Opens the folder of a task with `settings` below `evaluations`. Nothing is read or written yet.
    pub fn open(evaluations: &Folder, settings: &Settings) -> Self {
        Saved { folder: evaluations.folder(&folder_name(settings)), settings_sha256: settings_sha256(settings) }
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Saves `scores`, each with its sequence, as a new part. They are durable when this returns.
    pub fn save<'s>(&self, scores: impl Iterator<Item = (&'s Sequence, Score)>) -> Result<(), StorageError> {
        let part = Part::new(&self.settings_sha256, scores);
        if part.is_empty() {
            return Ok(());
        }
        self.folder.folder(PARTS).put(&format!("{}.part", random_hex()), part.to_bytes().into())
    }

    /// Reads the scores of `sequences` that are saved. Scores of other sequences, which a job with another limit has left, are
    /// passed over.
    pub fn read(&self, sequences: &[Sequence]) -> Result<Scores, StorageError> {
        let expected: HashMap<Key, &Sequence> = sequences.iter().map(|sequence| (sequence.key, sequence)).collect();
        let parts = self.folder.folder(PARTS);
        let mut scores = Scores::default();
        for object in parts.list()?.iter().filter(|object| object.name.ends_with(".part")) {
            // Somebody may have removed it.
            let Some(content) = parts.get_small(&object.name, PART_BYTES_MAX)? else { continue };
            let part = Part::from_bytes(&content);
            if let Err(reason) = part.and_then(|part| part.add_to(&mut scores, &self.settings_sha256, &expected)) {
                let url = parts.url_of(&object.name);
                tracing::warn!("{url} is left out, and its items are scored again: {reason}");
            }
        }
        Ok(scores)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use common::config::StorageConfig;
    use evaluation::OnLong;

    use super::*;

    fn settings() -> Settings {
        Settings {
            convoy: "1".into(),
            task: "ptb".into(),
            data_sha256: "a".into(),
            lines: None,
            manifest_sha256: "b".into(),
            tokenizer_hash: "c".into(),
            shots: 0,
            window_tokens: 8,
            stride_tokens: 8,
            on_long: OnLong::Truncate,
            device: "cpu".into(),
            threads_per_rank: 1,
        }
    }

    fn sequences(count: u32) -> Vec<Sequence> {
        let sequence = |item| Sequence {
            key: Key { item, request: 0, window: 0 },
            ids: vec![1, 2, 3],
            first_scored: 1,
            barred: Arc::from([]),
        };
        (0..count).map(sequence).collect()
    }

    fn score(item: u32) -> (Key, Score) {
        let log_likelihood = -0.1 - f64::from(item) / 3.0;
        (Key { item, request: 0, window: 0 }, Score { log_likelihood, tokens: 2, ..Score::NONE })
    }

    /// Returns `scores` beside their sequences.
    fn beside(scores: &[(Key, Score)]) -> Vec<(Sequence, Score)> {
        scores.iter().map(|(key, score)| (Sequence { key: *key, ..sequences(1).remove(0) }, *score)).collect()
    }

    fn save(saved: &Saved, scores: &[(Key, Score)]) {
        saved.save(beside(scores).iter().map(|(sequence, score)| (sequence, *score))).unwrap();
    }

    /// Returns the bytes of a part with `scores` as they should be.
    fn part(scores: &[(Key, Score)]) -> Bytes {
        let scores = beside(scores);
        let scores = scores.iter().map(|(sequence, score)| (sequence, *score));
        Part::new(&settings_sha256(&settings()), scores).to_bytes().into()
    }

    fn saved() -> (tempfile::TempDir, Saved) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(&dir.path().display().to_string(), &StorageConfig::default()).unwrap();
        let saved = Saved::open(&folder, &settings());
        (dir, saved)
    }

    fn found(saved: &Saved, sequences: &[Sequence]) -> Vec<(Key, Score)> {
        saved.read(sequences).unwrap().iter().collect()
    }

    #[test]
    fn saved_scores_come_back_in_all_digits_and_once() {
        let (_dir, saved) = saved();
        assert!(found(&saved, &sequences(3)).is_empty());
        save(&saved, &[score(2), score(0)]);
        save(&saved, &[score(0), score(1)]);
        save(&saved, &[]);
        assert_eq!(found(&saved, &sequences(3)), [score(0), score(1), score(2)]);
        assert_eq!(found(&saved, &sequences(1)), [score(0)], "a smaller limit leaves the others");
    }

    #[test]
    fn a_part_with_a_flipped_bit_or_cut_short_is_scored_again() {
        let (_dir, saved) = saved();
        save(&saved, &[score(0)]);
        let parts = saved.folder.folder(PARTS);
        let whole = part(&[score(1)]);
        for (index, _) in whole.iter().enumerate().step_by(3) {
            let mut broken = whole.to_vec();
            broken[index] ^= 1;
            parts.put("0.part", Bytes::from(broken)).unwrap();
            assert_eq!(found(&saved, &sequences(3)), [score(0)], "bit in byte {index}");
            parts.put("0.part", whole.slice(..index)).unwrap();
            assert_eq!(found(&saved, &sequences(3)), [score(0)], "cut at byte {index}");
        }
        parts.put("0.part", whole).unwrap();
        assert_eq!(found(&saved, &sequences(3)).len(), 2);
    }

    #[test]
    fn a_part_that_contradicts_another_is_left_out() {
        let (_dir, saved) = saved();
        save(&saved, &[score(0)]);
        let parts = saved.folder.folder(PARTS);
        // It is read after the other, by its name.
        let wrong = Score { log_likelihood: -9.0, ..score(0).1 };
        parts.put("zz.part", part(&[score(1), (score(0).0, wrong)])).unwrap();
        assert_eq!(found(&saved, &sequences(3)), [score(0)]);
        parts.put("zz.part", part(&[score(1)])).unwrap();
        assert_eq!(found(&saved, &sequences(3)), [score(0), score(1)], "what is right counts");
    }

    #[test]
    fn any_other_setting_has_another_folder() {
        let other = |change: fn(&mut Settings)| {
            let mut settings = settings();
            change(&mut settings);
            folder_name(&settings)
        };
        let names = [
            folder_name(&settings()),
            other(|s| s.manifest_sha256.push('x')),
            other(|s| s.tokenizer_hash.push('x')),
            other(|s| s.data_sha256.push('x')),
            other(|s| s.shots = 1),
            other(|s| s.lines = Some(1)),
            other(|s| s.stride_tokens = 4),
            other(|s| s.on_long = OnLong::Skip),
            other(|s| s.threads_per_rank = 2),
        ];
        let different: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len());
        assert!(names[0].starts_with("ptb-"));
    }
}
