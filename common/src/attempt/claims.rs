//! Claims, read by name: whoever holds the run, and whether one's own claim still stands.
//!
//! A listing may be behind, lack something or show what is gone, so that it only hints at where to look. A claim says which
//! claim is the run's first: one that was put late, into a folder that was begun anew meanwhile, names another, and is nobody's.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::claim::{ATTEMPTS_FOLDER, Attempt, Claim, claim_name};
use super::error::AttemptError;
use super::surroundings::{Surroundings, blocking};
use crate::sha256::hex_sha256;
use crate::storage::{Folder, ObjectInfo, StorageError};
use crate::untrusted::printable;

/// The highest number of an attempt: far from what a run can reach, and from where numbers overflow. What has a higher one in
/// its name is not a claim.
pub(super) const NUMBER_MAX: u32 = 99_999_999;
/// Characters of a host's name, of which the rest is for nobody.
const HOST_CHARACTERS_MAX: usize = 100;

impl Attempt {
    /// What attempt `number` claimed with this content. One that cannot be read is somebody's all the same.
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
                // Nobody knows that it promised anything.
                expiry_ms: Some(0),
            },
        }
    }

    /// Whether it belongs to the run whose first claim has the id `first`. Older versions do not say.
    pub(super) fn is_of(&self, first: Option<&String>) -> bool {
        self.first.is_none() || self.first.as_ref() == first
    }
}

/// Whether this can be the id of a claim.
fn is_id(id: &str) -> bool {
    (16..=64).contains(&id.len()) && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The number of the claim that an object in `attempts/` is, which has one spelling.
pub(super) fn claim_number(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".json")?.parse().ok()?;
    ((1..=NUMBER_MAX).contains(&number) && claim_name(number) == name).then_some(number)
}

/// Claim `number`, if there is one.
pub(super) async fn read_claim(run: &impl Surroundings, number: u32) -> Result<Option<Attempt>, StorageError> {
    let content = run.read(&format!("{ATTEMPTS_FOLDER}/{}", claim_name(number))).await?;
    Ok(content.map(|content| Attempt::parse(number, &content)))
}

/// The claims of a run, as far as the next one needs them.
pub(super) struct Claims {
    /// The one that holds the run.
    pub newest: Option<Attempt>,
    /// The id of the run's first.
    pub first: Option<String>,
    /// The next number; `None` where there is none left.
    pub next: Option<u32>,
}

impl Claims {
    /// Looks for the claims of `run`: from the highest one listed that is there, upwards by name.
    pub async fn look(run: &impl Surroundings) -> Result<Self, StorageError> {
        Self::among(run, &run.list(ATTEMPTS_FOLDER).await?).await
    }

    /// The same where `attempts/` has been listed.
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
                // A run that was begun a moment ago.
                Some(claim) if above == 1 => {
                    claims.first = Some(claim.id.clone());
                    claims.newest = Some(claim);
                }
                Some(claim) if claim.is_of(claims.first.as_ref()) => claims.newest = Some(claim),
                // Of a run that was here before: a number that nobody can have.
                Some(_) => {}
                None => {
                    claims.next = Some(above);
                    break;
                }
            }
        }
        Ok(claims)
    }

    /// The number of the newest; 0 where there is none.
    pub fn number(&self) -> u32 {
        self.newest.as_ref().map_or(0, |claim| claim.attempt)
    }
}

/// An error unless `mine` holds `run`: its claim is there and its own, the run is the one that it belongs to, and no newer
/// attempt has claimed it.
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
    /// `object` in `attempts/` is not what the attempt of claim `mine` has put there.
    pub(crate) fn vanished(run: &impl Surroundings, mine: &Claim, object: &str, what: &'static str) -> Self {
        let object = format!("{ATTEMPTS_FOLDER}/{object}");
        AttemptError::Vanished { run: run.url().to_owned(), mine: mine.number, object, what }
    }
}

/// The claim of attempt `number` of `run`, for whoever was told only the number.
pub fn claim_of(run: &Folder, number: u32) -> Result<Claim, AttemptError> {
    let claim = blocking(read_claim(run, number))?;
    let unknown = Claim { number, id: String::new() };
    claim
        .map(|claim| claim.claim())
        .ok_or_else(|| AttemptError::vanished(run, &unknown, &claim_name(number), "is gone"))
}

/// An error unless `mine` holds `run`, which its processes ask before everything that they cannot take back.
pub fn check_fence(run: &Folder, mine: &Claim) -> Result<(), AttemptError> {
    blocking(fence(run, mine))
}
