//! enwik8 and text8: the first 100,000,000 bytes of a dump of Wikipedia, as it is, and cleaned to letters and spaces.
//!
//! Of the official file, the last 5,000,000 bytes are the test text. A file of another size is taken whole: it is a test text
//! already, or another text of this kind.

use crate::data::{DataError, DataFile, shown};
use crate::item::{Item, Units};
use crate::tasks::text::item;

/// Bytes of the official file.
const OFFICIAL_BYTES: usize = 100_000_000;
/// Bytes of its test text.
const TEST_BYTES: usize = 5_000_000;

/// Reads enwik8's test text as one item. Bytes of a character that was cut at its ends are left out.
pub fn enwik8(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    let test = DataFile { content: whole_characters(test_text(file.content)), ..*file };
    let text = test.text()?;
    if text.is_empty() { Err(file.empty("text")) } else { Ok(vec![item(1, text.to_owned(), Units::of(text))]) }
}

/// Reads text8's test text as one item.
pub fn text8(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    let test = DataFile { content: test_text(file.content), ..*file };
    let text = test.text()?;
    // Files that editors have touched end in a line break.
    let text = text.strip_suffix('\n').unwrap_or(text);
    if let Some(at) = text.find(|c: char| !c.is_ascii_lowercase() && c != ' ') {
        let found: String = text[at..].chars().take(20).collect();
        return Err(file.malformed(1, "letters from a to z and spaces", format!("{} at byte {at}", shown(&found))));
    }
    if text.is_empty() { Err(file.empty("text")) } else { Ok(vec![item(1, text.to_owned(), Units::of(text))]) }
}

/// Returns the test text of a file.
pub fn test_text(content: &[u8]) -> &[u8] {
    if content.len() == OFFICIAL_BYTES { &content[OFFICIAL_BYTES - TEST_BYTES..] } else { content }
}

/// Leaves out the end of a character at the front, and the beginning of one at the back.
fn whole_characters(content: &[u8]) -> &[u8] {
    let front = content.iter().take(3).take_while(|byte| **byte & 0b1100_0000 == 0b1000_0000).count();
    let content = &content[front..];
    match std::str::from_utf8(content) {
        Err(error) if error.error_len().is_none() => &content[..error.valid_up_to()],
        _ => content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Judgement;

    fn file(content: &[u8]) -> DataFile<'_> {
        DataFile { name: "enwik8", content }
    }

    #[test]
    fn a_character_that_was_cut_is_left_out_and_a_wrong_byte_is_refused() {
        let text = "é<page>é".as_bytes();
        let items = enwik8(&file(&text[1..text.len() - 1])).unwrap();
        assert_eq!(items[0].text(), "<page>");
        assert!(enwik8(&file(b"<pa\xffge>")).is_err());
    }

    #[test]
    fn the_last_five_million_bytes_of_the_official_size_are_the_test_text() {
        let mut content = vec![b'a'; OFFICIAL_BYTES];
        content[OFFICIAL_BYTES - TEST_BYTES - 1] = b'!';
        content[OFFICIAL_BYTES - 1] = b'z';
        let items = text8(&file(&content)).unwrap();
        let Judgement::Text(units) = items[0].judgement else { panic!("no text") };
        assert_eq!((units.characters, items[0].text().ends_with("az")), (TEST_BYTES as u64, true));
    }

    #[test]
    fn text8_is_letters_and_spaces() {
        assert_eq!(text8(&file(b" anarchism originated\n")).unwrap()[0].text(), " anarchism originated");
        let message = text8(&file(b"one 2")).unwrap_err().to_string();
        assert_eq!(message, "enwik8:1: expected letters from a to z and spaces, found \"2\" at byte 4");
    }
}
