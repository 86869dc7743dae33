//! What a file has, and the header that says so.

use crate::deduplicate::file::{HEADER_BYTES, MAGIC, VERSION};
use crate::deduplicate::normalise::TEXT_RULES;
use crate::deduplicate::options::MinHashOptions;
use crate::deduplicate::record::{
    Cluster, Decision, Edge, Facts, Keyed, Member, Membership, Occurrence, Question, Record, Repeat, Verdict,
};

/// Numbers of a header.
pub(super) const FIELDS: usize = 10;
/// Name of the one that is the width of a record.
pub(super) const WIDTH: &str = "bytes of a record";
/// Their names, for errors.
pub(super) const NAMES: [&str; FIELDS] = [
    "version",
    "kind of records",
    "band",
    WIDTH,
    "bands",
    "rows",
    "bits",
    "words of a shingle",
    "seed",
    "version of the rules for texts",
];

/// What a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Kind 1: [`Keyed`] documents by the keys of a band.
    Band {
        /// Number of the band, from 0.
        number: u32,
        /// Parameters of the signatures.
        options: MinHashOptions,
    },
    /// Kind 2: signatures by document. A record is its number and its hashes.
    Signatures(MinHashOptions),
    /// Kind 3: [`Keyed`] documents by their texts.
    Texts,
    /// Kind 4: [`Keyed`] documents by their URLs.
    Urls,
    /// Kind 5: [`Occurrence`]s of paragraphs.
    Paragraphs,
    /// Kind 6: [`Repeat`]s of paragraphs.
    Repeats,
    /// Kind 7: [`Edge`]s.
    Edges,
    /// Kind 8: [`Membership`]s.
    Memberships,
    /// Kind 9: [`Member`]s.
    Members,
    /// Kind 10: [`Cluster`]s.
    Clusters,
    /// Kind 11: [`Decision`]s.
    Decisions,
    /// Kind 12: [`Facts`] of documents, with sketches of signatures of these parameters.
    Facts(MinHashOptions),
    /// Kind 13: [`Question`]s.
    Questions,
    /// Kind 14: [`Verdict`]s.
    Verdicts,
}

impl Content {
    /// Returns the width of a record.
    pub fn record_bytes(&self) -> usize {
        self.kind().1
    }

    /// Returns the number of the kind, and the width of its records.
    fn kind(&self) -> (u64, usize) {
        match self {
            Content::Band { .. } => (1, Keyed::BYTES),
            Content::Signatures(options) => {
                (2, options.hashes().saturating_mul(options.hash_bytes()).saturating_add(size_of::<u64>()))
            }
            Content::Texts => (3, Keyed::BYTES),
            Content::Urls => (4, Keyed::BYTES),
            Content::Paragraphs => (5, Occurrence::BYTES),
            Content::Repeats => (6, Repeat::BYTES),
            Content::Edges => (7, Edge::BYTES),
            Content::Memberships => (8, Membership::BYTES),
            Content::Members => (9, Member::BYTES),
            Content::Clusters => (10, Cluster::BYTES),
            Content::Decisions => (11, Decision::BYTES),
            Content::Facts(_) => (12, Facts::BYTES),
            Content::Questions => (13, Question::BYTES),
            Content::Verdicts => (14, Verdict::BYTES),
        }
    }

    /// Returns the numbers of the header, in their order there.
    pub(super) fn fields(&self) -> [u64; FIELDS] {
        let (kind, bytes) = self.kind();
        let (band, minhash) = match self {
            Content::Band { number, options } => (*number, numbers(options)),
            Content::Signatures(options) | Content::Facts(options) => (0, numbers(options)),
            _ => (0, [0; 5]),
        };
        let [bands, rows, bits, words, seed] = minhash;
        let text_rules = u64::from(TEXT_RULES);
        [VERSION, kind, u64::from(band), bytes as u64, bands, rows, bits, words, seed, text_rules]
    }

    pub(super) fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        let (magic, fields) = header.split_at_mut(MAGIC.len());
        magic.copy_from_slice(&MAGIC);
        for (into, field) in fields.as_chunks_mut::<8>().0.iter_mut().zip(self.fields()) {
            *into = field.to_le_bytes();
        }
        header
    }
}

fn numbers(options: &MinHashOptions) -> [u64; 5] {
    let MinHashOptions { bands, rows, bits, words, seed } = *options;
    [u64::from(bands), u64::from(rows), u64::from(bits), u64::from(words), seed]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_their_numbers_in_their_places() {
        let options = MinHashOptions { seed: 258, ..MinHashOptions::default() };
        let header = Content::Band { number: 13, options }.header();
        assert_eq!(header.len(), 88);
        assert_eq!(&header[..8], b"CNVDEDUP");
        let numbers: Vec<u64> = header[8..].as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        assert_eq!(numbers, [1, 1, 13, 24, 14, 8, 64, 5, 258, 1]);
        assert_eq!(Content::Texts.fields(), [1, 3, 0, 24, 0, 0, 0, 0, 0, 1]);
        assert_eq!(Content::Signatures(options).record_bytes(), 904);
        assert_eq!(Content::Signatures(MinHashOptions { bits: 16, ..options }).record_bytes(), 232);
    }
}
