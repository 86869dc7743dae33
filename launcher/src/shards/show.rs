//! Shows a data set: its totals from the index, and some tokens as text, read block by block, each verified.

use std::ops::Range;

use common::storage::Folder;
use common::token_shard::{
    BLOCK_BYTES, HEADER_BYTES, INDEX_NAME, Index, ShardEntry, ShardError, TOKEN_BYTES, decode_tokens,
};
use common::tokenizer::Tokenizer;
use serde::Serialize;
use serde_json::Value;

use super::{DataSet, Found, ShardsError};
use crate::view::figures::with_thousands;

/// Name of the record that prepare writes beside its two folders.
const PREPARE_RECORD: &str = "prepare.json";

/// Range of tokens to show.
pub struct Wanted<'a> {
    /// Position of the first token, counted over all shards of the first set.
    pub at: u64,
    /// Number of tokens; 0 for totals only.
    pub tokens: u64,
    /// Tokenizer to use; `None` for the one that the index names.
    pub tokenizer: Option<&'a str>,
}

/// Result of `launcher shards show`.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Totals for training and for validation, or for the folder that was given.
    pub sets: Vec<Totals>,
    /// Bytes of text per token over all sets; `None` without prepare's record.
    pub bytes_per_token: Option<f64>,
    /// Excerpt of the first set.
    pub excerpt: Option<Excerpt>,
}

/// Totals of a data set, as its index says.
#[derive(Debug, Serialize)]
pub struct Totals {
    url: String,
    shards: u64,
    tokens: u64,
    documents: u64,
    bytes: u64,
    tokenizer: String,
    tokenizer_hash: String,
    vocabulary: u32,
}

/// Some consecutive tokens of a data set.
#[derive(Debug, PartialEq, Serialize)]
pub struct Excerpt {
    url: String,
    at: u64,
    tokens: u64,
    /// Documents that the tokens belong to, or parts of them.
    documents: Vec<Part>,
}

/// The tokens of one document in an excerpt.
#[derive(Debug, PartialEq, Serialize)]
struct Part {
    /// Position of the part's first token.
    at: u64,
    /// Whether the document begins here, with an end-of-text token.
    begins: bool,
    ids: Vec<u16>,
    /// Text without that end-of-text token. Bytes that are not UTF-8, as at an end within a character, are U+FFFD.
    text: String,
}

impl Shown {
    /// Reads totals and the excerpt that `wanted` describes.
    pub fn read(found: &Found, wanted: &Wanted<'_>) -> Result<Self, ShardsError> {
        let indexes = found.sets.iter().map(DataSet::parse).collect::<Result<Vec<_>, _>>()?;
        let sets: Vec<Totals> = found.sets.iter().zip(&indexes).map(|(set, index)| Totals::of(set, index)).collect();
        let excerpt = match (wanted.tokens, found.sets.first().zip(indexes.first())) {
            (0, _) | (_, None) => None,
            (_, Some((set, index))) => Some(Excerpt::read(set, index, wanted)?),
        };
        let tokens = sets.iter().map(|set| set.tokens).fold(0, u64::saturating_add);
        Ok(Shown { bytes_per_token: bytes_per_token(&found.root, tokens), sets, excerpt })
    }

    /// Formats the totals and the excerpt as lines for people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.sets.iter().flat_map(Totals::lines).collect();
        lines.extend(self.bytes_per_token.map(|bytes| format!("{bytes:.2} bytes of text per token")));
        lines.extend(self.excerpt.iter().flat_map(Excerpt::lines));
        lines
    }
}

/// Returns bytes of text per token from prepare's record, which counts both sides. A folder of one side has no record beside
/// it.
fn bytes_per_token(root: &Folder, tokens: u64) -> Option<f64> {
    let record: Value = serde_json::from_slice(&root.get(PREPARE_RECORD).ok()?).ok()?;
    let bytes = record.pointer("/totals/text_bytes")?.as_u64()?;
    (tokens > 0).then(|| bytes as f64 / tokens as f64)
}

impl DataSet {
    fn parse(&self) -> Result<Index, ShardsError> {
        let url = self.folder.url_of(INDEX_NAME);
        match &self.index {
            Some(content) => Ok(Index::parse(&url, content)?),
            None => Err(ShardsError::Unfinished { url }),
        }
    }
}

impl Totals {
    fn of(set: &DataSet, index: &Index) -> Self {
        Totals {
            url: set.folder.url().to_owned(),
            shards: index.shards.len() as u64,
            tokens: index.tokens,
            documents: index.documents,
            bytes: index.shards.iter().map(|shard| shard.bytes).fold(0, u64::saturating_add),
            tokenizer: index.tokenizer.clone(),
            tokenizer_hash: index.tokenizer_hash.clone(),
            vocabulary: index.vocabulary,
        }
    }

    fn lines(&self) -> [String; 6] {
        let vocabulary = with_thousands(self.vocabulary.into());
        [
            self.url.clone(),
            format!("  shards     {}", with_thousands(self.shards)),
            format!("  tokens     {}", with_thousands(self.tokens)),
            format!("  documents  {}", with_thousands(self.documents)),
            format!("  bytes      {}", with_thousands(self.bytes)),
            format!("  tokenizer  {}, vocabulary {vocabulary}, hash {}", self.tokenizer, self.tokenizer_hash),
        ]
    }
}

impl Excerpt {
    fn read(set: &DataSet, index: &Index, wanted: &Wanted<'_>) -> Result<Self, ShardsError> {
        let url = set.folder.url().to_owned();
        if wanted.at >= index.tokens {
            return Err(ShardsError::Position { at: wanted.at, url, tokens: index.tokens });
        }
        let tokenizer = set.tokenizer(index, wanted.tokenizer, ", or see the totals alone with --tokens 0")?;
        if tokenizer.hash() != index.tokenizer_hash {
            return Err(ShardsError::OtherTokenizer {
                made: set.made_with(index),
                given: wanted.tokenizer.unwrap_or(&index.tokenizer).to_owned(),
                got: tokenizer.hash().to_owned(),
            });
        }
        let end = wanted.at.saturating_add(wanted.tokens).min(index.tokens);
        let ids = read_tokens(&set.folder, index, wanted.at..end)?;
        Excerpt::of(url, wanted.at, &ids, &tokenizer)
    }

    fn of(url: String, at: u64, ids: &[u16], tokenizer: &Tokenizer) -> Result<Self, ShardsError> {
        if let Some((id, position)) = ids.iter().zip(at..).find(|(id, _)| tokenizer.token(**id).is_none()) {
            return Err(ShardsError::UnknownId { url, position, id: *id });
        }
        let mut position = at;
        let documents = ids.chunk_by(|_, next| *next != tokenizer.end_of_text()).map(|ids| {
            let begins = ids.first() == Some(&tokenizer.end_of_text());
            let text = tokenizer.decode(&ids[usize::from(begins)..]).unwrap_or_default();
            let part =
                Part { at: position, begins, ids: ids.to_vec(), text: String::from_utf8_lossy(&text).into_owned() };
            position += ids.len() as u64;
            part
        });
        let documents = documents.collect();
        Ok(Excerpt { url, at, tokens: ids.len() as u64, documents })
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![String::new()];
        for part in &self.documents {
            let last = part.at + part.ids.len() as u64 - 1;
            let what = if part.begins { "a document begins" } else { "of a document that began before" };
            let [first, last] = [part.at, last].map(with_thousands);
            lines.push(format!("--- tokens {first} to {last}: {what}"));
            lines.push(for_terminal(&part.text));
        }
        lines
    }
}

/// Escapes control characters of `text`, except line breaks and tabs, so that it cannot act on a terminal.
fn for_terminal(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            _ if character.is_control() => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

/// Reads tokens `range`, counted over all shards. Only the blocks that hold them are read, and each is verified.
fn read_tokens(folder: &Folder, index: &Index, range: Range<u64>) -> Result<Vec<u16>, ShardsError> {
    let mut tokens = Vec::new();
    let mut first = 0;
    for shard in &index.shards {
        let end = first + shard.tokens;
        let within = range.start.clamp(first, end) - first..range.end.clamp(first, end) - first;
        if !within.is_empty() {
            read_from_shard(folder, shard, within, &mut tokens)?;
        }
        first = end;
    }
    Ok(tokens)
}

fn read_from_shard(
    folder: &Folder,
    shard: &ShardEntry,
    range: Range<u64>,
    tokens: &mut Vec<u16>,
) -> Result<(), ShardsError> {
    let url = folder.url_of(&shard.name);
    let got = folder.size(&shard.name)?;
    if got != shard.bytes {
        return Err(ShardError::Size { url, expected: shard.bytes, got }.into());
    }
    let bytes = HEADER_BYTES + TOKEN_BYTES * range.start..HEADER_BYTES + TOKEN_BYTES * range.end;
    for block in bytes.start / BLOCK_BYTES..bytes.end.div_ceil(BLOCK_BYTES) {
        let start = block * BLOCK_BYTES;
        let end = (start + BLOCK_BYTES).min(shard.bytes);
        let content = folder.get_range(&shard.name, start..end)?;
        shard.verify_block(&url, block, &content)?;
        if block == 0 {
            shard.verify_header(&url, &content)?;
        }
        let wanted = (bytes.start.max(start) - start) as usize..(bytes.end.min(end) - start) as usize;
        tokens.extend(decode_tokens(&content[wanted]));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_cut_at_documents() {
        let tokenizer = Tokenizer::gpt2().unwrap();
        let ids = [[995].as_slice(), &[50_256], &[50_256, 15_496, 162]].concat();
        let excerpt = Excerpt::of("x".into(), 1234, &ids, &tokenizer).unwrap();
        assert_eq!(
            excerpt.lines(),
            [
                "",
                "--- tokens 1,234 to 1,234: of a document that began before",
                " world",
                "--- tokens 1,235 to 1,235: a document begins",
                "",
                "--- tokens 1,236 to 1,238: a document begins",
                "Hello\u{fffd}",
            ]
        );
        let error = Excerpt::of("x".into(), 7, &[1, 60_000], &tokenizer).unwrap_err().to_string();
        assert!(error.starts_with("x: the token at position 8 is 60000"), "{error}");
    }

    #[test]
    fn text_cannot_act_on_a_terminal() {
        assert_eq!(for_terminal("a\tb\n\u{1b}[31m\u{9b}\r é"), "a\tb\n\\u{1b}[31m\\u{9b}\\r é");
    }
}
