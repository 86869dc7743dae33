//! Leaves out documents that overlap with other texts, such as those of test sets: `prepare.overlap_filter`.
//!
//! The texts are known by a filter of their 8-grams, which `launcher eval --save-filter` has written. The decision about a
//! document is a function of its text, the filter and `prepare.overlap_share`, so ranks need not agree on it.

use common::config::{PrepareConfig, StorageConfig};
use common::storage::{Folder, Reader, StorageError};
use evaluation::overlap::{FALSE_POSITIVES_MAX, Filter, FilterError, grams};

use crate::PrepareError;

/// Filter of the texts with which no document may overlap.
pub struct OverlapFilter {
    filter: Filter,
    share: f64,
    sha256: String,
}

impl OverlapFilter {
    /// Reads the filter that `config` names, if any.
    pub fn open(config: &PrepareConfig, storage: &StorageConfig) -> Result<Option<Self>, PrepareError> {
        if !config.has_overlap_filter() {
            return Ok(None);
        }
        let file = Folder::open(&config.overlap_filter, storage)?;
        let missing = || PrepareError::NoFilter { url: file.url().to_owned() };
        let bytes = match file.parent().map(|_| file.size("")) {
            Some(Ok(bytes)) => bytes,
            None | Some(Err(StorageError::NotFound { .. })) => return Err(missing()),
            Some(Err(error)) => return Err(error.into()),
        };
        let filter = Filter::read_from(file.reader("", 0..bytes), bytes).map_err(|error| explained(&file, error))?;
        let rate = filter.false_positives();
        if rate > FALSE_POSITIVES_MAX {
            let url = file.url();
            tracing::warn!("{url} holds more than it is made for: {rate:.1e} of foreign 8-grams are taken for its own");
        }
        Ok(Some(Self::new(filter, config.overlap_share)))
    }

    fn new(filter: Filter, share: f64) -> Self {
        OverlapFilter { sha256: filter.identity(), filter, share }
    }

    /// Returns what identifies the filter: [`Filter::identity`].
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Returns whether at least the share of the grams of `text` is in the filter. A text of fewer than eight words has none.
    pub fn overlaps(&self, text: &str) -> bool {
        let (mut all, mut found) = (0_u64, 0_u64);
        grams(text, self.filter.seed(), |gram| {
            all += 1;
            found += u64::from(self.filter.contains(gram));
        });
        // Both sides are the nearest numbers to what is meant, so that 3 of 10 are a share of 0.3.
        found > 0 && found as f64 / all as f64 >= self.share
    }
}

/// Returns the error of the store behind `error`, or else what is wrong with the file.
fn explained(file: &Folder, error: FilterError) -> PrepareError {
    match Reader::storage_error(&error) {
        Some(error) => error.clone().into(),
        None => PrepareError::Filter { url: file.url().to_owned(), error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_overlaps_from_the_share_on_and_a_short_one_never() {
        let mut filter = Filter::new(100, 1).unwrap();
        filter.insert_text("one two three four five six seven eight nine ten");
        // Of its ten grams, the first three are in the filter.
        let text = "One, two, three, four, five, six, seven, eight, nine, TEN! a b c d e f g";
        for (share, overlaps) in [(1e-9, true), (0.3, true), (0.301, false), (1.0, false)] {
            assert_eq!(OverlapFilter::new(filter.clone(), share).overlaps(text), overlaps, "{share}");
        }
        let all = OverlapFilter::new(filter, 1.0);
        assert!(all.overlaps("two three four five six seven eight nine"));
        assert!(!all.overlaps("two three four five six seven eight") && !all.overlaps(""));
    }
}
