//! A row of lineage.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::stages::bounded::{URL_BYTES_MAX, cut};

/// Longest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 256;
/// Longest name of a rule, and longest date, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// What a stage has decided about a document, or about a damaged record.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Id of the document, which it keeps through all stages. See [`id_in_words`].
    pub id: u128,
    /// URL of the object that the document comes from, without secrets.
    pub source: String,
    /// Place in that object: the first byte of the record, or of the gzip member or zstd frame in which it begins; for a
    /// document that already is text, its position.
    pub at: u64,
    /// Number of unpacked bytes before the record in that member or frame.
    pub within: u64,
    /// Address of the document.
    pub url: Option<String>,
    /// Date of the document, as its source has it.
    pub date: Option<String>,
    /// What was decided.
    pub verdict: Verdict,
    /// Rule that decided; empty where the document was kept.
    pub rule: String,
    /// Measure of that rule.
    pub measure: Option<f64>,
    /// Limit of that rule.
    pub limit: Option<f64>,
    /// Bytes of the document when it came to the stage.
    pub bytes_in: u64,
    /// Bytes of its text when it left the stage; 0 where it was dropped.
    pub bytes_out: u64,
    /// What else is to say, for people.
    pub note: String,
}

/// What a stage has decided about a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The document goes on to the next stage.
    Kept,
    /// A rule has dropped the document.
    Dropped,
    /// The record could not be read.
    Damaged,
}

impl Verdict {
    /// Returns the name by which the verdict is stored.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Kept => "kept",
            Verdict::Dropped => "dropped",
            Verdict::Damaged => "damaged",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Verdict {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let verdicts = [Verdict::Kept, Verdict::Dropped, Verdict::Damaged];
        verdicts.into_iter().find(|verdict| verdict.name() == name).ok_or_else(|| format!("{name:?} is no verdict"))
    }
}

impl Line {
    /// Returns this with every text cut to its bound.
    pub fn bounded(mut self) -> Self {
        cut(&mut self.source, URL_BYTES_MAX);
        cut(&mut self.rule, NAME_BYTES_MAX);
        cut(&mut self.note, NOTE_BYTES_MAX);
        self.url.iter_mut().for_each(|url| cut(url, URL_BYTES_MAX));
        self.date.iter_mut().for_each(|date| cut(date, NAME_BYTES_MAX));
        self
    }
}

/// Returns the id of a document as 32 hex digits.
pub fn id_in_words(id: u128) -> String {
    format!("{id:032x}")
}
