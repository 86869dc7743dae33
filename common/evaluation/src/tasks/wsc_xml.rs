//! Reads `WSCollection.xml`, the official form of the Winograd schemas: the few elements that it has, and nothing else of XML.

use crate::data::{DataError, DataFile, shown};
use crate::tasks::winograd_schema::Schema;

const EXPECTED: &str =
    "a <schema> with <text> (<txt1>, <pron>, <txt2>), <answers> of two <answer>, and <correctAnswer> A or B";

/// Reads all schemas, each with the number of its line.
pub fn read(file: &DataFile<'_>) -> Result<Vec<(usize, Schema)>, DataError> {
    let text = file.text()?;
    let mut schemas = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some((before, found)) = rest.split_once("<schema>") {
        line += newlines(before);
        let Some((schema, after)) = found.split_once("</schema>") else {
            return Err(file.malformed(line, EXPECTED, "no </schema>"));
        };
        schemas.push((line, one(schema).ok_or_else(|| file.malformed(line, EXPECTED, shown(schema.trim())))?));
        line += newlines(schema);
        rest = after;
    }
    if schemas.is_empty() { Err(file.empty(EXPECTED)) } else { Ok(schemas) }
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

fn one(schema: &str) -> Option<Schema> {
    // The pronoun is in <quote> as well.
    let (text, _) = element(schema, "text")?;
    let part = |name| element(text, name).map(|(content, _)| clean(content));
    let (before, pronoun, after) = (part("txt1").unwrap_or_default(), part("pron")?, part("txt2").unwrap_or_default());
    let (answers, _) = element(schema, "answers")?;
    let (first, rest) = element(answers, "answer")?;
    let (second, rest) = element(rest, "answer")?;
    if element(rest, "answer").is_some() || pronoun.is_empty() {
        return None;
    }
    let (right, _) = element(schema, "correctAnswer")?;
    let label = match clean(right).trim_end_matches('.') {
        "A" => 0,
        "B" => 1,
        _ => return None,
    };
    let pronoun_loc = if before.is_empty() { 0 } else { before.chars().count() + 1 };
    let text = format!("{before} {pronoun} {after}").trim().to_owned();
    Some(Schema { text, pronoun, pronoun_loc, options: [clean(first), clean(second)], label })
}

/// Returns the content of the first element of this name, and what follows it.
fn element<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let (_, found) = text.split_once(&format!("<{name}>"))?;
    found.split_once(&format!("</{name}>"))
}

/// Resolves entities, and makes each run of white space one space.
fn clean(content: &str) -> String {
    const ENTITIES: [(&str, &str); 5] =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    let resolved =
        ENTITIES.iter().fold(content.to_owned(), |text, (entity, character)| text.replace(entity, character));
    resolved.split_whitespace().collect::<Vec<_>>().join(" ")
}
