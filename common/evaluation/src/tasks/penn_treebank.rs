//! The Penn Treebank as language modelling uses it (Mikolov): `ptb.test.txt`, one text.
//!
//! Words are lower-case, numbers are `N`, rare words `<unk>`; there is no punctuation. Each end of a line is a word.

use crate::data::{DataError, DataFile};
use crate::detokenize::{Detokenizer, PENN_TREEBANK, words};
use crate::item::{Item, Units};
use crate::tasks::text::item;

/// Reads the text as one item, de-tokenized invertibly.
pub fn read(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    let text = file.text()?;
    let detokenizer = Detokenizer::new(&PENN_TREEBANK, text.lines());
    let lines = file.read_lines("sentences, one a line", |number, line| {
        if words(line).next().is_none() {
            return Err(file.malformed(number, "a sentence of words separated by spaces", "an empty line"));
        }
        Ok((detokenizer.detokenize(line), words(line).count() as u64 + 1))
    })?;
    let word_count = lines.iter().map(|(_, words)| words).sum();
    let written: Vec<String> = lines.into_iter().map(|(line, _)| line).collect();
    Ok(vec![item(1, written.join("\n"), Units { words: word_count, ..Units::of(text) })])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{Judgement, Request};

    #[test]
    fn sentences_are_one_text_and_line_ends_are_words() {
        let content = " no it was n't black monday \n but while the <unk> 's u.s. unit rose $ N million \n";
        let items = read(&DataFile { name: "ptb.test.txt", content: content.as_bytes() }).unwrap();
        let expected = "no it wasn't black monday\nbut while the <unk>'s u.s. unit rose $ N million";
        assert_eq!(items[0].requests, [Request::Text(expected.to_owned())]);
        assert!(matches!(items[0].judgement, Judgement::Text(Units { words: 19, bytes: 81, .. })), "{items:?}");
    }

    #[test]
    fn an_empty_line_is_refused() {
        let error = read(&DataFile { name: "ptb.test.txt", content: b" a b \n\n c \n" }).unwrap_err();
        assert!(error.to_string().starts_with("ptb.test.txt:2: expected a sentence"), "{error}");
    }
}
