//! HellaSwag: which of four endings continues a description.
//!
//! There are three tasks. [`mean_token`] scores the raw context and ending, as llm.c and nanochat do. [`harness`] puts the
//! activity in front and removes the brackets of WikiHow, as lm-evaluation-harness does. [`text`] reads the text form of
//! klosax/hellaswag_text_data, six lines an item, where activity and context are joined already, and treats them as [`harness`]
//! does. What separates the tasks is the text; the ways to normalize a score are metrics of each.

use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::data::{DataError, DataFile, shown};
use crate::item::{Item, Judgement, Length, Request};
use crate::python::{capitalize, strip};

const ENDINGS: usize = 4;
const EXPECTED: &str =
    "a JSON object with \"activity_label\", \"ctx_a\", \"ctx_b\", \"ctx\", \"label\" from 0 to 3, and four \"endings\"";

#[derive(Deserialize)]
struct Line {
    activity_label: String,
    ctx_a: String,
    ctx_b: String,
    ctx: String,
    /// A number, or its digit as text in copies of the data set.
    label: Value,
    endings: [String; ENDINGS],
}

/// Reads the official JSON lines; an item is the raw context, a space, and an ending.
pub fn mean_token(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    let item = |(number, line): (usize, Line)| {
        let gold = label(&line.label).ok_or_else(|| file.malformed(number, EXPECTED, label_found(&line.label)))?;
        item(file, number, &line.ctx, gold, line.endings)
    };
    file.json_lines::<Line>(EXPECTED)?.into_iter().map(item).collect()
}

/// Reads the official JSON lines as lm-evaluation-harness does.
pub fn harness(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    let item = |(number, line): (usize, Line)| {
        let gold = label(&line.label).ok_or_else(|| file.malformed(number, EXPECTED, label_found(&line.label)))?;
        let context = format!("{} {}", line.ctx_a, capitalize(&line.ctx_b));
        let query = preprocess(&format!("{}: {context}", line.activity_label));
        item(file, number, &query, gold, line.endings.map(|ending| preprocess(&ending)))
    };
    file.json_lines::<Line>(EXPECTED)?.into_iter().map(item).collect()
}

/// Reads the text form: activity and context, the label, and four endings, each on a line.
pub fn text(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    const LINES: usize = 2 + ENDINGS;
    let lines: Vec<&str> = file.lines()?.map(|(_, line)| line).collect();
    let mut items = Vec::with_capacity(lines.len() / LINES);
    for (index, entry) in lines.chunks(LINES).enumerate() {
        let number = index * LINES + 1;
        let [context, label, endings @ ..] = entry else {
            return Err(file.malformed(number, "six lines of an item", "one line, and the end of the file"));
        };
        let endings: &[&str; ENDINGS] = endings.try_into().map_err(|_| {
            file.malformed(number, "six lines of an item", format!("{} lines, and the end of the file", entry.len()))
        })?;
        let (activity, context) = context
            .split_once(": ")
            .ok_or_else(|| file.malformed(number, "an activity, \": \" and a context", shown(context)))?;
        let gold = digit(label).ok_or_else(|| file.malformed(number + 1, "a label from 0 to 3", shown(label)))?;
        let query = preprocess(&format!("{activity}: {context} "));
        items.push(Item { id: (index + 1).to_string(), ..item(file, number, &query, gold, endings.map(preprocess))? });
    }
    if items.is_empty() { Err(file.empty("six lines an item")) } else { Ok(items) }
}

fn item(
    file: &DataFile<'_>,
    number: usize,
    context: &str,
    gold: usize,
    endings: [String; ENDINGS],
) -> Result<Item, DataError> {
    if let Some(index) = endings.iter().position(|ending| ending.trim().is_empty()) {
        return Err(file.malformed(number, "four endings with words", format!("nothing as ending {index}")));
    }
    let judgement = Judgement::Choice { gold, lengths: endings.iter().map(|ending| Length::of(ending)).collect() };
    let requests = endings.iter().map(|ending| Request::continuation(context, format!(" {ending}"))).collect();
    Ok(Item { id: number.to_string(), requests, judgement })
}

fn label(value: &Value) -> Option<usize> {
    match value {
        Value::Number(number) => usize::try_from(number.as_u64()?).ok().filter(|label| *label < ENDINGS),
        Value::String(text) => digit(text),
        _ => None,
    }
}

fn label_found(value: &Value) -> String {
    format!("the label {}", shown(&value.to_string()))
}

fn digit(text: &str) -> Option<usize> {
    match text.as_bytes() {
        [digit @ b'0'..=b'3'] => Some(usize::from(digit - b'0')),
        _ => None,
    }
}

static BRACKETS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\[.*?\]").ok());

/// Removes what the WikiHow part has in brackets, as lm-evaluation-harness does.
fn preprocess(text: &str) -> String {
    let text = strip(text).replace(" [title]", ". ");
    let text = match &*BRACKETS {
        Some(brackets) => brackets.replace_all(&text, "").into_owned(),
        None => text,
    };
    text.replace("  ", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"ind": 4, "activity_label": "Roof", "ctx_a": "[header] A [title] B  c.", "ctx_b": "he RUNS", "ctx": "[header] A [title] B  c. he RUNS", "split": "val", "label": "2", "endings": ["a.", " b [step] c", "d", "é"]}"#;

    fn file(content: &str) -> DataFile<'_> {
        DataFile { name: "hellaswag_val.jsonl", content: content.as_bytes() }
    }

    fn texts(item: &Item) -> Vec<String> {
        item.requests.iter().map(Request::text).collect()
    }

    #[test]
    fn the_tasks_differ_in_their_text() {
        let raw = mean_token(&file(LINE)).unwrap();
        assert_eq!(
            texts(&raw[0])[..2],
            ["[header] A [title] B  c. he RUNS a.", "[header] A [title] B  c. he RUNS  b [step] c"]
        );
        let cleaned = harness(&file(LINE)).unwrap();
        assert_eq!(texts(&cleaned[0])[..2], ["Roof: A. B c. He runs a.", "Roof: A. B c. He runs b c"]);
        let lengths = [(2, 2), (3, 3), (1, 1), (1, 2)].map(|(characters, bytes)| Length { characters, bytes });
        assert_eq!(cleaned[0].judgement, Judgement::Choice { gold: 2, lengths: lengths.to_vec() });
    }

    #[test]
    fn the_text_form_is_cleaned_as_the_harness_cleans() {
        let items = text(&file("Roof: On [x] it: he\n1\na\nb [step] c\nd\ne\n")).unwrap();
        assert_eq!(texts(&items[0])[..2], ["Roof: On it: he a", "Roof: On it: he b c"]);
        assert_eq!(items[0].id, "1");
    }

    #[test]
    fn malformed_entries_are_named_by_line() {
        let cases = [
            ("Roof: On it\n1\na\nb\nc\nd\nRoof: On\n", ":7: expected six lines of an item, found one line"),
            ("Roof: On it\n1\na\nb\n", ":1: expected six lines of an item, found 4 lines"),
            ("Roof: On it\n4\na\nb\nc\nd\n", ":2: expected a label from 0 to 3, found \"4\""),
            ("Roof\n1\na\nb\nc\nd\n", ":1: expected an activity"),
            ("Roof: On it\n1\na\n \nc\nd\n", ":1: expected four endings with words, found nothing as ending 1"),
        ];
        for (content, expected) in cases {
            let message = text(&file(content)).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        for (from, to) in [("\"2\"", "\"\""), ("\"2\"", "4"), ("\"2\"", "null"), ("\"é\"", "\"é\", \"f\"")] {
            let message = harness(&file(&LINE.replace(from, to))).unwrap_err().to_string();
            assert!(message.starts_with("hellaswag_val.jsonl:1: expected a JSON object with"), "{message}");
        }
    }
}
