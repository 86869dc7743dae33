//! What the config names becomes objects, and objects become raw documents.
//!
//! A `.txt` object is one document; bytes that are not UTF-8 are replaced by U+FFFD. A `.jsonl` object has a JSON
//! object a line, with the text in one of its fields; empty lines are nothing. A byte order mark at the start of an
//! object is not part of its text.

use std::fmt;

use bytes::Bytes;
use common::config::StorageConfig;
use common::storage::{Folder, StorageError};
use serde_json::Value;

use crate::PrepareError;

/// An object to read documents from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The input that it belongs to, as the config names it.
    pub input: String,
    /// Its name below that input; empty where the input is the object.
    pub name: String,
    /// Its size when it was found.
    pub bytes: u64,
    folder: Folder,
    kind: Kind,
}

/// How documents lie in an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    JsonLines,
}

/// A part of an object that should be one document.
pub struct RawDocument<'s> {
    source: &'s Source,
    /// Counted from 1; `None` where the object is the document.
    line: Option<u64>,
    content: Bytes,
}

/// A document that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadDocument {
    /// The object.
    pub url: String,
    /// The line, counted from 1; `None` where the object is meant.
    pub line: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for BadDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}, line {line}: {}", self.url, self.reason),
            None => write!(f, "{}: {}", self.url, self.reason),
        }
    }
}

/// All objects of `inputs`, in their order, those of a folder by name.
///
/// An input that does not exist or has nothing to read is an error.
pub fn find(inputs: &[String], storage: &StorageConfig) -> Result<Vec<Source>, PrepareError> {
    let mut sources = Vec::new();
    for input in inputs {
        let folder = Folder::open(input, storage)?;
        let source = |name: &str, bytes, kind| Source {
            input: input.clone(),
            name: name.to_owned(),
            bytes,
            folder: folder.clone(),
            kind,
        };
        let before = sources.len();
        match kind_of(input) {
            Some(kind) => sources.push(source("", folder.size("")?, kind)),
            None => sources.extend(
                folder.list()?.iter().filter_map(|o| kind_of(&o.name).map(|kind| source(&o.name, o.bytes, kind))),
            ),
        }
        if sources.len() == before {
            return Err(PrepareError::NothingToRead { url: folder.url().to_owned() });
        }
    }
    Ok(sources)
}

fn kind_of(name: &str) -> Option<Kind> {
    let (_, extension) = name.rsplit_once('.')?;
    match extension.to_ascii_lowercase().as_str() {
        "txt" => Some(Kind::Text),
        "jsonl" => Some(Kind::JsonLines),
        _ => None,
    }
}

impl Source {
    /// The object's absolute URL.
    pub fn url(&self) -> String {
        self.folder.url_of(&self.name)
    }

    /// The raw documents of the object.
    ///
    /// A store that does not answer is an error of the job; an object that is refused or gone is a bad document.
    pub fn read(&self) -> Result<Result<Vec<RawDocument<'_>>, BadDocument>, StorageError> {
        match self.folder.get(&self.name) {
            Ok(content) => Ok(Ok(self.raw_documents(content))),
            Err(error @ StorageError::Unreachable { .. }) => Err(error),
            Err(error) => Ok(Err(BadDocument { url: self.url(), line: None, reason: error.to_string() })),
        }
    }

    fn raw_documents(&self, content: Bytes) -> Vec<RawDocument<'_>> {
        let bom = "\u{feff}".as_bytes();
        let content = if content.starts_with(bom) { content.slice(bom.len()..) } else { content };
        match self.kind {
            Kind::Text => vec![RawDocument { source: self, line: None, content }],
            Kind::JsonLines => content
                .split(|byte| *byte == b'\n')
                .zip(1..)
                .filter(|(line, _)| !line.trim_ascii().is_empty())
                .map(|(line, number)| RawDocument {
                    source: self,
                    line: Some(number),
                    content: content.slice_ref(line),
                })
                .collect(),
        }
    }
}

impl RawDocument<'_> {
    /// The text of the document, which of a JSON line is its field `text_field`.
    pub fn text(&self, text_field: &str) -> Result<String, BadDocument> {
        match self.source.kind {
            Kind::Text => Ok(String::from_utf8_lossy(&self.content).into_owned()),
            Kind::JsonLines => json_text(&self.content, text_field).map_err(|reason| BadDocument {
                url: self.source.url(),
                line: self.line,
                reason,
            }),
        }
    }
}

fn json_text(line: &[u8], text_field: &str) -> Result<String, String> {
    let value: Value = serde_json::from_slice(line).map_err(|e| {
        // The parser's own position counts lines from the start of this one.
        let message = e.to_string();
        let what = message.split(" at line ").next().unwrap_or_default();
        format!("not JSON: {what} (column {})", e.column())
    })?;
    let Value::Object(mut fields) = value else {
        return Err(format!("a JSON {}, not an object", kind_of_value(&value)));
    };
    match fields.remove(text_field) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!("the field {text_field:?} is a {}, not a string", kind_of_value(&other))),
        None => Err(format!("no field {text_field:?} (prepare.text_field)")),
    }
}

fn kind_of_value(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_a_json_line_are_named() {
        let check = |line: &str, expected: Result<&str, &str>| {
            let got = json_text(line.as_bytes(), "text");
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{line}");
        };
        check(r#" {"text": "a\u00e9\n", "other": [1]} "#, Ok("aé\n"));
        check(r#"{"text": "#, Err("not JSON: EOF while parsing a value (column 9)"));
        check(r#"{"text": "\ud800"}"#, Err("not JSON: unexpected end of hex escape (column 17)"));
        check(r#"["text"]"#, Err("a JSON array, not an object"));
        check(r#"{"Text": "a"}"#, Err("no field \"text\" (prepare.text_field)"));
        check(r#"{"text": null}"#, Err("the field \"text\" is a null, not a string"));
        let nested = format!("{{\"text\": {}", "[".repeat(1 << 20));
        assert!(json_text(nested.as_bytes(), "text").unwrap_err().contains("recursion limit"));
        assert!(json_text(b"{\"text\": \"\xff\"}", "text").unwrap_err().contains("unicode"));
    }

    #[test]
    fn an_object_that_is_gone_is_a_bad_document() {
        let folder = Folder::open("memory://inputs-gone", &StorageConfig::default()).unwrap();
        folder.put("a.txt", Bytes::from_static(b"text")).unwrap();
        let sources = find(&["memory://inputs-gone".into()], &StorageConfig::default()).unwrap();
        folder.delete("a.txt").unwrap();
        let bad = sources[0].read().unwrap().err().unwrap();
        assert_eq!(bad.to_string(), "memory://inputs-gone/a.txt: memory://inputs-gone/a.txt does not exist");
    }
}
