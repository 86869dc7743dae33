//! The page in a JSON object: its field `html`, and what is known of it in `url` and `date`.

use super::damage::{Fault, Wrong};
use super::page::{Kind, Page, Place};
use crate::json::{Found, values};

/// Returns the page in `line`, of at most `most` bytes.
pub(super) fn page(line: &[u8], place: Place, most: usize) -> Result<Page, Wrong> {
    let fields = match strings(line) {
        Err(_) if std::str::from_utf8(line).is_err() => strings(with_replacements(line).as_bytes()),
        fields => fields,
    };
    let [html, url, date] = fields.map_err(|reason| (Fault::NotJson, reason))?;
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

/// Returns the strings in the fields `html`, `url` and `date`. A value that is no string counts as absent.
fn strings(line: &[u8]) -> Result<[Option<String>; 3], String> {
    let mut found = values(line, &["html", "url", "date"])?.into_iter();
    let string = |found| match found {
        Some(Found::Text(text)) => Some(text.into_owned()),
        _ => None,
    };
    Ok(std::array::from_fn(|_| string(found.next())))
}

/// Returns `line` with U+FFFD for bytes that are not UTF-8: one for those that follow each other, and for each half of a surrogate
/// pair.
fn with_replacements(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len());
    let mut is_replaced = false;
    for chunk in line.utf8_chunks() {
        if !chunk.valid().is_empty() {
            is_replaced = false;
        }
        text.push_str(chunk.valid());
        // A half has three bytes, of which the first is this one.
        if !chunk.invalid().is_empty() && (!is_replaced || chunk.invalid() == [0xed]) {
            text.push(char::REPLACEMENT_CHARACTER);
            is_replaced = true;
        }
    }
    text
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
        // What Python's json writes, here as in texts.
        check(r#"{"score": NaN, "html": "NaN", "scores": [-Infinity]}"#, Ok(("NaN", None)));
        check(r#"{"html": "first", "url": "u", "html": "last", "url": 5}"#, Ok(("last", None)));
        check(r#"{"url": 5, "score": NaN, "html": "\ud800", "url": "\udc00"}"#, Ok(("\u{fffd}", Some("\u{fffd}"))));
        check("[1]", Err("a JSON array, not an object"));
        check(r#"{"html": null}"#, Err("no string in the field \"html\""));
        check(r#"{"HTML": "a"}"#, Err("no string in the field \"html\""));
        check(r#"{"html": "#, Err("not JSON: EOF while parsing a value (column 9)"));
        let long = format!("{{\"html\": \"{}\"}}", "a".repeat(41));
        check(&long, Err("the content has more than 40 bytes"));
        let nested = format!("{{\"html\": {}", "[".repeat(1 << 20));
        assert_eq!(page(nested.as_bytes(), Place::default(), 40).unwrap_err().0, Fault::NotJson);
    }

    #[test]
    fn bytes_that_are_not_utf8_cost_no_page() {
        let html = |line: &[u8]| String::from_utf8(page(line, Place::default(), 40).unwrap().payload).unwrap();
        assert_eq!(html(b"{\"html\": \"caf\xe9\", \"url\": 5}"), "caf\u{fffd}");
        assert_eq!(html(b"{\"score\": NaN, \"html\": \"\xe9\xe9 \\ud800\"}"), "\u{fffd} \u{fffd}");
        assert_eq!(html(b"{\"html\": \"\xed\xa0\xbd\xed\xb8\x80\"}"), "\u{fffd}\u{fffd}");
        assert_eq!(html(b"{\"other\": \"\xe9\", \"html\": \"a\"}"), "a");
    }
}
