//! The bytes of a token shard: a header, and tokens.

use bytes::Bytes;

/// First header word of a token shard.
pub const MAGIC: i32 = 20_240_520;
/// Second header word, for the layout with u16 tokens.
pub const VERSION: i32 = 1;
/// Size of the header, in bytes.
pub const HEADER_BYTES: u64 = 256 * 4;
/// Size of a token, in bytes.
pub const TOKEN_BYTES: u64 = 2;
/// Size of the blocks that have their own hashes, in bytes, counted from the start of the file. The last block may be shorter.
pub const BLOCK_BYTES: u64 = 1 << 20;
/// Encodes a token shard of at most i32::MAX tokens, which the header's count allows.
pub fn encode(tokens: &[u16]) -> Bytes {
    let count = i32::try_from(tokens.len()).unwrap_or_else(|_| panic!("{} tokens exceed a shard", tokens.len()));
    let mut content = header(count.unsigned_abs().into());
    content.reserve(tokens.len() * TOKEN_BYTES as usize);
    content.extend(tokens.iter().flat_map(|t| t.to_le_bytes()));
    Bytes::from(content)
}

/// Encodes the header of a token shard of `tokens` tokens, at most i32::MAX.
pub fn header(tokens: u64) -> Vec<u8> {
    let mut content = Vec::with_capacity(HEADER_BYTES as usize);
    for word in [MAGIC, VERSION, tokens as i32] {
        content.extend_from_slice(&word.to_le_bytes());
    }
    content.resize(HEADER_BYTES as usize, 0);
    content
}

/// Decodes the tokens in `content`, which starts at a token.
pub fn decode_tokens(content: &[u8]) -> impl Iterator<Item = u16> + '_ {
    content.as_chunks::<{ TOKEN_BYTES as usize }>().0.iter().map(|bytes| u16::from_le_bytes(*bytes))
}
