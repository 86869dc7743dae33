//! Encodes a batch of raw documents to token ids, and determines the side and the place in the order of each document.

use common::tokenizer::Tokenizer;
use sha2::{Digest, Sha256};

use crate::inputs::{Batch, RawDocument, Source};
use crate::overlap::OverlapFilter;
use crate::sides::{Division, Side, text_hash};
use crate::tally::Tally;
use crate::text::text_of;

/// Parameters with which every document is encoded.
pub struct Encoder<'j> {
    /// Tokenizer that encodes.
    pub tokenizer: &'j Tokenizer,
    /// Value of `prepare.seed`.
    pub seed: u64,
    /// Division of the documents into sides.
    pub division: Division,
    /// Field of a JSON object that holds the text.
    pub text_field: &'j str,
    /// Sources of the documents, for errors.
    pub sources: &'j [Source],
    /// Filter of the texts with which no document may overlap.
    pub overlap: Option<&'j OverlapFilter>,
}

/// A document, or a part of a lone one, without its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Side of the document.
    pub side: Side,
    /// Place of the document in the order, unique on its side.
    pub key: u128,
    /// Byte at which the document's tokens begin.
    pub start: usize,
    /// Number of tokens, with the end-of-text before the document.
    pub tokens: u32,
}

/// An encoded batch.
#[derive(Debug, Default)]
pub struct Encoded {
    /// Documents of the batch.
    pub entries: Vec<Entry>,
    /// Tokens of all documents, u16, little-endian.
    pub tokens: Vec<u8>,
    /// Counts of what became of the documents.
    pub tally: Tally,
}

impl Encoder<'_> {
    /// Encodes `batch`.
    pub fn encode(&self, batch: &Batch) -> Encoded {
        let mut encoded = Encoded::default();
        // English has more than four bytes per token, so this is enough for most text, and wastes little.
        encoded.tokens.reserve_exact(batch.content.len() / 2);
        batch.bad.iter().for_each(|bad| encoded.tally.refuse(bad.clone()));
        let mut ids = Vec::new();
        for raw in &batch.documents {
            match text_of(batch, raw, self.text_field, self.sources) {
                Ok(text) if text.is_empty() => encoded.tally.empty += 1,
                Ok(text) if self.overlap.is_some_and(|filter| filter.overlaps(&text)) => encoded.tally.overlapping += 1,
                Ok(text) => self.push(&mut encoded, raw, &text, &mut ids),
                Err(bad) => encoded.tally.refuse(bad),
            }
        }
        encoded.tokens.shrink_to_fit();
        encoded
    }

    fn push(&self, encoded: &mut Encoded, raw: &RawDocument, text: &str, ids: &mut Vec<u16>) {
        let hash = text_hash(self.seed, text);
        let key = order_key(self.seed, raw.source, raw.position);
        let mut tokens_of_all = 0;
        for (side, part) in self.division.parts(text, hash) {
            ids.clear();
            ids.push(self.tokenizer.end_of_text());
            self.tokenizer.encode_into(part, ids);
            let start = encoded.tokens.len();
            encoded.tokens.resize(start + 2 * ids.len(), 0);
            for (bytes, id) in encoded.tokens[start..].chunks_exact_mut(2).zip(ids.iter()) {
                bytes.copy_from_slice(&id.to_le_bytes());
            }
            // The count fits: prepare.max_document_bytes bounds it, since a token has at least a byte.
            let tokens = ids.len() as u32;
            tokens_of_all += u64::from(tokens);
            encoded.entries.push(Entry { side, key, start, tokens });
        }
        encoded.tally.keep(text.len() as u64, tokens_of_all, hash);
    }
}

/// Returns a document's place in the order: the first 16 bytes, big-endian, of SHA-256 over the seed, the number of its
/// source, and its position there, each a little-endian u64.
pub fn order_key(seed: u64, source: u32, position: u64) -> u128 {
    let mut hasher = Sha256::new();
    for number in [seed, source.into(), position] {
        hasher.update(number.to_le_bytes());
    }
    hasher.finalize().iter().take(16).fold(0, |key, byte| key << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_key_is_pinned() {
        // python3: hashlib.sha256(struct.pack("<QQQ", 1, 2, 3)).hexdigest()[:32]
        assert_eq!(format!("{:032x}", order_key(1, 2, 3)), "e2e2033ae7e19d680599d4eb0a1359a2");
    }
}
