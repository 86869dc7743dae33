//! Reads texts in fields of a JSON line, by the rules of [`webtext::json`].

use std::borrow::Cow;

use webtext::json::{Found, values};

use super::encoding::not_utf8;
use crate::inputs::Fault;

/// Text of a document, and strings that are beside it.
type TextAndOthers<'l, const N: usize> = (Cow<'l, str>, [Option<String>; N]);

/// Returns the string in `field` of a JSON object.
pub(crate) fn json_text<'l>(line: &'l [u8], field: &str) -> Result<Cow<'l, str>, (Fault, String)> {
    match values(line, &[field]) {
        Ok(found) => text_in(found.into_iter().next().unwrap_or(Found::Nothing), field),
        Err(reason) => Err(match not_utf8(line) {
            Some(reason) => (Fault::NotUtf8, reason),
            None => (Fault::NotJson, reason),
        }),
    }
}

/// Returns the string in `field` of a JSON object, as [`json_text`] does, and those in `others`. The line is parsed once for all,
/// unless one of these fields cannot be read, which is no fault of the others.
pub(crate) fn json_texts<'l, const N: usize>(
    line: &'l [u8],
    field: &str,
    others: [&str; N],
) -> Result<TextAndOthers<'l, N>, (Fault, String)> {
    let Ok(found) = values(line, &[&[field][..], &others[..]].concat()) else {
        let text = json_text(line, field)?;
        return Ok((text, others.map(|other| json_text(line, other).ok().map(Cow::into_owned))));
    };
    let mut found = found.into_iter();
    let text = text_in(found.next().unwrap_or(Found::Nothing), field)?;
    let string = |found: Option<Found<'_>>| match found {
        Some(Found::Text(text)) => Some(text.into_owned()),
        _ => None,
    };
    Ok((text, std::array::from_fn(|_| string(found.next()))))
}

/// Returns the string that was `found` in `field`.
fn text_in<'l>(found: Found<'l>, field: &str) -> Result<Cow<'l, str>, (Fault, String)> {
    let reason = match found {
        Found::Text(text) => return Ok(text),
        Found::Other(kind) => format!("the field {field:?} is {kind}, not a string (prepare.text_field names another)"),
        Found::Nothing => format!("no field {field:?} (prepare.text_field names another)"),
    };
    Err((Fault::NoText, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_a_json_line_are_named() {
        let check = |line: &str, expected: Result<&str, &str>| {
            let got = json_text(line.as_bytes(), "text").map_err(|(_, reason)| reason);
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{line}");
        };
        check(r#" {"text": "a\u00e9\n", "other": [1]} "#, Ok("aé\n"));
        check(r#"{"a": {"text": "no"}, "text": "yes"}"#, Ok("yes"));
        check(r#"{"text": "first", "te\u0078t": "last"}"#, Ok("last"));
        check(r#"{"text": null, "text": "last"}"#, Ok("last"));
        check(
            r#"{"text": "first", "text": [1, {}]}"#,
            Err("the field \"text\" is an array, not a string (prepare.text_field names another)"),
        );
        check("5", Err("a JSON number, not an object"));
        check(r#"{"text": "#, Err("not JSON: EOF while parsing a value (column 9)"));
        check(r#"{"text": "a"} x"#, Err("not JSON: trailing characters (column 15)"));
        check(r#"["text"]"#, Err("a JSON array, not an object"));
        check(r#"{"Text": "a"}"#, Err("no field \"text\" (prepare.text_field names another)"));
        check(r#"{"text": null}"#, Err("the field \"text\" is null, not a string (prepare.text_field names another)"));
        let nested = format!("{{\"text\": {}", "[".repeat(1 << 20));
        assert!(json_text(nested.as_bytes(), "text").unwrap_err().1.starts_with("not JSON: EOF"));
    }

    #[test]
    fn what_python_writes_beside_json_costs_no_document() {
        let check = |line: &str, expected: Result<&str, &str>| {
            let got = json_text(line.as_bytes(), "text").map_err(|(_, reason)| reason);
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{line}");
        };
        check(r#"{"score": NaN, "text": "NaN \"-Infinity"}"#, Ok("NaN \"-Infinity"));
        check(r#"{"text": "a", "scores": [-Infinity, Infinity,NaN], "b": {"c": -1}}"#, Ok("a"));
        check(r#"{"text": "\ud800"}"#, Ok("\u{fffd}"));
        check(
            r#"{"text": "\udc00\ud83e\udd80\ud83e \\ud800\uD83E\uD83E\udd80"}"#,
            Ok("\u{fffd}🦀\u{fffd} \\ud800\u{fffd}🦀"),
        );
        check(r#"{"other\ud800": "\udfff", "text": "é", "n": NaN}"#, Ok("é"));
        check(
            r#"{"text": NaN}"#,
            Err("the field \"text\" is a number, not a string (prepare.text_field names another)"),
        );
        check(r#"{"a": NaN, "text": "a""#, Err("not JSON: EOF while parsing an object (column 22)"));
        check(r#"{"a": NaN}"#, Err("no field \"text\" (prepare.text_field names another)"));
        check("NaN", Err("a JSON number, not an object"));
        check(r#"{"a": Nan, "text": "a"}"#, Err("not JSON: expected value (column 7)"));
        check(r#"{"text": "\ud80"}"#, Err("not JSON: invalid escape (column 16)"));
        check(r#"{"text": "\"#, Err("not JSON: EOF while parsing a string (column 11)"));
    }

    #[test]
    fn several_fields_are_read_as_each_is_by_itself() {
        const OTHERS: [&str; 3] = ["url", "title", "text"];
        for line in [
            r#"{"text": "a\u00e9", "url": "http://a.example/", "title": "T", "date": "D"}"#,
            r#"{"title": "first", "text": "a", "title": "\u006cast", "url": null}"#,
            r#"{"te\u0078t": "a", "url": [1, {"title": "no"}]}"#,
            // One of these fields cannot be read as it is, or not at all.
            r#"{"text": "a", "title": "\ud800", "score": NaN, "url": "\udc00 u"}"#,
            r#"{"title": NaN, "text": "a", "url": "u"}"#,
            r#"{"text": 5, "url": "u"}"#,
            r#"{"url": "u"}"#,
            r#"{"text": "a", "url": "u" "#,
            "[5]",
            "",
        ] {
            let check = |line: &[u8]| {
                let expected = json_text(line, "text")
                    .map(|text| (text, OTHERS.map(|other| json_text(line, other).ok().map(Cow::into_owned))));
                assert_eq!(json_texts(line, "text", OTHERS), expected, "{}", String::from_utf8_lossy(line));
            };
            check(line.as_bytes());
            // What is not UTF-8 costs the field in which it is.
            let cut = |byte: u8| if byte == b'T' { 0xe9 } else { byte };
            check(&line.bytes().map(cut).collect::<Vec<_>>());
        }
        let text = json_texts(b"{\"text\": \"a\", \"title\": \"\xe9\", \"url\": \"u\"}", "text", OTHERS).unwrap();
        assert_eq!(text, ("a".into(), [Some("u".to_owned()), None, Some("a".to_owned())]));
    }

    #[test]
    fn a_line_in_another_encoding_is_said_to_be_in_one() {
        let utf16: Vec<u8> = "{\"text\": \"a\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (line, expected) in [
            (&b"{\"text\": \"caf\xe9\"}"[..], "not UTF-8 at byte 13"),
            (&utf16, "UTF-16"),
            (&[b"\xff\xfe", &utf16[..]].concat(), "UTF-16"),
        ] {
            let (fault, reason) = json_text(line, "text").unwrap_err();
            assert_eq!(fault, Fault::NotUtf8);
            assert!(reason.contains(expected), "{reason}");
        }
        // The encoding is only checked where it matters.
        assert_eq!(json_text(b"{\"other\": \"\xe9\", \"text\": \"a\"}", "text").unwrap(), "a");
    }
}
