//! Reads claims by name: which one holds the run, and whether one's own still stands.
//!
//! A listing may be stale, incomplete, or show what is gone, so it only hints at where to look. Each claim names the run's
//! first claim. A claim that was put late, into a folder that was begun anew meanwhile, names another, and belongs to nobody.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::claim::{ATTEMPTS_FOLDER, Attempt, Claim, claim_name};
use super::error::AttemptError;
use super::surroundings::{Surroundings, blocking};
use crate::sha256::hex_sha256;
use crate::storage::{Folder, ObjectInfo, StorageError};
use crate::untrusted::printable;

/// Highest number of an attempt: far from what a run can reach, and far from overflow. An object with a higher number in its
/// name is not a claim.
pub(super) const NUMBER_MAX: u32 = 99_999_999;
/// Number of characters of a host's name that are kept.
const HOST_CHARACTERS_MAX: usize = 100;

impl Attempt {
    /// Reads the content of claim `number`. A claim that cannot be read belongs to somebody nevertheless.
    fn parse(number: u32, content: &Bytes) -> Self {
        let said: Option<Attempt> = serde_json::from_slice(content).ok();
        match said {
            Some(said) if said.attempt == number && is_id(&said.id) => Attempt {
                host: printable(&said.host.chars().take(HOST_CHARACTERS_MAX).collect::<String>()).into_owned(),
                first: said.first.filter(|id| is_id(id)),
                ..said
            },
            _ => Attempt {
                attempt: number,
                id: hex_sha256(content),
                claimed_at_unix_s: 0,
                host: "unknown".to_owned(),
                pid: 0,
                process: None,
                ranks: 0,
                version: String::new(),
                first: None,
                // An unreadable claim has promised nothing.
                expiry_ms: Some(0),
            },
        }
    }

    /// Returns whether the claim belongs to the run whose first claim has the id `first`. Claims of older versions do not
    /// say, and count as belonging.
    pub(super) fn is_of(&self, first: Option<&String>) -> bool {
        self.first.is_none() || self.first.as_ref() == first
    }
}

/// Returns whether `id` can be the id of a claim.
fn is_id(id: &str) -> bool {
    (16..=64).contains(&id.len()) && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns the number of the claim that the object `name` in `attempts/` is, if it is one. Each claim has one spelling.
pub(super) fn claim_number(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".json")?.parse().ok()?;
    ((1..=NUMBER_MAX).contains(&number) && claim_name(number) == name).then_some(number)
}

/// Reads claim `number`, if it exists.
pub(super) async fn read_claim(run: &impl Surroundings, number: u32) -> Result<Option<Attempt>, StorageError> {
    let content = run.read(&format!("{ATTEMPTS_FOLDER}/{}", claim_name(number))).await?;
    Ok(content.map(|content| Attempt::parse(number, &content)))
}

/// Claims of a run, as far as the next one depends on them.
pub(super) struct Claims {
    /// Claim that holds the run.
    pub newest: Option<Attempt>,
    /// Id of the run's first claim.
    pub first: Option<String>,
    /// Number of the next claim; `None` if there is none left.
    pub next: Option<u32>,
}

impl Claims {
    /// Looks up the claims of `run`: from the highest listed one that exists, upwards by name.
    pub async fn look(run: &impl Surroundings) -> Result<Self, StorageError> {
        Self::among(run, &run.list(ATTEMPTS_FOLDER).await?).await
    }

    /// Looks up the claims of `run`, given a listing of `attempts/`.
    pub async fn among(run: &impl Surroundings, listed: &[ObjectInfo]) -> Result<Self, StorageError> {
        let numbers: BTreeSet<u32> = listed.iter().filter_map(|object| claim_number(&object.name)).collect();
        let first = read_claim(run, 1).await?.map(|claim| claim.id);
        let mut newest = None;
        for number in numbers.into_iter().rev() {
            newest = read_claim(run, number).await?.filter(|claim| claim.is_of(first.as_ref()));
            if newest.is_some() {
                break;
            }
        }
        let mut claims = Claims { newest, first, next: None };
        let mut above = claims.newest.as_ref().map_or(0, |claim| claim.attempt);
        while above < NUMBER_MAX {
            above += 1;
            match read_claim(run, above).await? {
                // The run was begun a moment ago.
                Some(claim) if above == 1 => {
                    claims.first = Some(claim.id.clone());
                    claims.newest = Some(claim);
                }
                Some(claim) if claim.is_of(claims.first.as_ref()) => claims.newest = Some(claim),
                // A claim of an earlier run in this folder: its number is taken.
                Some(_) => {}
                None => {
                    claims.next = Some(above);
                    break;
                }
            }
        }
        Ok(claims)
    }

    /// Returns the number of the newest claim, or 0 if there is none.
    pub fn number(&self) -> u32 {
        self.newest.as_ref().map_or(0, |claim| claim.attempt)
    }
}

/// Fails unless `mine` holds `run`: its claim exists with its id, the run in the folder is the one that it belongs to, and
/// no newer attempt has claimed that run.
pub(crate) async fn fence(run: &impl Surroundings, mine: &Claim) -> Result<(), AttemptError> {
    let vanished = |number, what| AttemptError::vanished(run, mine, &claim_name(number), what);
    let claim = match read_claim(run, mine.number).await? {
        None => return Err(vanished(mine.number, "is gone")),
        Some(claim) if claim.id != mine.id => return Err(vanished(mine.number, "is another run's")),
        Some(claim) => claim,
    };
    let first = claim.first.as_ref();
    if mine.number > 1 && first.is_some() {
        match read_claim(run, 1).await? {
            None => return Err(vanished(1, "is gone")),
            Some(there) if Some(&there.id) != first => return Err(vanished(1, "is another run's")),
            Some(_) => {}
        }
    }
    for above in mine.number + 1..=NUMBER_MAX {
        match read_claim(run, above).await? {
            None => break,
            Some(newer) if first.is_none() || newer.is_of(first) => {
                return Err(AttemptError::Fenced { run: run.url().to_owned(), mine: mine.number, newer: above });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

impl AttemptError {
    /// Returns the error that `object` in `attempts/` is not what the attempt of claim `mine` has put there.
    pub(crate) fn vanished(run: &impl Surroundings, mine: &Claim, object: &str, what: &'static str) -> Self {
        let object = format!("{ATTEMPTS_FOLDER}/{object}");
        AttemptError::Vanished { run: run.url().to_owned(), mine: mine.number, object, what }
    }
}

/// Returns the claim of attempt `number` of `run`, for processes that know only the number.
pub fn claim_of(run: &Folder, number: u32) -> Result<Claim, AttemptError> {
    let claim = blocking(read_claim(run, number))?;
    let unknown = Claim { number, id: String::new() };
    claim
        .map(|claim| claim.claim())
        .ok_or_else(|| AttemptError::vanished(run, &unknown, &claim_name(number), "is gone"))
}

/// Fails unless `mine` holds `run`. A run's processes call this before everything that cannot be undone.
pub fn check_fence(run: &Folder, mine: &Claim) -> Result<(), AttemptError> {
    blocking(fence(run, mine))
}
