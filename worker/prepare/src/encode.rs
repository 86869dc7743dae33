//! A batch of raw documents to token ids, each with what decides on its side and its place in the order.

use std::borrow::Cow;
use std::fmt;

use common::tokenizer::Tokenizer;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sha2::{Digest, Sha256};

use crate::inputs::{BadDocument, Batch, Fault, RawDocument, Source};
use crate::sides::{Bound, Side, text_hash};
use crate::tally::Tally;

/// What every document is encoded with.
pub struct Encoder<'j> {
    /// The tokenizer.
    pub tokenizer: &'j Tokenizer,
    /// `prepare.seed`.
    pub seed: u64,
    /// Decides on sides.
    pub bound: Bound,
    /// The field of a JSON object that holds the text.
    pub text_field: &'j str,
    /// The sources, for errors.
    pub sources: &'j [Source],
}

/// A document without its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where it belongs.
    pub side: Side,
    /// Its place in the order; no two documents have the same.
    pub key: u128,
    /// Where its tokens are, in bytes.
    pub start: usize,
    /// How many they are, with the end-of-text before it.
    pub tokens: u32,
}

/// A batch, encoded.
#[derive(Debug, Default)]
pub struct Encoded {
    /// Its documents.
    pub entries: Vec<Entry>,
    /// Their tokens, little-endian.
    pub tokens: Vec<u8>,
    /// What became of it.
    pub tally: Tally,
}

impl Encoder<'_> {
    /// Encodes `batch`.
    pub fn encode(&self, batch: &Batch) -> Encoded {
        let mut encoded = Encoded::default();
        // English has more than four bytes a token, so that this is enough for most, and little too much.
        encoded.tokens.reserve_exact(batch.content.len() / 2);
        batch.bad.iter().for_each(|bad| encoded.tally.refuse(bad.clone()));
        let mut ids = Vec::new();
        for raw in &batch.documents {
            match text_of(batch, raw, self.text_field, self.sources) {
                Ok(text) if text.is_empty() => encoded.tally.empty += 1,
                Ok(text) => self.push(&mut encoded, raw, &text, &mut ids),
                Err(bad) => encoded.tally.refuse(bad),
            }
        }
        encoded.tokens.shrink_to_fit();
        encoded
    }

    fn push(&self, encoded: &mut Encoded, raw: &RawDocument, text: &str, ids: &mut Vec<u16>) {
        ids.clear();
        ids.push(self.tokenizer.end_of_text());
        self.tokenizer.encode_into(text, ids);
        let hash = text_hash(self.seed, text);
        let start = encoded.tokens.len();
        encoded.tokens.resize(start + 2 * ids.len(), 0);
        for (bytes, id) in encoded.tokens[start..].chunks_exact_mut(2).zip(ids.iter()) {
            bytes.copy_from_slice(&id.to_le_bytes());
        }
        // Bounded by prepare.max_document_bytes: a token is at least a byte.
        let tokens = ids.len() as u32;
        encoded.tally.keep(text.len() as u64, tokens.into(), hash);
        let key = order_key(self.seed, raw.source, raw.position);
        encoded.entries.push(Entry { side: self.bound.side(hash), key, start, tokens });
    }
}

/// The text of a document of `batch`, which of a JSON object is in `field`.
pub fn text_of<'b>(
    batch: &'b Batch,
    raw: &RawDocument,
    field: &str,
    sources: &[Source],
) -> Result<Cow<'b, str>, BadDocument> {
    let content = &batch.content[raw.range.clone()];
    if !raw.is_json {
        return Ok(String::from_utf8_lossy(content));
    }
    json_text(content, field).map_err(|(fault, reason)| {
        let url = sources[raw.source as usize].url();
        BadDocument { source: raw.source, position: raw.position, url, place: raw.place, fault, reason }
    })
}

/// A document's place in the order: the first 16 bytes, big-endian, of SHA-256 over the seed, the number of its source
/// and its position there, each a little-endian u64.
pub fn order_key(seed: u64, source: u32, position: u64) -> u128 {
    let mut hasher = Sha256::new();
    for number in [seed, source.into(), position] {
        hasher.update(number.to_le_bytes());
    }
    hasher.finalize().iter().take(16).fold(0, |key, byte| key << 8 | u128::from(*byte))
}

/// The string in `field` of a JSON object.
fn json_text<'l>(line: &'l [u8], field: &str) -> Result<Cow<'l, str>, (Fault, String)> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let found = FieldOf(field).deserialize(&mut deserializer);
    match found.and_then(|found| deserializer.end().map(|()| found)) {
        Ok(Found::Text(text)) => Ok(text),
        Ok(Found::Other(kind)) => Err((Fault::NoText, format!("the field {field:?} is {kind}, not a string"))),
        Ok(Found::Nothing) => Err((Fault::NoText, format!("no field {field:?} (prepare.text_field)"))),
        Err(error) => Err((Fault::NotJson, not_an_object(line, &error))),
    }
}

/// What is wrong with a line that is no JSON object.
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
            // The parser's own position counts lines from the start of this one.
            let message = error.to_string();
            let what = message.split(" at line ").next().unwrap_or_default();
            format!("not JSON: {what} (column {})", error.column())
        }
    }
}

/// What a field holds.
enum Found<'l> {
    /// A string, borrowed where nothing in it is escaped.
    Text(Cow<'l, str>),
    /// Something else, by its kind.
    Other(&'static str),
    /// There is no such field.
    Nothing,
}

/// Takes one field out of an object, without making anything of the others.
struct FieldOf<'f>(&'f str);

impl<'de> DeserializeSeed<'de> for FieldOf<'_> {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldOf<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut found = Found::Nothing;
        while let Some(key) = map.next_key_seed(AnyValue)? {
            if matches!(key, Found::Text(key) if key == self.0) {
                // Of several fields of this name the last one counts.
                found = map.next_value_seed(AnyValue)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
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
    fn the_order_key_is_pinned() {
        // python3: hashlib.sha256(struct.pack("<QQQ", 1, 2, 3)).hexdigest()[:32]
        assert_eq!(format!("{:032x}", order_key(1, 2, 3)), "e2e2033ae7e19d680599d4eb0a1359a2");
    }

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
        check(r#"{"text": "first", "text": [1, {}]}"#, Err("the field \"text\" is an array, not a string"));
        check("5", Err("a JSON number, not an object"));
        check(r#"{"text": "#, Err("not JSON: EOF while parsing a value (column 9)"));
        check(r#"{"text": "a"} x"#, Err("not JSON: trailing characters (column 15)"));
        check(r#"{"text": "\ud800"}"#, Err("not JSON: unexpected end of hex escape (column 17)"));
        check(r#"["text"]"#, Err("a JSON array, not an object"));
        check(r#"{"Text": "a"}"#, Err("no field \"text\" (prepare.text_field)"));
        check(r#"{"text": null}"#, Err("the field \"text\" is null, not a string"));
        let nested = format!("{{\"text\": {}", "[".repeat(1 << 20));
        assert!(json_text(nested.as_bytes(), "text").unwrap_err().1.starts_with("not JSON: EOF"));
        assert!(json_text(b"{\"text\": \"\xff\"}", "text").unwrap_err().1.contains("unicode"));
    }
}
