//! Saved scores as bytes: a line with the SHA-256 of the rest, and the rest as JSON.
//!
//! A part is input from outside. One that is damaged, or that contradicts what is known, is refused as a whole. Where parts lie,
//! and when they are written, is their owner's matter.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hex::hex;
use crate::report::Settings;
use crate::score::{Score, Scores};
use crate::tokens::{Key, Sequence};

/// Version of the format.
pub const VERSION: u32 = 2;
/// Characters of the hash that identifies a sequence.
const IDENTITY_CHARACTERS: usize = 16;

/// Some scores of a task, with what they were made with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
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

/// Returns the SHA-256 of settings, in hexadecimal.
pub fn settings_sha256(settings: &Settings) -> String {
    let json = serde_json::to_string(settings);
    sha256(json.unwrap_or_else(|e| unreachable!("settings are JSON: {e}")).as_bytes())
}

fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

/// Returns the beginning of a hash of a sequence's tokens, and of which of them are scored how.
fn identity(sequence: &Sequence) -> String {
    let mut bytes = (sequence.first_scored as u64).to_le_bytes().to_vec();
    bytes.extend((sequence.ids.len() as u64).to_le_bytes());
    bytes.extend(sequence.ids.iter().chain(sequence.barred.iter()).flat_map(|id| id.to_le_bytes()));
    sha256(&bytes)[..IDENTITY_CHARACTERS].to_owned()
}

impl Part {
    /// Returns the part of `scores`, each with its sequence.
    pub fn new<'s>(settings_sha256: &str, scores: impl Iterator<Item = (&'s Sequence, Score)>) -> Self {
        let entry =
            |(sequence, score): (&Sequence, Score)| Entry { key: sequence.key, sequence: identity(sequence), score };
        Part { version: VERSION, settings_sha256: settings_sha256.to_owned(), scores: scores.map(entry).collect() }
    }

    /// Returns whether it has no score.
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// Returns the bytes of the part.
    pub fn to_bytes(&self) -> Vec<u8> {
        let json = serde_json::to_string(self).unwrap_or_else(|e| unreachable!("a part is JSON: {e}")) + "\n";
        format!("{}\n{json}", sha256(json.as_bytes())).into_bytes()
    }

    /// Reads a part.
    ///
    /// # Errors
    /// Returns why it is none of this version, or is damaged.
    pub fn from_bytes(content: &[u8]) -> Result<Self, String> {
        let damaged = || "its contents do not match its hash".to_owned();
        let end = content.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
        let (hash, rest) = (&content[..end], &content[end + 1..]);
        if hash != sha256(rest).as_bytes() {
            return Err(damaged());
        }
        let part: Part = serde_json::from_slice(rest).map_err(|error| error.to_string())?;
        if part.version != VERSION {
            return Err(format!("version {}, expected {VERSION}: written by another Convoy", part.version));
        }
        Ok(part)
    }

    /// Adds the scores of the part to `scores`, all or none. Those of other sequences than the `expected` ones are passed over.
    ///
    /// # Errors
    /// Returns what cannot be, or contradicts what is known.
    pub fn add_to(
        self,
        scores: &mut Scores,
        settings_sha256: &str,
        expected: &HashMap<Key, &Sequence>,
    ) -> Result<(), String> {
        if self.settings_sha256 != settings_sha256 {
            return Err("it belongs to other settings".into());
        }
        let mut new = Scores::default();
        for Entry { key, sequence, score } in self.scores {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn sequence(item: u32) -> Sequence {
        let key = Key { item, request: 0, window: 0 };
        Sequence { key, ids: vec![1, 2, 3], first_scored: 1, barred: Arc::from([]) }
    }

    fn score(log_likelihood: f64) -> Score {
        Score { log_likelihood, tokens: 2, ..Score::NONE }
    }

    fn part(scores: &[(Sequence, Score)]) -> Part {
        Part::new("settings", scores.iter().map(|(sequence, score)| (sequence, *score)))
    }

    /// Returns what becomes of scores that have a score of item 0 when they are given `part`'s bytes.
    fn taken(part: &Part) -> Result<Vec<u32>, String> {
        let sequences = [0, 1, 2].map(sequence);
        let expected = sequences.iter().map(|sequence| (sequence.key, sequence)).collect();
        let mut scores = Scores::default();
        scores.insert(sequences[0].key, score(-0.1)).unwrap();
        let taken = Part::from_bytes(&part.to_bytes())?.add_to(&mut scores, "settings", &expected);
        let items: Vec<u32> = scores.iter().map(|(key, _)| key.item).collect();
        assert!(taken.is_ok() || items == [0], "all or none: {items:?}");
        taken.map(|()| items)
    }

    #[test]
    fn a_part_comes_back_in_all_digits_and_adds_what_is_asked_for() {
        let whole = part(&[(sequence(1), score(-0.1 - 1.0 / 3.0)), (sequence(7), score(-1.0))]);
        assert_eq!(Part::from_bytes(&whole.to_bytes()).as_ref(), Ok(&whole));
        assert_eq!(taken(&whole), Ok(vec![0, 1]));
        assert_eq!(taken(&part(&[(sequence(0), score(-0.1))])), Ok(vec![0]), "a score that is known already");
        assert!(part(&[]).is_empty() && !whole.is_empty());
    }

    #[test]
    fn a_part_with_a_flipped_bit_or_cut_short_is_refused() {
        let whole = part(&[(sequence(1), score(-1.0))]).to_bytes();
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 1;
            assert!(Part::from_bytes(&broken).is_err(), "bit in byte {at}");
            assert!(Part::from_bytes(&whole[..at]).is_err(), "cut at byte {at}");
        }
    }

    #[test]
    fn a_part_that_states_what_cannot_be_is_refused_as_a_whole() {
        let right = part(&[(sequence(1), score(-1.0))]);
        let of_other_tokens = Sequence { ids: vec![1, 2, 4], ..sequence(1) };
        for (wrong, reason) in [
            (part(&[(sequence(1), Score { tokens: 7, ..score(-1.0) })]), "7 scored tokens, expected 2"),
            (part(&[(sequence(2), score(-1.0)), (sequence(1), score(3.0))]), "a log-likelihood of 3"),
            (part(&[(sequence(1), score(-1.0)), (sequence(1), score(-9.0))]), "scored twice"),
            (part(&[(of_other_tokens, score(-1.0))]), "other tokens than the task has now"),
            (part(&[(sequence(1), score(-1.0)), (sequence(0), score(-9.0))]), "another score than in another part"),
            (Part { settings_sha256: "x".into(), ..right.clone() }, "other settings"),
            (Part { version: VERSION + 1, ..right.clone() }, "written by another Convoy"),
        ] {
            let refused = taken(&wrong).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
        assert_eq!(taken(&right), Ok(vec![0, 1]));
    }
}
