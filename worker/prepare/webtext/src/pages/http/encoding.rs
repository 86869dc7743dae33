//! Content encodings: gzip, deflate, br and zstd.
//!
//! Archives often have the content unpacked and the header as it was, so that a header's claim is only tried.

use std::io::{self, Read};

use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};

use super::unpacked::Unpacked;
use crate::pages::limits::CONTENT_WINDOW_LOG;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Bytes by which text is recognized.
const TEXT_BYTES: usize = 512;

/// Unpacks `body`, whose encoding is `name`, into at most `most` bytes.
pub(super) fn unpack(name: &str, body: &[u8], most: usize) -> Unpacked {
    match name {
        "gzip" | "x-gzip" if body.starts_with(GZIP) => gunzip(body, most),
        "zstd" if body.starts_with(ZSTD) => match zstd(body) {
            Ok(decoder) => drained(decoder, most, Vec::new()),
            Err(error) => Unpacked::Damaged(format!("zstd: {error}")),
        },
        // Text begins with neither a gzip member nor a zstd frame.
        "gzip" | "x-gzip" | "zstd" | "" | "identity" => Unpacked::AsItIs,
        "deflate" => {
            // By the standard there is a header of zlib. Some servers leave it out.
            let has_header =
                matches!(body, [a, b, ..] if a & 15 == 8 && (u16::from(*a) << 8 | u16::from(*b)) % 31 == 0);
            match has_header.then(|| drained(ZlibDecoder::new(body), most, Vec::new())) {
                None | Some(Unpacked::Damaged(_)) => {
                    or_text(drained(DeflateDecoder::new(body), most, Vec::new()), body)
                }
                Some(unpacked) => unpacked,
            }
        }
        // No brotli stream begins with `<`.
        "br" if body.first() == Some(&b'<') => Unpacked::AsItIs,
        "br" => or_text(super::brotli::unpack(body, most), body),
        other => or_text(Unpacked::Damaged(format!("the Content-Encoding {other:?} is not read")), body),
    }
}

/// Unpacks members one after another. What follows the last of them is ignored, as by browsers.
fn gunzip(body: &[u8], most: usize) -> Unpacked {
    let mut content = Vec::new();
    let mut rest = body;
    loop {
        let mut decoder = GzDecoder::new(rest);
        match drained(&mut decoder, most, content) {
            Unpacked::Content { content: all, is_cut: false } => content = all,
            other => return other,
        }
        let after = decoder.into_inner();
        if !after.starts_with(GZIP) || after.len() >= rest.len() {
            return Unpacked::Content { content, is_cut: false };
        }
        rest = after;
    }
}

fn zstd(body: &[u8]) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
    decoder.window_log_max(CONTENT_WINDOW_LOG)?;
    Ok(decoder)
}

/// Reads all of `decoder` behind `content`.
fn drained(decoder: impl Read, most: usize, mut content: Vec<u8>) -> Unpacked {
    let room = most.saturating_sub(content.len()) as u64;
    let read = decoder.take(room + 1).read_to_end(&mut content);
    match read {
        _ if content.len() > most => Unpacked::TooLong,
        Ok(_) => Unpacked::Content { content, is_cut: false },
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Unpacked::Content { content, is_cut: true },
        Err(error) => Unpacked::Damaged(format!("the content cannot be unpacked: {error}")),
    }
}

/// Takes `body` as it is where unpacking failed and it is text.
fn or_text(unpacked: Unpacked, body: &[u8]) -> Unpacked {
    let is_unpacked = match &unpacked {
        Unpacked::Content { is_cut, .. } => !is_cut,
        Unpacked::TooLong => true,
        _ => false,
    };
    if !is_unpacked && is_text(body) { Unpacked::AsItIs } else { unpacked }
}

/// Returns whether the first bytes are text in ASCII or an encoding that extends it.
fn is_text(body: &[u8]) -> bool {
    let begin = body.get(..TEXT_BYTES).unwrap_or(body);
    let begin = begin.strip_prefix("\u{feff}".as_bytes()).unwrap_or(begin);
    let is_control = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c);
    begin.trim_ascii_start().starts_with(b"<")
        || !begin.iter().any(is_control) && 2 * begin.iter().filter(|byte| byte.is_ascii()).count() > begin.len()
}
