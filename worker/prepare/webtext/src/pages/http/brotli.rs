//! The content encoding br.
//!
//! The decoder is driven by hand, since its [`std::io::Read`] has one error for content that is cut and for content that is
//! damaged.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::unpacked::Unpacked;

/// Bytes that are unpacked at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Unpacks `body` into at most `most` bytes.
pub(super) fn unpack(body: &[u8], most: usize) -> Unpacked {
    let allocator = StandardAlloc::default;
    let mut state = BrotliState::new(allocator(), allocator(), allocator());
    // Windows of more than 16 MiB are no part of the encoding.
    state.large_window = false;
    let (mut left, mut read, mut total) = (body.len(), 0, 0);
    let mut content = Vec::new();
    loop {
        let start = content.len();
        content.resize(start + CHUNK_BYTES, 0);
        let output = content.get_mut(start..).unwrap_or_default();
        let (mut room, mut written) = (output.len(), 0);
        let result =
            BrotliDecompressStream(&mut left, &mut read, body, &mut room, &mut written, output, &mut total, &mut state);
        content.truncate(start + written);
        if content.len() > most {
            return Unpacked::TooLong;
        }
        match result {
            BrotliResult::ResultSuccess => return Unpacked::Content { content, is_cut: false },
            BrotliResult::NeedsMoreInput => return Unpacked::Content { content, is_cut: true },
            BrotliResult::NeedsMoreOutput if written > 0 => {}
            _ => return Unpacked::Damaged("the content cannot be unpacked: no brotli stream".to_owned()),
        }
    }
}
