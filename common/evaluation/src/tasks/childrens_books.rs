//! The Children's Book Test: which of ten words was left out of the sentence behind twenty.
//!
//! A choice is put in the place of the blank. Its score is the likelihood of the choice and of the rest of the sentence, after
//! all that is in front. The Penn Treebank's way to write punctuation is undone first, as in the paper. The paper reports the
//! validation sets (`cbtest_CN_valid_2000ex.txt` and `cbtest_NE_valid_2000ex.txt`), since a test book is in WebText.

use crate::data::{DataError, DataFile, shown};
use crate::detokenize::{Detokenizer, PENN_TREEBANK};
use crate::item::{Item, Judgement, Length, Request};

const BLANK: &str = "XXXXX";
const SENTENCES: usize = 20;
const CHOICES: usize = 10;

/// Reads items.
pub fn read(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    // White space is everywhere, and sometimes twice.
    let normal = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = file.text()?;
    let lines: Vec<String> = text.lines().map(|line| normal(line.split('\t').next().unwrap_or_default())).collect();
    let detokenizer = Detokenizer::new(&PENN_TREEBANK, lines.iter().map(String::as_str));
    let mut items = Vec::new();
    let mut sentences: Vec<String> = Vec::new();
    for ((number, line), normal) in file.lines()?.zip(&lines) {
        if line.trim().is_empty() {
            continue;
        }
        let expected = sentences.len() + 1;
        let sentence =
            normal.split_once(' ').filter(|(number, _)| number.parse() == Ok(expected)).map(|(_, text)| text);
        let sentence = sentence.ok_or_else(|| {
            file.malformed(
                number,
                format!("{expected} and a sentence, as of an entry of 21 numbered lines"),
                shown(line),
            )
        })?;
        let written = detokenizer.detokenize(sentence);
        if sentences.len() < SENTENCES {
            sentences.push(written);
            continue;
        }
        let context = std::mem::take(&mut sentences).join(" ");
        items.push(
            item(items.len() + 1, &context, &written, line)
                .ok_or_else(|| file.malformed(number, EXPECTED, shown(line)))?,
        );
    }
    match (sentences.is_empty(), items.is_empty()) {
        (false, _) => Err(file.malformed(lines.len(), "21 lines of an entry", format!("{} lines", sentences.len()))),
        (_, true) => Err(file.empty("entries of 21 numbered lines")),
        _ => Ok(items),
    }
}

const EXPECTED: &str = "21, a sentence with one XXXXX, and, behind tabs, the answer and ten choices separated by |, one of them \
                        the answer";

/// Returns the item of a question, or nothing if `line` is malformed.
fn item(number: usize, context: &str, question: &str, line: &str) -> Option<Item> {
    let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
    let [_, answer, .., choices] = fields[..] else { return None };
    let choices: Vec<&str> = choices.split('|').collect();
    let gold = choices.iter().position(|choice| *choice == answer)?;
    let (before, after) = question.split_once(BLANK)?;
    if choices.len() != CHOICES || after.contains(BLANK) || choices.iter().any(|choice| choice.is_empty()) {
        return None;
    }
    // The space in front of the blank belongs to the choice.
    let whole = format!("{context} {before}");
    let (context, space) = whole.split_at(whole.trim_end().len());
    let requests =
        choices.iter().map(|choice| Request::continuation(context, format!("{space}{choice}{after}"))).collect();
    let lengths = choices.iter().map(|choice| Length::of(choice)).collect();
    Some(Item { id: number.to_string(), requests, judgement: Judgement::Choice { gold, lengths } })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small file in the official format.
    fn entry(question: &str) -> String {
        let sentences: String = (1..=20).map(|n| format!("{n} He did n't see number {n} , did he ? \n")).collect();
        format!("{sentences}{question}\n\n")
    }

    const QUESTION: &str = "21 `` The XXXXX , '' said she .\tcat\t\tdog|cat|a|b|c|d|e|f|g|h";

    fn file(content: &str) -> DataFile<'_> {
        DataFile { name: "cbtest_CN_valid_2000ex.txt", content: content.as_bytes() }
    }

    #[test]
    fn a_choice_and_the_rest_follow_the_twenty_sentences() {
        let items = read(&file(&entry(QUESTION).repeat(2))).unwrap();
        assert_eq!(items.len(), 2);
        let Request::Continuation(request) = &items[1].requests[1] else { panic!("{items:?}") };
        assert!(request.context.starts_with("He didn't see number 1, did he? He didn't see number 2,"), "{request:?}");
        assert!(request.context.ends_with(" number 20, did he? \"The"), "{request:?}");
        assert_eq!(request.continuation, " cat,\" said she.");
        assert!(matches!(items[1].judgement, Judgement::Choice { gold: 1, .. }));
    }

    #[test]
    fn a_blank_at_the_start_follows_a_space() {
        let items = read(&file(&entry(&QUESTION.replace("`` The XXXXX , ''", "XXXXX")))).unwrap();
        let Request::Continuation(request) = &items[0].requests[0] else { panic!("{items:?}") };
        assert!(request.context.ends_with("did he?"), "{request:?}");
        assert_eq!(request.continuation, " dog said she.");
    }

    #[test]
    fn malformed_entries_are_named_by_line() {
        let good = entry(QUESTION);
        let cases = [
            (good.replace("7 He", "8 He"), ":7: expected 7 and a sentence"),
            (good.replace("XXXXX", "cat"), ":21: expected 21, a sentence with one XXXXX"),
            (good.replace("\tcat\t", "\tmouse\t"), ":21: expected 21"),
            (good.replace("|h", ""), ":21: expected 21"),
            (good.replace('\t', " "), ":21: expected 21"),
            (good.lines().take(3).collect::<Vec<_>>().join("\n"), ":3: expected 21 lines of an entry, found 3 lines"),
        ];
        for (content, expected) in cases {
            let message = read(&file(&content)).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        assert!(matches!(read(&file("\n")).unwrap_err(), DataError::Empty { .. }));
    }
}
