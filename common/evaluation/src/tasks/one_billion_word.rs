//! The One Billion Word benchmark: sentences in random order, so each is a text by itself.
//!
//! The test text is `news.en.heldout-00000-of-00050`. Each end of a sentence is a word.

use crate::data::{DataError, DataFile};
use crate::detokenize::{Detokenizer, ONE_BILLION_WORD, words};
use crate::item::{Item, Units};
use crate::tasks::text::item;

/// Reads sentences, each as one item, de-tokenized invertibly.
pub fn read(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    let detokenizer = Detokenizer::new(&ONE_BILLION_WORD, file.text()?.lines());
    file.read_lines("sentences, one a line", |number, line| {
        if words(line).next().is_none() {
            return Err(file.malformed(number, "a sentence of words separated by spaces", "an empty line"));
        }
        let units = Units { words: words(line).count() as u64 + 1, ..Units::of(line) };
        Ok(item(number, detokenizer.detokenize(line), units))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{Judgement, Request};

    #[test]
    fn each_sentence_is_a_text_by_itself() {
        let content = "Bush called this \" the U.S. 's duty \" .\nIt did n't cost $ 5 , he said .\n";
        let file = DataFile { name: "news.en.heldout-00000-of-00050", content: content.as_bytes() };
        let items = read(&file).unwrap();
        assert_eq!(items.len(), 2);
        assert_eq!(items[1].requests, [Request::Text("It didn't cost $5, he said.".to_owned())]);
        assert!(matches!(items[1].judgement, Judgement::Text(Units { words: 11, .. })), "{items:?}");
        assert!(read(&DataFile { content: b"a\n\n", ..file }).is_err());
    }
}
