//! The page in a JSON object: its field `html`, and what is known of it in `url` and `date`.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::damage::{Fault, Wrong};
use super::page::{Kind, Page, Place};

/// Fields of an object. A value that is no string counts as absent.
#[derive(Deserialize)]
struct Fields<T> {
    html: Option<T>,
    url: Option<T>,
    date: Option<T>,
}

/// Returns the page in `line`, of at most `most` bytes.
pub(super) fn page(line: &[u8], place: Place, most: usize) -> Result<Page, Wrong> {
    let fields = match serde_json::from_slice::<Fields<Value<'_>>>(line) {
        Ok(Fields { html, url, date }) => [html, url, date].map(|value| value?.0.map(Cow::into_owned)),
        Err(error) => match serde_json::from_slice::<Fields<Lossy>>(line) {
            Ok(Fields { html, url, date }) => [html, url, date].map(|value| Some(value?.0)),
            Err(_) => return Err((Fault::NotJson, not_an_object(&error))),
        },
    };
    let [html, url, date] = fields;
    let Some(html) = html else {
        return Err((Fault::NoHtml, "no string in the field \"html\"".to_owned()));
    };
    if html.len() > most {
        return Err((Fault::TooLong, format!("the content has more than {most} bytes")));
    }
    Ok(Page {
        kind: Kind::Json,
        place,
        url,
        date,
        status: None,
        content_type: Some("text/html".to_owned()),
        // JSON is Unicode, whatever the page says that it was before.
        charset: Some("utf-8".to_owned()),
        payload: html.into_bytes(),
        is_truncated: false,
        mends: Vec::new(),
    })
}

fn not_an_object(error: &serde_json::Error) -> String {
    // The parser counts lines from the start of this one.
    let message = error.to_string();
    let what = message.split(" at line ").next().unwrap_or_default();
    format!("not a JSON object: {what} (column {})", error.column())
}

/// String in which half surrogate pairs, which Python writes and JSON has no form for, are U+FFFD.
struct Lossy(String);

impl<'de> Deserialize<'de> for Lossy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Asked for bytes, the parser lets half pairs pass.
        deserializer.deserialize_bytes(LossyVisitor)
    }
}

struct LossyVisitor;

impl Visitor<'_> for LossyVisitor {
    type Value = Lossy;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        // The three bytes of a half pair are one character too many each time, so they are joined.
        let mut text = String::with_capacity(bytes.len());
        let mut is_half = false;
        for chunk in bytes.utf8_chunks() {
            if !chunk.valid().is_empty() {
                is_half = false;
            }
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() && (!is_half || chunk.invalid() == [0xed]) {
                text.push(char::REPLACEMENT_CHARACTER);
                is_half = true;
            }
        }
        Ok(Lossy(text))
    }
}

/// Any value, of which only a string is kept.
struct Value<'l>(Option<Cow<'l, str>>);

impl<'de: 'l, 'l> Deserialize<'de> for Value<'l> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value(Some(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value(Some(Cow::Owned(text.to_owned()))))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Value(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Value(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Value(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Value(None))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value(None))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_faults_named() {
        let check = |line: &str, expected: Result<(&str, Option<&str>), &str>| {
            let got = page(line.as_bytes(), Place::default(), 40);
            let got =
                got.map(|page| (String::from_utf8(page.payload).unwrap(), page.url)).map_err(|(_, reason)| reason);
            let expected = expected.map(|(html, url)| (html.to_owned(), url.map(str::to_owned)));
            assert_eq!(got, expected.map_err(str::to_owned), "{line}");
        };
        check(r#"{"html": "<p>é\u00e9</p>", "url": "u", "other": [{}]}"#, Ok(("<p>éé</p>", Some("u"))));
        check(r#"{"url": null, "html": ""}"#, Ok(("", None)));
        check(r#"{"url": 5, "date": {"a": []}, "html": "a"}"#, Ok(("a", None)));
        check(r#"{"html": "a\ud800b \udc00\ud83e \ud83e\udd80"}"#, Ok(("a\u{fffd}b \u{fffd}\u{fffd} 🦀", None)));
        check(r#"{"html": null}"#, Err("no string in the field \"html\""));
        check(r#"{"HTML": "a"}"#, Err("no string in the field \"html\""));
        check(r#"{"html": "#, Err("not a JSON object: EOF while parsing a value (column 9)"));
        let long = format!("{{\"html\": \"{}\"}}", "a".repeat(41));
        check(&long, Err("the content has more than 40 bytes"));
        let nested = format!("{{\"html\": {}", "[".repeat(1 << 20));
        assert_eq!(page(nested.as_bytes(), Place::default(), 40).unwrap_err().0, Fault::NotJson);
    }
}
