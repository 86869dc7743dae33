//! WikiText-2 and WikiText-103, whose test texts are the same: the likelihood of encyclopaedia articles.
//!
//! [`whole`] is the GPT-2 paper's way, as far as the paper says: the text is de-tokenized invertibly, read as one, and its
//! log-likelihood is divided by the corpus's own words, of which each end of a line is one (245,569 in the test text).
//! [`pages`] is lm-evaluation-harness's: pages by themselves, its own de-tokenizer, and words as it counts them.
//!
//! Both read the official files, raw (`wiki.test.raw`) or with rare words as `<unk>` (`wiki.test.tokens`).

use std::sync::LazyLock;

use regex::Regex;

use crate::data::{DataError, DataFile};
use crate::detokenize::{Detokenizer, WIKITEXT, words};
use crate::item::{Item, Judgement, Request, Units};
use crate::python::{count_split_by_space, strip};
use crate::tasks::text::item;

const EXPECTED: &str = "lines of words separated by spaces, with titles as \" = Title = \"";

/// Reads the text as one item, de-tokenized invertibly.
pub fn whole(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    let text = file.text()?;
    if text.trim().is_empty() {
        return Err(file.empty(EXPECTED));
    }
    let detokenizer = Detokenizer::new(&WIKITEXT, text.lines());
    let written: Vec<String> = text.lines().map(|line| detokenizer.detokenize(line)).collect();
    let word_count = text.lines().map(|line| words(line).count() as u64 + 1).sum();
    Ok(vec![item(1, written.join("\n"), Units { words: word_count, ..Units::of(text) })])
}

/// Reads pages, each as one item, as lm-evaluation-harness does (`wikitext`).
pub fn pages(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    let text = file.text()?;
    if text.trim().is_empty() {
        return Err(file.empty(EXPECTED));
    }
    let mut pages = Vec::new();
    let mut page: Vec<&str> = Vec::new();
    for line in text.split('\n') {
        if is_title(line) {
            let before = std::mem::take(&mut page).join("\n");
            if !strip(&before).is_empty() {
                pages.push(before);
            }
        }
        page.push(line);
    }
    pages.push(page.join("\n"));
    let page = |(index, page): (usize, String)| {
        let units = Units { words: count_split_by_space(&page), ..Units::of(&page) };
        Item {
            id: (index + 1).to_string(),
            requests: vec![Request::Text(harness_detokenized(&page))],
            judgement: Judgement::Text(units),
        }
    };
    Ok(pages.into_iter().enumerate().map(page).collect())
}

/// Returns whether a page begins at `line`: at a title of the first rank.
fn is_title(line: &str) -> bool {
    let joined = line.replace("= = =", "===").replace("= =", "==");
    let title = strip(&joined);
    title.starts_with("= ") && title.ends_with(" =")
}

/// Pairs of marks within which lm-evaluation-harness drops the outer white space.
static PAIRS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let pairs = [
        (r"\(_([^)]*?)_\)", "(${1})"),
        (r"\[_([^\]]*?)_\]", "[${1}]"),
        (r"\{_([^}]*?)_\}", "{${1}}"),
        (r#""_([^"]*?)_""#, "\"${1}\""),
        (r"'_([^']*?)_'", "'${1}'"),
    ];
    // Python's `\s`.
    let compiled =
        pairs.map(|(pattern, with)| Some((Regex::new(&pattern.replace('_', r"[\s\x1c-\x1f]*")).ok()?, with)));
    compiled.into_iter().flatten().collect()
});

/// lm-evaluation-harness's de-tokenizer, which cannot be inverted.
fn harness_detokenized(page: &str) -> String {
    const BEFORE: [(&str, &str); 10] = [
        ("s '", "s'"),
        (" @-@ ", "-"),
        (" @,@ ", ","),
        (" @.@ ", "."),
        (" : ", ": "),
        (" ; ", "; "),
        (" . ", ". "),
        (" ! ", "! "),
        (" ? ", "? "),
        (" , ", ", "),
    ];
    const AFTER: [(&str, &str); 8] = [
        ("= = = =", "===="),
        ("= = =", "==="),
        ("= =", "=="),
        (" ° ", "°"),
        (" \n", "\n"),
        ("\n ", "\n"),
        (" N ", " 1 "),
        (" 's", "'s"),
    ];
    let replaced =
        |text: String, steps: &[(&str, &str)]| steps.iter().fold(text, |text, (from, to)| text.replace(from, to));
    let text = replaced(page.to_owned(), &BEFORE);
    let text = PAIRS.iter().fold(text, |text, (pair, with)| pair.replace_all(&text, *with).into_owned());
    replaced(text, &AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = " \n = First = \n \n It was a \" big \" , well @-@ known one . \n = = Part = = \n \n = Second = \n \n It 's ( 5 ) . \n";

    fn file(content: &str) -> DataFile<'_> {
        DataFile { name: "wiki.test.raw", content: content.as_bytes() }
    }

    #[test]
    fn the_whole_text_counts_its_words_and_line_ends() {
        let items = whole(&file(TEXT)).unwrap();
        assert_eq!(items.len(), 1);
        let expected = "\n= First =\n\nIt was a \"big\", well-known one.\n= = Part = =\n\n= Second =\n\nIt's (5).";
        assert_eq!(items[0].requests, [Request::Text(expected.to_owned())]);
        let units = Units { words: 3 + 12 + 5 + 3 + 6 + 9, characters: TEXT.len() as u64, bytes: TEXT.len() as u64 };
        assert_eq!(items[0].judgement, Judgement::Text(units));
    }

    #[test]
    fn pages_begin_at_titles_of_the_first_rank() {
        let items = pages(&file(TEXT)).unwrap();
        assert_eq!(items.len(), 2);
        let expected = "= First =\n\nIt was a \"big\", well-known one.\n== Part ==\n";
        let Request::Text(text) = &items[0].requests[0] else { panic!("{items:?}") };
        assert_eq!(text.trim_start(), expected);
        let Judgement::Text(units) = items[1].judgement else { panic!("{items:?}") };
        // " = Second = \n \n It 's ( 5 ) . \n" begins and ends with white space.
        assert_eq!(units.words, 1 + 3 + 6 + 1);
    }

    #[test]
    fn an_empty_file_is_refused() {
        for read in [whole, pages] {
            assert!(matches!(read(&file(" \n")).unwrap_err(), DataError::Empty { .. }));
        }
    }
}
