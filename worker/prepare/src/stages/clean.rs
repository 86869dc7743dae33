//! The stage `clean`: rules keep a document or drop it, and may change its text.

use std::fmt::Write as _;

use webtext::clean::{Check, Cleaner, Depth, Document as Judged, Limit, Verdict as Decided};

use super::document::Document;
use super::documents::{Documents, Read};
use super::lineage::{Line, Verdict};
use super::output::Output;
use crate::PrepareError;
use crate::progress::Progress;

/// Cleans the documents of unit `number`.
pub fn clean(
    (documents, number): (&Documents<'_>, u32),
    cleaner: &Cleaner,
    output: &mut Output<'_, '_>,
    progress: &Progress,
) -> Result<(), PrepareError> {
    documents.read(number, progress, |read| match read {
        Read::Document(document) => judge(document, cleaner, output, progress),
        Read::Damaged(line) => output.drop(line, ""),
    })
}

fn judge(
    mut document: Document,
    cleaner: &Cleaner,
    output: &mut Output<'_, '_>,
    progress: &Progress,
) -> Result<(), PrepareError> {
    let line = document.line();
    let text = std::mem::take(&mut document.text);
    let decided = cleaner.judge(Judged { text: &text, url: document.url.as_deref() }, Depth::UntilDropped);
    progress.encoded(text.len() as u64);
    let line = Line { bytes_out: decided.text.len() as u64, note: note(&decided), ..line };
    match decided.dropped().copied() {
        Some(check) => output.drop(dropped(line, &check), &text),
        None => {
            document.text = decided.text.into_owned();
            output.keep(line, document)
        }
    }
}

/// Completes the line of a document that `check` drops.
fn dropped(line: Line, check: &Check) -> Line {
    let (Limit::AtLeast(limit) | Limit::AtMost(limit) | Limit::Above(limit)) = check.limit;
    Line {
        verdict: Verdict::Dropped,
        rule: check.rule.name().to_owned(),
        measure: Some(check.measure),
        limit: Some(limit),
        bytes_out: 0,
        ..line
    }
}

/// Describes what else is known of a document.
fn note(decided: &Decided<'_>) -> String {
    let language = decided.language.as_ref();
    let mut note = language.map(|found| format!("{} {:.2}", found.language, found.confidence)).unwrap_or_default();
    if decided.kept() && decided.changed() {
        note.push_str(if note.is_empty() { "text changed" } else { "; text changed" });
        changes(decided, &mut note);
    }
    note
}

/// Adds the numbers of what was changed to a note. White space at the ends of lines is not counted.
fn changes(decided: &Decided<'_>, note: &mut String) {
    let (changes, lines) = (decided.changes, decided.removed);
    if changes.line_ends > 0 {
        // Writing to a string cannot fail.
        let _ = write!(note, "; {} line ends normalised", changes.line_ends);
    }
    let removed = [
        (changes.controls, "controls"),
        (changes.byte_order_marks, "byte order marks"),
        (lines.citations, "citations"),
        (lines.few_words, "lines of few words"),
        (lines.long_word, "lines with a long word"),
        (lines.no_end_punctuation, "lines without end punctuation"),
        (lines.javascript, "lines about JavaScript"),
        (lines.policies, "lines about policies"),
    ];
    let mut separator = "; removed ";
    for (count, what) in removed.into_iter().filter(|(count, _)| *count > 0) {
        let _ = write!(note, "{separator}{count} {what}");
        separator = ", ";
    }
}

#[cfg(test)]
mod tests;
