//! Reads strings in fields of a JSON line.
//!
//! Other fields are skipped without being decoded. Values that Python's `json` writes, and JSON has no form for, are read as
//! well.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::encoding::not_utf8;
use crate::inputs::Fault;

/// Text of a document, and strings that are beside it.
type TextAndOthers<'l, const N: usize> = (Cow<'l, str>, [Option<String>; N]);

/// Returns the string in `field` of a JSON object.
pub(crate) fn json_text<'l>(line: &'l [u8], field: &str) -> Result<Cow<'l, str>, (Fault, String)> {
    match parsed_or_mended(line, &[field]) {
        Ok(found) => text_in(found.into_iter().next().unwrap_or(Found::Nothing), field),
        Err((mended, error)) => Err(match not_utf8(line) {
            Some(reason) => (Fault::NotUtf8, reason),
            None => (Fault::NotJson, not_an_object(mended.as_deref().unwrap_or(line), &error)),
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
    let Ok(found) = parsed_or_mended(line, &[&[field][..], &others[..]].concat()) else {
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

/// Returns what is in `fields` of `line`, or of `line` without what Python's `json` writes and JSON has no form for. An error comes
/// with the second, if there is one.
fn parsed_or_mended<'l>(
    line: &'l [u8],
    fields: &[&str],
) -> Result<Vec<Found<'l>>, (Option<Vec<u8>>, serde_json::Error)> {
    let error = match parsed(line, fields) {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    let Some(mended) = without_python(line) else { return Err((None, error)) };
    let found = parsed(&mended, fields).map(|found| found.into_iter().map(Found::into_owned).collect());
    found.map_err(|error| (Some(mended), error))
}

fn parsed<'l>(line: &'l [u8], fields: &[&str]) -> serde_json::Result<Vec<Found<'l>>> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let found = FieldsOf(fields).deserialize(&mut deserializer)?;
    deserializer.end().map(|()| found)
}

/// Numbers that Python's `json` writes, and JSON has no form for.
const NUMBERS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];

/// Replaces these numbers by 0, and escapes of half a surrogate pair by that of U+FFFD; `None` where the line has neither.
/// Every other byte keeps its place.
fn without_python(line: &[u8]) -> Option<Vec<u8>> {
    let mut mended = line.to_vec();
    let mut in_string = false;
    let mut at = 0;
    while at < line.len() {
        let rest = &line[at..];
        at += match rest[0] {
            b'"' => {
                in_string = !in_string;
                1
            }
            b'\\' if in_string => match (escaped_unit(rest), rest.get(6..).and_then(escaped_unit)) {
                (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
                (Some(0xd800..=0xdfff), _) => {
                    mended[at..at + 6].copy_from_slice(br"\ufffd");
                    6
                }
                _ => 2,
            },
            b'N' | b'I' | b'-' if !in_string => match NUMBERS.iter().find(|number| rest.starts_with(number)) {
                Some(number) => {
                    mended[at..at + number.len()].fill(b' ');
                    mended[at] = b'0';
                    number.len()
                }
                None => 1,
            },
            _ => 1,
        };
    }
    (mended != line).then_some(mended)
}

/// Returns the UTF-16 unit with whose escape `text` begins.
fn escaped_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(br"\u")?.get(..4)?;
    let digits = digits.iter().map(|digit| char::from(*digit).to_digit(16));
    digits.into_iter().try_fold(0, |unit, digit| Some(unit << 4 | digit? as u16))
}

/// Returns what is wrong with a line that is no JSON object.
fn not_an_object(line: &[u8], error: &serde_json::Error) -> String {
    let kind = match line.trim_ascii_start().first() {
        Some(b'{') => None,
        Some(b'[') => Some("array"),
        Some(b'"') => Some("string"),
        Some(b'n') => Some("null"),
        Some(b't' | b'f') => Some("boolean"),
        _ => Some("number"),
    };
    match kind.filter(|_| serde_json::from_slice::<IgnoredAny>(line).is_ok()) {
        Some(kind) => format!("a JSON {kind}, not an object"),
        None => {
            // The parser counts lines from the start of this one, so its own position is cut off.
            let message = error.to_string();
            let what = message.split(" at line ").next().unwrap_or_default();
            format!("not JSON: {what} (column {})", error.column())
        }
    }
}

/// The value of a field.
#[derive(Clone)]
enum Found<'l> {
    /// A string, borrowed where nothing in it is escaped.
    Text(Cow<'l, str>),
    /// Another value, by its kind.
    Other(&'static str),
    /// The object has no such field.
    Nothing,
}

impl Found<'_> {
    fn into_owned(self) -> Found<'static> {
        match self {
            Found::Text(text) => Found::Text(Cow::Owned(text.into_owned())),
            Found::Other(kind) => Found::Other(kind),
            Found::Nothing => Found::Nothing,
        }
    }
}

/// Takes fields out of an object, in the order of these names, and skips the others.
struct FieldsOf<'f>(&'f [&'f str]);

impl<'de> DeserializeSeed<'de> for FieldsOf<'_> {
    type Value = Vec<Found<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldsOf<'_> {
    type Value = Vec<Found<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut found: Vec<Found<'de>> = self.0.iter().map(|_| Found::Nothing).collect();
        while let Some(key) = map.next_key_seed(AnyValue)? {
            let is_key = |place: &usize| matches!(&key, Found::Text(key) if **key == *self.0[*place]);
            let mut places = (0..self.0.len()).filter(is_key);
            let Some(place) = places.next() else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            // The last of several fields of this name counts.
            let value = map.next_value_seed(AnyValue)?;
            places.for_each(|place| found[place] = value.clone());
            found[place] = value;
        }
        Ok(found)
    }
}

/// Any value, of which only a string is kept.
struct AnyValue;

impl<'de> DeserializeSeed<'de> for AnyValue {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Found::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Found::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Found::Other("null"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Found::Other("a boolean"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Found::Other("a number"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Found::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Found::Other("a number"))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::Other("an array"))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Found::Other("an object"))
    }
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
