//! What should be a document, to its text, which is UTF-8.

use std::borrow::Cow;

use crate::inputs::{BadDocument, Batch, Fault, RawDocument, Source};
use crate::json::json_text;

/// The first so many bytes tell UTF-16 from UTF-8.
const LOOKED_AT: usize = 1024;

/// The text of a document of `batch`, which of a JSON object is in `field`.
pub fn text_of<'b>(
    batch: &'b Batch,
    raw: &RawDocument,
    field: &str,
    sources: &[Source],
) -> Result<Cow<'b, str>, BadDocument> {
    let content = &batch.content[raw.range.clone()];
    let text = if raw.is_json { json_text(content, field) } else { plain_text(content).map(Cow::Borrowed) };
    text.map_err(|(fault, reason)| {
        let url = sources[raw.source as usize].url();
        BadDocument { source: raw.source, position: raw.position, url, place: raw.place, fault, reason }
    })
}

fn plain_text(content: &[u8]) -> Result<&str, (Fault, String)> {
    match not_utf8(content) {
        Some(reason) => Err((Fault::NotUtf8, reason)),
        // It is, or there would be a reason.
        None => Ok(std::str::from_utf8(content).unwrap_or_default()),
    }
}

/// Why `content` is not UTF-8; `None` where it is.
pub(crate) fn not_utf8(content: &[u8]) -> Option<String> {
    if let Some(name) = wide(content) {
        return Some(format!("not UTF-8 but {name}; convert it, for example with iconv -f {name} -t UTF-8"));
    }
    let at = std::str::from_utf8(content).err()?.valid_up_to();
    let byte = content[at];
    Some(format!(
        "not UTF-8 at byte {at} ({byte:#04x}); convert it from the encoding that it has, for example with iconv -f LATIN1 -t \
         UTF-8"
    ))
}

/// The encoding of text whose characters have two bytes or four, by its byte order mark; or by the zeros in it, which as UTF-8
/// would be characters.
fn wide(content: &[u8]) -> Option<&'static str> {
    match content {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Some("UTF-16"),
        _ => {}
    }
    let start = &content[..content.len().min(LOOKED_AT) / 4 * 4];
    memchr::memchr(0, start)?;
    let mut zeros = [0; 4];
    start.iter().zip((0..4).cycle()).for_each(|(byte, place)| zeros[place] += usize::from(*byte == 0));
    let most = |place: usize| zeros[place] * 16 > start.len() * 3;
    match [most(0), most(1), most(2), most(3)] {
        [false, true, true, true] => Some("UTF-32LE"),
        [true, true, true, false] => Some("UTF-32BE"),
        [false, true, false, true] => Some("UTF-16LE"),
        [true, false, true, false] => Some("UTF-16BE"),
        _ => None,
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
