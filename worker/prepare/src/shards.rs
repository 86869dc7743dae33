//! Documents in order become shard files and their index.

use common::config::PrepareConfig;
use common::storage::{Folder, StorageError};
use common::token_shard::{self, BLOCK_BYTES, Index, ShardEntry};
use common::tokenizer::Tokenizer;

use crate::corpus::Document;

/// Writes the shards of `documents` into `folder` and returns their index, which is not written.
///
/// Every shard but the last is full, so a document may go on in the next shard.
pub fn write(
    folder: &Folder,
    documents: &[&Document],
    config: &PrepareConfig,
    tokenizer: &Tokenizer,
) -> Result<Index, StorageError> {
    let mut writer = Writer {
        folder,
        end_of_text: tokenizer.end_of_text(),
        tokens_per_shard: usize::try_from(config.tokens_per_shard).unwrap_or(usize::MAX),
        tokens: Vec::new(),
        shards: Vec::new(),
    };
    for document in documents {
        writer.append(&[tokenizer.end_of_text()])?;
        writer.append(&document.tokens)?;
    }
    writer.end_shard()?;
    let shards = writer.shards;
    Ok(Index {
        version: 1,
        tokenizer: config.tokenizer.clone(),
        tokenizer_hash: tokenizer.hash().to_owned(),
        vocabulary: tokenizer.size(),
        tokens: shards.iter().map(|s| s.tokens).sum(),
        documents: shards.iter().map(|s| s.documents).sum(),
        block_bytes: BLOCK_BYTES,
        shards,
    })
}

struct Writer<'f> {
    folder: &'f Folder,
    end_of_text: u16,
    tokens_per_shard: usize,
    /// Of the shard that is not full yet.
    tokens: Vec<u16>,
    shards: Vec<ShardEntry>,
}

impl Writer<'_> {
    fn append(&mut self, mut tokens: &[u16]) -> Result<(), StorageError> {
        while !tokens.is_empty() {
            let fits = tokens.len().min(self.tokens_per_shard - self.tokens.len());
            self.tokens.extend_from_slice(&tokens[..fits]);
            tokens = &tokens[fits..];
            if self.tokens.len() == self.tokens_per_shard {
                self.end_shard()?;
            }
        }
        Ok(())
    }

    fn end_shard(&mut self) -> Result<(), StorageError> {
        if self.tokens.is_empty() {
            return Ok(());
        }
        let name = format!("shard-{:06}.bin", self.shards.len());
        let content = token_shard::encode(&self.tokens);
        self.tokens.clear();
        self.shards.push(ShardEntry::describe(&name, &content, self.end_of_text));
        self.folder.put(&name, content)?;
        tracing::info!("wrote {}", self.folder.url_of(&name));
        Ok(())
    }
}
