//! The charset of a page: by byte order mark, HTTP header, `<meta>`, and a detector, in this order.
//!
//! Two kinds of declaration are overruled, because they are wrong far more often than right: a legacy charset for bytes that are
//! valid UTF-8 beyond ASCII, and UTF-8 for bytes with more malformed sequences than valid ones.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use serde::{Deserialize, Serialize};

/// Bytes at the start of a page in which a declaration is looked for.
const DECLARATION_BYTES: usize = 4096;
/// Bytes that the detector reads.
const DETECTED_BYTES: usize = 1 << 20;

/// Where a charset is known from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CharsetSource {
    /// A byte order mark.
    Bom,
    /// The HTTP header `Content-Type`.
    Header,
    /// A `<meta>` tag or an XML declaration.
    Meta,
    /// The bytes are valid UTF-8 beyond ASCII, or ASCII without a declaration.
    Utf8,
    /// The detector's guess.
    #[default]
    Detector,
}

/// A page as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The text.
    pub text: String,
    /// Its charset, by the name in the Encoding Standard.
    pub charset: &'static str,
    /// Where the charset is known from.
    pub source: CharsetSource,
    /// Characters U+FFFD in place of malformed bytes.
    pub malformed: usize,
}

/// Decodes a page's bytes. Malformed sequences become U+FFFD.
pub fn decode(body: &[u8], content_type: Option<&str>) -> Decoded {
    let (encoding, source) = choose(body, content_type);
    let (text, encoding, had_errors) = encoding.decode(body);
    // A character U+FFFD in the page's own bytes counts as well: somebody else has decoded it badly.
    let malformed = if had_errors { text.matches('\u{FFFD}').count() } else { 0 };
    Decoded { text: text.into_owned(), charset: encoding.name(), source, malformed }
}

fn choose(body: &[u8], content_type: Option<&str>) -> (&'static Encoding, CharsetSource) {
    if let Some((encoding, _)) = Encoding::for_bom(body) {
        return (encoding, CharsetSource::Bom);
    }
    let (valid, malformed) = sequences(body);
    let declared = content_type
        .and_then(of_content_type)
        .map(|encoding| (encoding, CharsetSource::Header))
        .or_else(|| of_meta(body).map(|encoding| (encoding, CharsetSource::Meta)));
    match declared {
        Some((encoding, source)) if encoding == UTF_8 && malformed <= valid => (UTF_8, source),
        Some((encoding, source))
            if encoding != UTF_8 && (!encoding.is_ascii_compatible() || malformed > 0 || valid == 0) =>
        {
            (encoding, source)
        }
        _ if malformed == 0 => (UTF_8, CharsetSource::Utf8),
        _ => (detect(body), CharsetSource::Detector),
    }
}

/// Numbers of valid UTF-8 sequences beyond ASCII and of malformed ones.
fn sequences(body: &[u8]) -> (usize, usize) {
    let mut counts = (0, 0);
    for chunk in body.utf8_chunks() {
        counts.0 += chunk.valid().bytes().filter(|&byte| byte >= 0xC0).count();
        counts.1 += usize::from(!chunk.invalid().is_empty());
    }
    counts
}

fn detect(body: &[u8]) -> &'static Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(&body[..body.len().min(DETECTED_BYTES)], true);
    detector.guess(None, Utf8Detection::Deny)
}

/// Encoding by a header such as `text/html; charset="utf-8"`.
fn of_content_type(value: &str) -> Option<&'static Encoding> {
    label_after(value.as_bytes(), b"charset")
}

/// Encoding by the first `<meta>` tag or XML declaration that names one.
fn of_meta(body: &[u8]) -> Option<&'static Encoding> {
    let head = &body[..body.len().min(DECLARATION_BYTES)];
    let mut at = 0;
    while let Some(open) = head[at..].iter().position(|&byte| byte == b'<').map(|found| at + found) {
        let rest = &head[open..];
        if rest.starts_with(b"<!--") {
            at = open + find(rest, b"-->").map_or(rest.len(), |end| end + 3);
            continue;
        }
        let tag = &rest[..rest.iter().position(|&byte| byte == b'>').unwrap_or(rest.len())];
        let key: &[u8] = if starts_with(rest, b"<meta") { b"charset" } else { b"encoding" };
        if starts_with(rest, b"<meta") || starts_with(rest, b"<?xml") {
            if let Some(encoding) = label_after(tag, key) {
                // By the standard: such a tag could not have been read in what it claims.
                return Some(if encoding.is_ascii_compatible() { encoding } else { UTF_8 });
            }
            if find(tag, b"x-user-defined").is_some() {
                return Some(WINDOWS_1252);
            }
        }
        at = open + 1;
    }
    None
}

/// Encoding by the label that follows `key =`, quoted or not. A key without a known label is passed over.
fn label_after(text: &[u8], key: &[u8]) -> Option<&'static Encoding> {
    let mut rest = text;
    loop {
        let at = rest.windows(key.len()).position(|window| window.eq_ignore_ascii_case(key))?;
        rest = &rest[at + key.len()..];
        let Some(value) = rest.trim_ascii_start().strip_prefix(b"=") else { continue };
        let value = value.trim_ascii_start();
        let value = value.strip_prefix(b"\"").or_else(|| value.strip_prefix(b"'")).unwrap_or(value).trim_ascii_start();
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b"\"';>/?,".contains(byte);
        let label = &value[..value.iter().position(ends).unwrap_or(value.len())];
        if let Some(encoding) = Encoding::for_label(label) {
            return Some(encoding);
        }
    }
}

fn starts_with(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &[u8], content_type: Option<&str>, charset: &str, source: CharsetSource, text: &str) {
        let decoded = decode(body, content_type);
        assert_eq!((decoded.charset, decoded.source, decoded.text.as_str()), (charset, source, text));
    }

    #[test]
    fn a_byte_order_mark_goes_before_the_header() {
        check(
            b"\xEF\xBB\xBFd\xC3\xA9j\xC3\xA0",
            Some("text/html; charset=latin1"),
            "UTF-8",
            CharsetSource::Bom,
            "déjà",
        );
        check(b"\xFF\xFEh\0i\0", None, "UTF-16LE", CharsetSource::Bom, "hi");
    }

    #[test]
    fn the_header_goes_before_meta() {
        let body = b"<meta charset=windows-1251>caf\xE9";
        check(
            body,
            Some("text/html; Charset=\"ISO-8859-1\""),
            "windows-1252",
            CharsetSource::Header,
            "<meta charset=windows-1251>café",
        );
    }

    #[test]
    fn meta_is_read_in_both_forms_and_not_within_comments() {
        let russian = b"<!-- <meta charset=utf-8> --><meta http-equiv=Content-Type content='text/html; charset=windows-1251'>\xEC\xE8\xF0";
        assert!(decode(russian, None).text.ends_with("мир"));
        assert_eq!(decode(b"<META CHARSET='windows-1251'>\xEC\xE8\xF0", None).source, CharsetSource::Meta);
        assert_eq!(decode(b"<?xml version='1.0' encoding='koi8-r'?>\xCD\xC9\xD2", None).charset, "KOI8-R");
    }

    #[test]
    fn a_meta_tag_that_claims_utf_16_is_not_believed() {
        assert_eq!(decode(b"<meta charset=utf-16>hello", None).charset, "UTF-8");
    }

    #[test]
    fn valid_utf_8_overrules_a_legacy_charset() {
        check("naïve".as_bytes(), Some("text/html; charset=iso-8859-1"), "UTF-8", CharsetSource::Utf8, "naïve");
    }

    #[test]
    fn utf_8_is_not_believed_of_bytes_that_are_mostly_malformed() {
        let decoded = decode(b"caf\xE9 na\xEFve d\xE9j\xE0 vu, tr\xE8s bien", Some("text/html; charset=utf-8"));
        assert_eq!((decoded.source, decoded.text.as_str()), (CharsetSource::Detector, "café naïve déjà vu, très bien"));
    }

    #[test]
    fn one_cut_sequence_leaves_utf_8_and_is_counted() {
        let decoded = decode(b"na\xC3\xAFve caf\xC3", Some("text/html; charset=utf-8"));
        assert_eq!((decoded.charset, decoded.malformed, decoded.text.as_str()), ("UTF-8", 1, "naïve caf\u{FFFD}"));
    }

    #[test]
    fn unknown_labels_are_passed_over() {
        assert_eq!(decode(b"hello", Some("text/html; charset=; charset=nonsense")).source, CharsetSource::Utf8);
    }
}
