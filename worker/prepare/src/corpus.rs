//! Raw documents become token ids, on all cores.

use common::config::{OnBadDocument, PrepareConfig, StorageConfig};
use common::tokenizer::Tokenizer;
use sha2::{Digest, Sha256};

use crate::PrepareError;
use crate::inputs::{BadDocument, RawDocument, Source};
use crate::parallel;

/// How much is read before it is encoded; one object may be larger.
const GROUP_BYTES: u64 = 64 << 20;

/// One document.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    /// Its ids, without the end-of-text token before it.
    pub tokens: Vec<u16>,
    /// Length of its text in UTF-8.
    pub text_bytes: u64,
    /// A hash of the seed and its text, which decides on its side.
    pub hash: u64,
}

/// All documents, in the order of the inputs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Corpus {
    /// Those with text.
    pub documents: Vec<Document>,
    /// How many could not be read and were left out.
    pub skipped_documents: u64,
    /// How many had no text and were left out.
    pub empty_documents: u64,
}

/// Reads and encodes everything in `sources`.
pub fn read(
    sources: &[Source],
    config: &PrepareConfig,
    storage: &StorageConfig,
    tokenizer: &Tokenizer,
) -> Result<Corpus, PrepareError> {
    let mut corpus = Corpus::default();
    let total_bytes: u64 = sources.iter().map(|s| s.bytes).sum();
    let (mut rest, mut read_bytes) = (sources, 0);
    while !rest.is_empty() {
        let (group, after) = rest.split_at(group_length(rest));
        let mut raw = Vec::new();
        for documents in parallel::map(group, storage.concurrency as usize, Source::read) {
            match documents? {
                Ok(documents) => raw.extend(documents),
                Err(bad) => corpus.refuse(bad, config)?,
            }
        }
        for document in parallel::map(&raw, parallel::cores(), |raw| encode(raw, config, tokenizer)) {
            match document {
                Ok(document) if document.text_bytes == 0 => corpus.empty_documents += 1,
                Ok(document) => corpus.documents.push(document),
                Err(bad) => corpus.refuse(bad, config)?,
            }
        }
        rest = after;
        read_bytes += group.iter().map(|s| s.bytes).sum::<u64>();
        tracing::info!("encoded {:.1} of {:.1} MB", read_bytes as f64 / 1e6, total_bytes as f64 / 1e6);
    }
    Ok(corpus)
}

/// How many of `sources` are read at once: at least one, and no more than [`GROUP_BYTES`] if several.
fn group_length(sources: &[Source]) -> usize {
    let mut bytes = 0;
    let fits = sources.iter().take_while(|s| {
        bytes += s.bytes;
        bytes <= GROUP_BYTES
    });
    fits.count().max(1)
}

impl Corpus {
    fn refuse(&mut self, bad: BadDocument, config: &PrepareConfig) -> Result<(), PrepareError> {
        match config.on_bad_document {
            OnBadDocument::Fail => Err(PrepareError::BadDocument(bad)),
            OnBadDocument::Skip => {
                tracing::warn!("left out: {bad}");
                self.skipped_documents += 1;
                Ok(())
            }
        }
    }
}

fn encode(raw: &RawDocument<'_>, config: &PrepareConfig, tokenizer: &Tokenizer) -> Result<Document, BadDocument> {
    let text = raw.text(&config.text_field)?;
    let mut tokens = tokenizer.encode(&text);
    tokens.shrink_to_fit();
    Ok(Document { tokens, text_bytes: text.len() as u64, hash: seeded_hash(config.seed, text.as_bytes()) })
}

/// The first 8 bytes, little-endian, of SHA-256 over the seed (u64, little-endian) and `content`.
pub(crate) fn seeded_hash(seed: u64, content: &[u8]) -> u64 {
    let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(content).finalize();
    digest.iter().take(8).rev().fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeded_hash_is_pinned() {
        // printf '\x02\0\0\0\0\0\0\0abc' | sha256sum; the first 8 bytes, reversed.
        assert_eq!(format!("{:016x}", seeded_hash(2, b"abc")), "cc6d6db34d23386d");
    }
}
