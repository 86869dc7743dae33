//! Strings in fields of a JSON line.
//!
//! The rules are those of Python's `json`, which has written most lines that are found:
//!
//! - The last of several fields of one name counts.
//! - `NaN`, `Infinity` and `-Infinity` are numbers.
//! - The escape of half a surrogate pair is U+FFFD, since text cannot have the half.
//!
//! Other fields are skipped without being decoded.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Returns what is in `fields` of the object in `line`, in their order. An error says what is wrong with the line.
pub fn values<'l>(line: &'l [u8], fields: &[&str]) -> Result<Vec<Found<'l>>, String> {
    let error = match parsed(line, fields) {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    let Some(mended) = without_python(line) else { return Err(not_an_object(line, &error)) };
    let found = parsed(&mended, fields).map_err(|error| not_an_object(&mended, &error))?;
    Ok(found.into_iter().map(Found::into_owned).collect())
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'l> {
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

    fn check(line: &str, expected: Result<[Found<'_>; 2], &str>) {
        let got = values(line.as_bytes(), &["text", "url"]);
        assert_eq!(got, expected.map(Vec::from).map_err(str::to_owned), "{line}");
    }

    fn text(text: &str) -> Found<'_> {
        Found::Text(text.into())
    }

    #[test]
    fn the_last_of_several_fields_of_one_name_counts() {
        check(r#"{"text": "first", "url": "u", "te\u0078t": "last"}"#, Ok([text("last"), text("u")]));
        check(r#"{"text": "first", "text": null}"#, Ok([Found::Other("null"), Found::Nothing]));
        check(r#"{"other": {"text": "no"}, "text": "a", "other": 5}"#, Ok([text("a"), Found::Nothing]));
    }

    #[test]
    fn numbers_that_only_python_writes_are_numbers() {
        check(r#"{"score": NaN, "text": "NaN", "url": -Infinity}"#, Ok([text("NaN"), Found::Other("a number")]));
        check(r#"{"scores": [Infinity,NaN], "text": "\"-Infinity"}"#, Ok([text("\"-Infinity"), Found::Nothing]));
        check(r#"{"a": Nan, "text": "a"}"#, Err("not JSON: expected value (column 7)"));
        check("NaN", Err("a JSON number, not an object"));
    }

    #[test]
    fn half_a_surrogate_pair_is_one_replacement_character() {
        check(
            r#"{"text": "\udc00\ud83e\udd80\ud83e \\ud800\uD83E\uD83E\udd80", "url": "\ud800u"}"#,
            Ok([text("\u{fffd}🦀\u{fffd} \\ud800\u{fffd}🦀"), text("\u{fffd}u")]),
        );
        check(r#"{"other\ud800": "\udfff", "text": "é"}"#, Ok([text("é"), Found::Nothing]));
        check(r#"{"text": "\ud80"}"#, Err("not JSON: invalid escape (column 16)"));
    }
}
