//! Scores that a job has saved, in a folder for each task and its settings.
//!
//! Every rank saves what it has scored since its last save as a new *part*: a line with the SHA-256 of the rest, and the rest as
//! JSON. A job that was killed goes on from the parts that are there. They are input from outside: a part that is damaged, or
//! that contradicts another, is left out with a warning, and its items are scored again.

use std::collections::HashMap;

use bytes::Bytes;
use common::random::random_hex;
use common::sha256::hex_sha256;
use common::storage::{Folder, StorageError};
use evaluation::report::Settings;
use evaluation::{Key, Score, Scores, Sequence};
use serde::{Deserialize, Serialize};

/// Version of the format of parts.
const VERSION: u32 = 2;
/// Folder of the parts.
const PARTS: &str = "scores";
/// Size of the largest part that is read, in bytes.
const PART_BYTES_MAX: u64 = 1 << 30;
/// Characters of a hash in the name of a folder.
const NAME_CHARACTERS: usize = 16;

/// Returns the name of the folder for `settings`: scores with other settings are in another one.
pub fn folder_name(settings: &Settings) -> String {
    format!("{}-{}", settings.task, &sha256(settings)[..NAME_CHARACTERS])
}

fn sha256(settings: &Settings) -> String {
    let json = serde_json::to_string(settings);
    hex_sha256(json.unwrap_or_else(|e| unreachable!("settings are JSON: {e}")).as_bytes())
}

/// The saved scores of a task.
pub struct Saved {
    folder: Folder,
    settings_sha256: String,
}

/// Contents of a part.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    version: u32,
    settings_sha256: String,
    scores: Vec<Entry>,
}

/// Score of one sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: Key,
    /// Beginning of a hash of the sequence, which a task that asks otherwise in another build does not have.
    sequence: String,
    score: Score,
}

impl Entry {
    fn new(sequence: &Sequence, score: Score) -> Self {
        Entry { key: sequence.key, sequence: identity(sequence), score }
    }
}

/// Returns the beginning of a hash of a sequence's tokens, and of which of them are scored how.
fn identity(sequence: &Sequence) -> String {
    let mut bytes = (sequence.first_scored as u64).to_le_bytes().to_vec();
    bytes.extend((sequence.ids.len() as u64).to_le_bytes());
    bytes.extend(sequence.ids.iter().chain(sequence.barred.iter()).flat_map(|id| id.to_le_bytes()));
    hex_sha256(&bytes)[..NAME_CHARACTERS].to_owned()
}

impl Saved {
    /// Opens the folder of a task with `settings` below `evaluations`. Nothing is read or written yet.
    pub fn open(evaluations: &Folder, settings: &Settings) -> Self {
        Saved { folder: evaluations.folder(&folder_name(settings)), settings_sha256: sha256(settings) }
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Saves `scores`, each with its sequence, as a new part. They are durable when this returns.
    pub fn save<'s>(&self, scores: impl Iterator<Item = (&'s Sequence, Score)>) -> Result<(), StorageError> {
        let scores: Vec<Entry> = scores.map(|(sequence, score)| Entry::new(sequence, score)).collect();
        if scores.is_empty() {
            return Ok(());
        }
        let part = Part { version: VERSION, settings_sha256: self.settings_sha256.clone(), scores };
        self.folder.folder(PARTS).put(&format!("{}.part", random_hex()), to_bytes(&part))
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
            if let Err(reason) = self.take(&content, &expected, &mut scores) {
                let url = parts.url_of(&object.name);
                tracing::warn!("{url} is left out, and its items are scored again: {reason}");
            }
        }
        Ok(scores)
    }

    /// Adds the scores of a part, all or none.
    fn take(&self, content: &[u8], expected: &HashMap<Key, &Sequence>, scores: &mut Scores) -> Result<(), String> {
        let part = from_bytes(content)?;
        if part.settings_sha256 != self.settings_sha256 {
            return Err("it belongs to other settings".into());
        }
        let mut new = Scores::default();
        for Entry { key, sequence, score } in part.scores {
            let Some(known) = expected.get(&key) else { continue };
            if identity(known) != sequence {
                return Err(format!("{key:?} is of other tokens than the task has now"));
            }
            if score.tokens as usize != known.targets().len() {
                return Err(format!("{key:?} has {} scored tokens, expected {}", score.tokens, known.targets().len()));
            }
            match scores.get(key) {
                None => new.insert(key, score).map_err(|error| error.to_string())?,
                Some(known) if known == score => {}
                Some(_) => return Err(format!("{key:?} has another score than in another part")),
            }
        }
        new.iter().try_for_each(|(key, score)| scores.insert(key, score)).map_err(|error| error.to_string())
    }
}

fn to_bytes(part: &Part) -> Bytes {
    let json = serde_json::to_string(part).unwrap_or_else(|e| unreachable!("a part is JSON: {e}"));
    Bytes::from(format!("{}\n{json}\n", hex_sha256(format!("{json}\n").as_bytes())))
}

fn from_bytes(content: &[u8]) -> Result<Part, String> {
    let damaged = || "its contents do not match its hash".to_owned();
    let end = content.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
    let (hash, rest) = (&content[..end], &content[end + 1..]);
    if hash != hex_sha256(rest).as_bytes() {
        return Err(damaged());
    }
    let part: Part = serde_json::from_slice(rest).map_err(|error| error.to_string())?;
    if part.version != VERSION {
        return Err(format!("version {}, expected {VERSION}: written by another Convoy", part.version));
    }
    Ok(part)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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

    /// Returns a part with `scores` as they should be.
    fn part(scores: &[(Key, Score)]) -> Part {
        let scores = beside(scores).iter().map(|(sequence, score)| Entry::new(sequence, *score)).collect();
        Part { version: VERSION, settings_sha256: sha256(&settings()), scores }
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
        let whole = to_bytes(&part(&[score(1)]));
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
    fn a_part_that_states_what_cannot_be_is_left_out() {
        let (_dir, saved) = saved();
        save(&saved, &[score(0)]);
        let (key, right) = score(1);
        let impossible = |score: Score| part(&[(key, score)]);
        let wrong = Score { log_likelihood: -9.0, ..right };
        let mut of_other_tokens = impossible(right);
        of_other_tokens.scores[0].sequence = identity(&Sequence { ids: vec![1, 2, 4], ..sequences(1).remove(0) });
        let parts = [
            impossible(Score { tokens: 7, ..right }),
            impossible(Score { log_likelihood: 3.0, ..right }),
            Part { settings_sha256: "x".into(), ..impossible(right) },
            Part { version: VERSION + 1, ..impossible(right) },
            part(&[(key, right), (key, wrong)]),
            of_other_tokens,
            // It contradicts the other, after which it is read, by its name.
            part(&[(score(0).0, wrong)]),
        ];
        for part in parts {
            saved.folder.folder(PARTS).put("zz.part", to_bytes(&part)).unwrap();
            assert_eq!(found(&saved, &sequences(3)), [score(0)], "{part:?}");
        }
        saved.folder.folder(PARTS).put("zz.part", to_bytes(&impossible(right))).unwrap();
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
