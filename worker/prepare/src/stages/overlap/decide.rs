//! What becomes of a document, and what it shows of the evaluation sets.

use std::collections::HashSet;

use super::longest::{LongOverlap, TEXT_BYTES_MAX, keep_longest};
use super::options::{OverlapOptions, Remove};
use super::scan::{Run, Scan};
use super::seen::SeenRecord;
use super::sets::TestSets;
use super::windows::without;
use crate::PrepareError;
use crate::progress::Progress;
use crate::stages::bounded::{URL_BYTES_MAX, beginning, cut};
use crate::stages::document::Document;
use crate::stages::documents::{Documents, Read};
use crate::stages::lineage::line::id_in_words;
use crate::stages::lineage::{Line, Verdict};
use crate::stages::output::Output;

/// Rule that drops a document of which a share is in evaluation sets.
const DOCUMENT: &str = "overlap.document";
/// Rule that drops a document of which nothing remains.
const WINDOW: &str = "overlap.window";

/// Decides about the documents of unit `number`. Returns what they show of the sets.
pub fn decide(
    (documents, number): (&Documents<'_>, u32),
    (sets, options): (&TestSets, &OverlapOptions),
    output: &mut Output<'_, '_>,
    progress: &Progress,
) -> Result<SeenRecord, PrepareError> {
    let (mut record, mut seen) = (SeenRecord::default(), HashSet::new());
    documents.read(number, progress, |read| {
        let document = match read {
            Read::Damaged(line) => return output.drop(line, ""),
            Read::Document(document) => document,
        };
        progress.encoded(document.text.len() as u64);
        let scan = Scan::of(&document.text, &sets.table, |number| {
            seen.insert(number);
        });
        let Some(longest) = scan.longest() else { return output.keep(document.line(), document) };
        record.documents += 1;
        keep_longest(&mut record.longest, [long_overlap(&document, longest, sets)]);
        let note = note(longest, sets);
        let line = Line { measure: Some(scan.share()), note, ..document.line() };
        remove((document, line), &scan, options, &mut record, output)
    })?;
    record.seen = seen.into_iter().collect();
    record.seen.sort_unstable();
    Ok(record)
}

/// Keeps a document that overlaps, drops it, or keeps what remains of it.
fn remove(
    (mut document, line): (Document, Line),
    scan: &Scan,
    options: &OverlapOptions,
    record: &mut SeenRecord,
    output: &mut Output<'_, '_>,
) -> Result<(), PrepareError> {
    match options.remove {
        // Both sides are the nearest numbers to what is meant, so that 3 of 10 are a share of 0.3.
        Remove::Document if scan.share() >= options.share => {
            output.drop(Line { limit: Some(options.share), ..dropped(line, DOCUMENT) }, &document.text)
        }
        Remove::Nothing | Remove::Document => output.keep(line, document),
        Remove::Window => {
            let runs = scan.runs.iter().map(|run| run.bytes.clone());
            let remains = without(&document.text, runs, options.window_characters);
            record.windows += remains.windows;
            record.characters += remains.characters;
            let (windows, characters) = (remains.windows, remains.characters);
            let plural = if windows == 1 { "" } else { "s" };
            let note = format!("removed {windows} window{plural}, {characters} characters; {}", line.note);
            let line = Line { note, bytes_out: remains.text.len() as u64, ..line };
            if remains.text.is_empty() {
                return output.drop(dropped(line, WINDOW), &document.text);
            }
            document.text = remains.text;
            output.keep(line, document)
        }
    }
}

fn dropped(line: Line, rule: &str) -> Line {
    Line { verdict: Verdict::Dropped, rule: rule.to_owned(), bytes_out: 0, ..line }
}

/// Describes the longest overlap of a document.
fn note(longest: &Run, sets: &TestSets) -> String {
    let (task, item) = sets.name(longest.item);
    format!("overlaps with {task} item {item}: {} words", longest.words.len())
}

fn long_overlap(document: &Document, run: &Run, sets: &TestSets) -> LongOverlap {
    let (task, item) = sets.name(run.item);
    let mut url = document.url.clone();
    url.iter_mut().for_each(|url| cut(url, URL_BYTES_MAX));
    LongOverlap {
        words: run.words.len() as u64,
        task: task.to_owned(),
        item: item.to_owned(),
        document: id_in_words(document.id),
        url,
        text: beginning(&document.text[run.bytes.clone()], TEXT_BYTES_MAX).to_owned(),
    }
}
