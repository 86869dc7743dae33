//! LAMBADA: the last word of a passage, which people guess from the whole passage but not from its last sentence.
//!
//! There are three tasks, since their scores differ by up to 14 points. OpenAI's preprocessing puts a line break in front of the
//! stripped text and makes its double quotes straight; the paper's numbers are of the last BPE token, as far as anyone could
//! tell. lm-evaluation-harness takes the text as it is, split at its last space.

use serde::Deserialize;

use crate::data::{DataError, DataFile, shown};
use crate::item::{Continuation, Item, Judgement, Request, Scored};

#[derive(Deserialize)]
struct Line {
    text: String,
}

const EXPECTED: &str = "a JSON object with a passage of two words or more as \"text\"";

/// Reads items whose last token is scored, with OpenAI's preprocessing.
pub fn openai_last_token(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    read(file, |text| last_word(&openai(text)), Scored::LastToken)
}

/// Reads items whose last word is scored, with OpenAI's preprocessing.
pub fn openai_last_word(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    read(file, |text| last_word(&openai(text)), Scored::All)
}

/// Reads items as lm-evaluation-harness does (`lambada_openai`).
pub fn harness(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    read(
        file,
        |text| text.rsplit_once(' ').map(|(context, word)| (context.to_owned(), format!(" {word}"))),
        Scored::All,
    )
}

fn read(
    file: &DataFile<'_>,
    split: impl Fn(&str) -> Option<(String, String)>,
    scored: Scored,
) -> Result<Vec<Item>, DataError> {
    let lines = file.json_lines::<Line>(EXPECTED)?;
    let item = |(number, Line { text }): (usize, Line)| {
        let split = split(&text).filter(|(context, word)| !context.trim().is_empty() && !word.trim().is_empty());
        let (context, continuation) = split.ok_or_else(|| file.malformed(number, EXPECTED, shown(&text)))?;
        let request = Request::Continuation(Continuation { context, continuation, scored });
        Ok(Item { id: number.to_string(), requests: vec![request], judgement: Judgement::LastWord })
    };
    lines.into_iter().map(item).collect()
}

/// Returns the text as OpenAI fed it, by their account in issue 131 of openai/gpt-2.
fn openai(text: &str) -> String {
    format!("\n{}", text.replace(['“', '”'], "\"").trim())
}

/// Splits before the white space in front of the last word.
fn last_word(text: &str) -> Option<(String, String)> {
    let (before, word) = text.rsplit_once(char::is_whitespace)?;
    let (context, continuation) = text.split_at(text[..text.len() - word.len()].trim_end().len());
    (!before.is_empty()).then(|| (context.to_owned(), continuation.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(items: Vec<Item>) -> Vec<(String, String)> {
        let part = |item: Item| match &item.requests[..] {
            [Request::Continuation(request)] => (request.context.clone(), request.continuation.clone()),
            other => panic!("{other:?}"),
        };
        items.into_iter().map(part).collect()
    }

    fn file(content: &str) -> DataFile<'_> {
        DataFile { name: "lambada_test.jsonl", content: content.as_bytes() }
    }

    #[test]
    fn openais_text_begins_with_a_line_break_and_has_straight_quotes() {
        let content = r#"{"text": " “I care,” he said about signs \n"}"#;
        let expected = [("\n\"I care,\" he said about".to_owned(), " signs".to_owned())];
        assert_eq!(parts(openai_last_word(&file(content)).unwrap()), expected);
        assert_eq!(parts(openai_last_token(&file(content)).unwrap()), expected);
    }

    #[test]
    fn the_harness_splits_at_the_last_space_only() {
        let content = r#"{"text": "some “kind” of\n\nPower"}"#;
        assert_eq!(parts(harness(&file(content)).unwrap()), [("some “kind”".to_owned(), " of\n\nPower".to_owned())]);
        let openai = parts(openai_last_word(&file(content)).unwrap());
        assert_eq!(openai, [("\nsome \"kind\" of".to_owned(), "\n\nPower".to_owned())]);
    }

    #[test]
    fn a_passage_of_one_word_is_refused_with_its_line() {
        let content = "{\"text\": \"two words\"}\n{\"text\": \"one\"}\n";
        for read in [openai_last_token, openai_last_word, harness] {
            let message = read(&file(content)).unwrap_err().to_string();
            assert!(message.starts_with("lambada_test.jsonl:2: expected a JSON object with a passage"), "{message}");
        }
    }
}
