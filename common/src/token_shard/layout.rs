//! Position and width of the tokens in a file.

use super::format::{HEADER_BYTES, TOKEN_BYTES, decode_tokens};

/// Position and width of the tokens in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Offset of the first token, in bytes.
    pub first_byte: u64,
    /// Size of a token, in bytes: 2 or 4.
    pub token_bytes: u64,
    /// Whether the file begins with the header of a token shard.
    pub has_header: bool,
}

impl Layout {
    /// Layout of Convoy and llm.c.
    pub const SHARD: Layout = Layout { first_byte: HEADER_BYTES, token_bytes: TOKEN_BYTES, has_header: true };

    /// Decodes the tokens in `content`, which starts at a token.
    pub fn tokens(self, content: &[u8]) -> impl Iterator<Item = i32> + '_ {
        let wide = self.token_bytes == 4;
        content.chunks_exact(self.token_bytes as usize).map(move |bytes| match wide {
            true => i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            false => i32::from(u16::from_le_bytes([bytes[0], bytes[1]])),
        })
    }

    /// Returns whether all tokens in `content`, which starts at a token, are ids of a vocabulary of this size.
    pub fn are_below(self, vocabulary: u32, content: &[u8]) -> bool {
        let last = vocabulary.saturating_sub(1);
        if self.token_bytes == TOKEN_BYTES {
            // Accumulates what exceeds the last id, over all tokens: operations that every processor has in vector form.
            let last = u16::try_from(last).unwrap_or(u16::MAX);
            return vocabulary > 0 && decode_tokens(content).fold(0, |excess, t| excess | t.saturating_sub(last)) == 0;
        }
        // A negative token is one of the highest numbers as u32.
        self.tokens(content).all(|token| (token as u32) < vocabulary)
    }

    /// Layout of nanoGPT.
    pub(super) const NANOGPT: Layout = Layout { first_byte: 0, token_bytes: 2, has_header: false };
}
