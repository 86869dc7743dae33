//! What counts as a duplicate, which document of several stays, and what is compared with.

use serde::{Deserialize, Serialize};

use crate::clean::options::{Fault, OptionsError};
use crate::deduplicate::cluster::Keep;
use crate::deduplicate::options::MinHashOptions;

/// Fields by whose number the best document can be chosen.
pub const FIELDS: [&str; 1] = ["date"];

/// Rules of a deduplication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeduplicateOptions {
    /// Whether documents of one text are duplicates, by what [`normalise`](super::normalise) leaves of it. Default true.
    pub text: bool,
    /// Whether documents of one URL are duplicates, by what is [`comparable`](super::url::comparable) of it. Default true.
    pub url: bool,
    /// Whether documents with equal bands of their signatures are duplicates. Default true.
    pub near: bool,
    /// Whether paragraphs that an earlier document has, or an earlier place in their own, are removed from documents that stay.
    /// Default false.
    pub paragraphs: bool,
    /// Paragraphs that have fewer bytes when they are normalised are left alone. Default 1.
    pub paragraph_bytes: u32,
    /// Which document of a cluster stays. Default the earliest.
    pub keep: Keep,
    /// Folders of earlier deduplications, on any store. Documents that they have seen are not kept again. Default none.
    pub against: Vec<String>,
    /// Signatures, for `near`.
    pub minhash: MinHashOptions,
}

impl Default for DeduplicateOptions {
    fn default() -> Self {
        let (keep, minhash) = (Keep::default(), MinHashOptions::default());
        DeduplicateOptions {
            text: true,
            url: true,
            near: true,
            paragraphs: false,
            paragraph_bytes: 1,
            keep,
            against: Vec::new(),
            minhash,
        }
    }
}

impl DeduplicateOptions {
    /// Checks all values.
    ///
    /// # Errors
    /// Returns all faults.
    pub fn check(&self) -> Result<(), OptionsError> {
        let mut faults = self.minhash.check().map_or_else(|error| error.faults, |()| Vec::new());
        let mut fault = |key: &str, value: String, (expected, hint): (&'static str, &'static str)| {
            faults.push(Fault { key: key.to_owned(), value, expected, hint });
        };
        if !(self.text || self.url || self.near || self.paragraphs) {
            fault("near", "false".to_owned(), ONE_OF_THREE);
        }
        if let Keep::Best(field) = &self.keep
            && !FIELDS.contains(&field.as_str())
        {
            fault("keep.best", format!("{field:?}"), FIELD);
        }
        if faults.is_empty() { Ok(()) } else { Err(OptionsError { faults }) }
    }
}

/// What a value has to be, and what to do.
type Expected = (&'static str, &'static str);
const ONE_OF_THREE: Expected = (
    "at least one of text, url, near and paragraphs to be true",
    "leave one of them out, or leave out the stage deduplicate",
);
const FIELD: Expected =
    ("\"date\"", "write keep = { best = \"date\" } for the latest document, or \"earliest\" or \"longest\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_told_at_once() {
        DeduplicateOptions::default().check().unwrap();
        let options = DeduplicateOptions {
            text: false,
            url: false,
            near: false,
            keep: Keep::Best("karma".into()),
            minhash: MinHashOptions { bits: 12, ..MinHashOptions::default() },
            ..DeduplicateOptions::default()
        };
        let error = options.check().unwrap_err();
        let keys: Vec<&str> = error.faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, ["minhash.bits", "near", "keep.best"]);
        let latest = DeduplicateOptions { keep: Keep::Best("date".into()), ..DeduplicateOptions::default() };
        latest.check().unwrap();
    }

    #[test]
    fn options_are_read_with_defaults() {
        let options: DeduplicateOptions =
            serde_json::from_str(r#"{"keep": "longest", "minhash": {"bands": 20}}"#).unwrap();
        let minhash = MinHashOptions { bands: 20, ..MinHashOptions::default() };
        assert_eq!(options, DeduplicateOptions { keep: Keep::Longest, minhash, ..DeduplicateOptions::default() });
        let options: DeduplicateOptions = serde_json::from_str(r#"{"keep": {"best": "date"}}"#).unwrap();
        assert_eq!(options.keep, Keep::Best("date".into()));
    }
}
