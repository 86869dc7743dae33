//! WSC273: which of two antecedents a pronoun stands for.
//!
//! The pronoun is replaced by each option. Partial scoring takes the text up to the option as context, and compares the
//! likelihoods of what follows; full scoring compares those of the whole sentences (Trinh and Le, arXiv:1806.02847).
//! lm-evaluation-harness scores partially, with two spaces between the option and what follows.
//!
//! Three forms are read: the official `WSCollection.xml`, of which the first 273 schemas count; JSON lines with `text`,
//! `pronoun`, `pronoun_loc`, `options` and `label`, as of Hugging Face's `winograd_wsc`; and JSON lines with `context_options`,
//! `continuation` and `gold`, as of llm-foundry, in which the options are replaced already.

use serde::Deserialize;

use crate::data::{DataError, DataFile, shown};
use crate::item::{Item, Judgement, Length, Request};
use crate::tasks::winograd_schema::Schema;
use crate::tasks::wsc_xml;

/// Schemas of the collection that count.
const SCHEMAS: usize = 273;
/// Possessive pronouns: the option takes an 's.
const POSSESSIVE: [&str; 5] = ["my", "his", "her", "our", "their"];
/// First words of an option that are written in lower case within a sentence.
const LOWERED: [&str; 11] = ["A", "An", "The", "She", "He", "It", "They", "My", "His", "Her", "Their"];
const EXPECTED: &str = "a JSON object with \"text\", \"pronoun\", \"pronoun_loc\", two \"options\" and a \"label\" of 0 or 1, or one \
                        with two \"context_options\", \"continuation\" and a \"gold\" of 0 or 1";

/// A sentence with each option in the pronoun's place, up to the option, and its rest.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Replaced {
    context_options: [String; 2],
    continuation: String,
    gold: usize,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Schema(Schema),
    Replaced(Replaced),
}

/// How a sentence is scored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scoring {
    Partial,
    Harness,
    Full,
}

/// Reads items for partial scoring.
pub fn partial(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    read(file, Scoring::Partial)
}

/// Reads items for partial scoring as lm-evaluation-harness does.
pub fn harness(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    read(file, Scoring::Harness)
}

/// Reads items for full scoring.
pub fn full(file: &DataFile<'_>) -> Result<Vec<Item>, DataError> {
    read(file, Scoring::Full)
}

fn read(file: &DataFile<'_>, scoring: Scoring) -> Result<Vec<Item>, DataError> {
    let entries: Vec<(usize, Line)> = if file.text()?.trim_start().starts_with('<') {
        let schemas = wsc_xml::read(file)?.into_iter().take(SCHEMAS);
        schemas.map(|(line, schema)| (line, Line::Schema(schema))).collect()
    } else {
        file.json_lines(EXPECTED)?
    };
    let item = |(index, (line, entry)): (usize, (usize, Line))| {
        let item = item((index + 1).to_string(), entry, scoring);
        item.map_err(|found| file.malformed(line, EXPECTED, found))
    };
    entries.into_iter().enumerate().map(item).collect()
}

/// Returns the item of an entry, or what is wrong with it.
fn item(id: String, entry: Line, scoring: Scoring) -> Result<Item, String> {
    let (Replaced { context_options, continuation, gold }, options) = match entry {
        Line::Schema(schema) => schema.replaced(scoring)?,
        Line::Replaced(replaced) => {
            let options = replaced.context_options.clone();
            // The continuation has no space in this form. The harness puts two in front.
            let spaces = if scoring == Scoring::Harness { "  " } else { " " };
            (Replaced { continuation: format!("{spaces}{}", replaced.continuation), ..replaced }, options)
        }
    };
    let blank = |text: &String| text.trim().is_empty();
    if gold > 1 || blank(&continuation) || context_options.iter().any(blank) {
        return Err(format!("gold {gold} and the continuation {}", shown(&continuation)));
    }
    let request = |context: &String| match scoring {
        Scoring::Partial | Scoring::Harness => Request::continuation(context, &continuation),
        Scoring::Full => Request::continuation("", format!("{context}{continuation}")),
    };
    let requests = context_options.iter().map(request).collect();
    let lengths = options.iter().map(|option| Length::of(option)).collect();
    Ok(Item { id, requests, judgement: Judgement::Choice { gold, lengths } })
}

impl Schema {
    /// Puts each option in the pronoun's place. Also returns the options as they are written there.
    fn replaced(self, scoring: Scoring) -> Result<(Replaced, [String; 2]), String> {
        let text = self.text.replace("  ", " ");
        let characters: Vec<char> = text.chars().collect();
        let end = self.pronoun_loc.saturating_add(self.pronoun.chars().count());
        let at = characters.get(self.pronoun_loc..end).map(|found| found.iter().collect::<String>());
        if at.as_deref() != Some(&*self.pronoun) {
            return Err(format!("{} at character {} of {}", shown(&self.pronoun), self.pronoun_loc, shown(&text)));
        }
        // Two characters before the pronoun, or counted from the end where there are none, as in Python.
        let before = (self.pronoun_loc + characters.len()).checked_sub(2).map(|index| index % characters.len());
        let starts_a_sentence = before.is_some_and(|index| characters[index] == '.');
        let options = self.options.map(|option| as_written(&option, &self.pronoun, starts_a_sentence));
        let before: String = characters[..self.pronoun_loc].iter().collect();
        let context_options = options.clone().map(|option| before.clone() + &option);
        let rest: String = characters[end..].iter().collect();
        // The rest begins with its space, and the harness puts another in front.
        let continuation = if scoring == Scoring::Harness { format!(" {rest}") } else { rest };
        Ok((Replaced { context_options, continuation, gold: self.label }, options))
    }
}

/// Returns `option` as it is written in the place of `pronoun`.
fn as_written(option: &str, pronoun: &str, starts_a_sentence: bool) -> String {
    let mut option = option.to_owned();
    if POSSESSIVE.contains(&pronoun.to_lowercase().as_str()) {
        option += "'s";
    }
    match option.split_whitespace().next() {
        // Everywhere in the option, as the harness has it.
        Some(first) if !starts_a_sentence && LOWERED.contains(&first) => option.replace(first, &first.to_lowercase()),
        _ => option,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const XML: &str = "<?xml version=\"1.0\"?>\n<collection>\n<schema>\n  <text>\n    <txt1>The men  refused.</txt1>\n    \
                       <pron>They</pron><txt2>feared it &amp; ran.</txt2>\n  </text>\n  <answers>\n    <answer>The men</answer>\n    \
                       <answer>The women</answer>\n  </answers>\n  <correctAnswer> B. </correctAnswer>\n</schema>\n</collection>\n";

    fn file(content: &str) -> DataFile<'_> {
        DataFile { name: "wsc", content: content.as_bytes() }
    }

    fn schema(text: &str, pronoun: &str, pronoun_loc: usize) -> String {
        serde_json::json!({ "text": text, "pronoun": pronoun, "pronoun_loc": pronoun_loc,
            "options": ["The A", "Bob"], "label": 1 })
        .to_string()
    }

    fn requests(items: &[Item]) -> Vec<Request> {
        items.iter().flat_map(|item| item.requests.clone()).collect()
    }

    #[test]
    fn partial_scores_what_follows_and_full_the_sentence() {
        let line = schema("He saw her dog run.", "her", 7);
        let expected = ["He saw the A's", "He saw Bob's"];
        assert_eq!(requests(&partial(&file(&line)).unwrap()), expected.map(|c| Request::continuation(c, " dog run.")));
        let spaced = expected.map(|context| Request::continuation(context, "  dog run."));
        assert_eq!(requests(&harness(&file(&line)).unwrap()), spaced);
        let whole = expected.map(|context| Request::continuation("", format!("{context} dog run.")));
        assert_eq!(requests(&full(&file(&line)).unwrap()), whole);
    }

    #[test]
    fn an_option_keeps_its_capital_at_the_start_of_a_sentence() {
        let items = partial(&file(&schema("It rose. It fell.", "It", 9))).unwrap();
        assert_eq!(items[0].requests[0], Request::continuation("It rose. The A", " fell."));
    }

    #[test]
    fn the_form_with_replaced_options_gets_the_spaces_that_the_schema_would_have_in_between() {
        let line = r#"{"context_options": ["x a", "x b"], "continuation": "fell.", "gold": 0}"#;
        let second = |items: Vec<Item>| items[0].requests[1].clone();
        assert_eq!(second(partial(&file(line)).unwrap()), Request::continuation("x b", " fell."));
        assert_eq!(second(harness(&file(line)).unwrap()), Request::continuation("x b", "  fell."));
        assert_eq!(second(full(&file(line)).unwrap()), Request::continuation("", "x b fell."));
    }

    #[test]
    fn the_official_collection_is_read() {
        let items = partial(&file(XML)).unwrap();
        let expected = ["The men refused. The men", "The men refused. The women"];
        assert_eq!(requests(&items), expected.map(|context| Request::continuation(context, " feared it & ran.")));
        assert!(matches!(items[0].judgement, Judgement::Choice { gold: 1, .. }));
    }

    #[test]
    fn malformed_entries_are_named_by_line() {
        let good = schema("He saw her dog run.", "her", 7);
        let cases = [
            (format!("{good}\n{{}}\n"), "wsc:2: expected"),
            (schema("He saw her dog run.", "her", 8), "wsc:1: expected"),
            (schema("He saw her dog run.", "her", usize::MAX), "wsc:1: expected"),
            (schema("He saw her", "her", 7), "the continuation \"\""),
            (good.replace("\"label\":1", "\"label\":2"), "gold 2"),
            (XML.replace("B. ", "C"), "wsc:3: expected"),
            (XML.replace("<pron>They</pron>", ""), "wsc:3: expected"),
            (XML.replace("<answer>The men</answer>", ""), "wsc:3: expected"),
            (XML.replace("</schema>", ""), "wsc:3: expected"),
        ];
        for (content, expected) in cases {
            let message = partial(&file(&content)).unwrap_err().to_string();
            assert!(message.contains(expected), "{content}: {message}");
        }
    }
}
