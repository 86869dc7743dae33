//! A text of the user's: one file of plain text, or a JSON document a line.

use serde::Deserialize;

use crate::data::{DataError, DataFile};
use crate::item::{Item, Judgement, Request, Units};

#[derive(Deserialize)]
struct Document {
    text: String,
}

impl Units {
    /// Returns the units of `text`. Its words are separated by white space.
    pub fn of(text: &str) -> Self {
        Units {
            words: text.split_whitespace().count() as u64,
            characters: text.chars().count() as u64,
            bytes: text.len() as u64,
        }
    }
}

/// Reads a file as one text.
pub fn plain(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    let text = file.text()?;
    if text.is_empty() { Err(file.empty("text")) } else { Ok(vec![item(1, text.to_owned(), Units::of(text))]) }
}

/// Reads documents, each a text by itself.
pub fn documents(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    let lines = file.json_lines::<Document>("a JSON object with \"text\"")?;
    Ok(lines.into_iter().map(|(number, Document { text })| item(number, text.clone(), Units::of(&text))).collect())
}

/// Returns the item of a text.
pub(super) fn item(number: usize, text: String, units: Units) -> Item {
    Item { id: number.to_string(), requests: vec![Request::Text(text)], judgement: Judgement::Text(units) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_text_and_each_document_is_one() {
        let file = |content| DataFile { name: "x", content };
        let items = plain(&file("Été  à\nla mer\n".as_bytes())).unwrap();
        assert_eq!(items[0].judgement, Judgement::Text(Units { words: 4, characters: 14, bytes: 17 }));
        let items = documents(&file(b"{\"text\": \"a b\", \"id\": 1}\n{\"text\": \"\"}\n")).unwrap();
        assert_eq!((items.len(), &*items[1].id, items[1].text().as_str()), (2, "2", ""));
        assert!(plain(&file(b"")).is_err());
        assert!(
            documents(&file(b"{\"txt\": \"\"}")).unwrap_err().to_string().starts_with("x:1: expected a JSON object")
        );
    }
}
