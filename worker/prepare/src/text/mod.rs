//! Turns raw documents into text, which is UTF-8.
//!
//! - [`json`]: reads strings in fields of a JSON line.
//! - [`encoding`]: finds the encoding of bytes that are not UTF-8.
//!
//! Absent on purpose: how documents are found and read ([`crate::inputs`]), and what becomes of text ([`crate::encode`]).

mod encoding;
mod json;

use std::borrow::Cow;

use crate::inputs::{BadDocument, Batch, Fault, RawDocument, Source};
use encoding::not_utf8;
use json::{json_text, json_texts};

/// Returns the text of a document of `batch`. A document that is a JSON object has it in `field`.
pub fn text_of<'b>(
    batch: &'b Batch,
    raw: &RawDocument,
    field: &str,
    sources: &[Source],
) -> Result<Cow<'b, str>, BadDocument> {
    let content = &batch.content[raw.range.clone()];
    let text = if raw.is_json { json_text(content, field) } else { plain_text(content).map(Cow::Borrowed) };
    text.map_err(|fault| bad(raw, sources, fault))
}

/// Returns the text of a document as [`text_of`] does, and the strings in `others`: other fields of a JSON object, or the columns
/// with which batches are read.
pub fn texts_of<'b, const N: usize>(
    batch: &'b Batch,
    raw: &RawDocument,
    field: &str,
    others: [&str; N],
    sources: &[Source],
) -> Result<(Cow<'b, str>, [Option<String>; N]), BadDocument> {
    let content = &batch.content[raw.range.clone()];
    let texts = match raw.is_json {
        true => json_texts(content, field, others),
        false => plain_text(content).map(|text| {
            let beside = |place: usize| raw.beside.get(place).cloned().flatten();
            (Cow::Borrowed(text), std::array::from_fn(beside))
        }),
    };
    texts.map_err(|fault| bad(raw, sources, fault))
}

/// Describes a document that has no text.
fn bad(raw: &RawDocument, sources: &[Source], (fault, reason): (Fault, String)) -> BadDocument {
    let url = sources[raw.source as usize].url();
    BadDocument { source: raw.source, position: raw.position, url, place: raw.place, fault, reason }
}

fn plain_text(content: &[u8]) -> Result<&str, (Fault, String)> {
    match not_utf8(content) {
        Some(reason) => Err((Fault::NotUtf8, reason)),
        // The content is UTF-8, or there would be a reason.
        None => Ok(std::str::from_utf8(content).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_another_encoding_is_no_document_and_its_encoding_is_named() {
        let text = "It was “a test”, naïve, of\nseveral lines.";
        let utf16 = |of: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(of).collect::<Vec<u8>>();
        let utf32: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        for (content, expected) in [
            (utf16(u16::to_le_bytes), "iconv -f UTF-16LE "),
            (utf16(u16::to_be_bytes), "iconv -f UTF-16BE "),
            ([vec![0xff, 0xfe], utf16(u16::to_le_bytes)].concat(), "iconv -f UTF-16 "),
            (utf32, "iconv -f UTF-32LE "),
            (b"caf\xe9".to_vec(), "at byte 3 (0xe9)"),
            (b"cut \xf0\x9f".to_vec(), "at byte 4 (0xf0)"),
        ] {
            let (fault, reason) = plain_text(&content).unwrap_err();
            assert_eq!(fault, Fault::NotUtf8);
            assert!(reason.contains(expected), "{reason}");
        }
        for text in [text, "", "\0", "a\0b", "\0\0\0\0\0\0\0\0", "a\0\0\0\0 b c d e", "\u{feff}x"] {
            assert_eq!(plain_text(text.as_bytes()), Ok(text));
        }
    }
}
