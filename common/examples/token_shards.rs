//! Writes token shards of pseudo-random ids, for benchmarks that need much data and no text.
//!
//!     token_shards URL SHARDS TOKENS [TOKENIZER]
//!
//! Writes SHARDS token shards of TOKENS tokens each, and their index, to the folder at URL. TOKENIZER is as in
//! data.tokenizer, by default GPT-2's.

use common::config::StorageConfig;
use common::storage::Folder;
use common::token_shard::{BLOCK_BYTES, INDEX_NAME, INDEX_VERSION, Index, ShardEntry, encode};
use common::tokenizer::Tokenizer;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, shards, tokens, rest @ ..] = arguments.as_slice() else {
        return Err("usage: token_shards URL SHARDS TOKENS [TOKENIZER]".into());
    };
    let name = rest.first().map_or("gpt2", String::as_str);
    let (shards, tokens): (u64, u64) = (shards.parse()?, tokens.parse()?);
    let storage = StorageConfig::default();
    let folder = Folder::open(url, &storage)?;
    let tokenizer = Tokenizer::open(name, &storage)?;
    let mut entries = Vec::new();
    for shard in 0..shards {
        let ids = (shard * tokens..(shard + 1) * tokens).map(|i| id(i, tokenizer.size()));
        let (name, content) = (format!("shard-{shard:06}.bin"), encode(&ids.collect::<Vec<_>>()));
        entries.push(ShardEntry::describe(&name, &content, tokenizer.end_of_text()));
        folder.put(&name, content)?;
    }
    let index = Index {
        version: INDEX_VERSION,
        tokenizer: name.to_owned(),
        tokenizer_hash: tokenizer.hash().to_owned(),
        vocabulary: tokenizer.size(),
        tokens: shards * tokens,
        documents: entries.iter().map(|entry| entry.documents).sum(),
        block_bytes: BLOCK_BYTES,
        shards: entries,
    };
    folder.put(INDEX_NAME, index.to_json())?;
    Ok(())
}

/// Returns token `i`: one step of splitmix64, reduced to below `vocabulary`.
fn id(i: u64, vocabulary: u32) -> u16 {
    let x = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (((x >> 32) * u64::from(vocabulary)) >> 32) as u16
}
