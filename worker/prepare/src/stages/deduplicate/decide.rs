//! The last step: documents of a unit stay or are dropped, by the verdicts on them.

use std::fmt::Write as _;
use std::iter::Peekable;

use common::storage::Folder;
use webtext::deduplicate::record::{Facts, Repeat, Verdict as Found};
use webtext::deduplicate::{Content, DeduplicateOptions, Normaliser};

use super::names::{WORK_FOLDER, keys_name, repeats_name, verdicts_name};
use super::objects::Run;
use super::paragraphs::without;
use super::sources::number;
use crate::PrepareError;
use crate::progress::Progress;
use crate::stages::damaged;
use crate::stages::document::Document;
use crate::stages::documents::{Documents, Read};
use crate::stages::lineage::line::id_in_words;
use crate::stages::lineage::{Line, Verdict};
use crate::stages::output::Output;

/// Rule that drops a document with the text of the one that stays.
const TEXT: &str = "duplicate.text";
/// Rule that drops a document with the URL of the one that stays.
const URL: &str = "duplicate.url";
/// Rule that drops any other document of a cluster.
const NEAR: &str = "duplicate.near";
/// Rule that drops a document of which all paragraphs are there before.
const PARAGRAPHS: &str = "duplicate.paragraphs";

/// Keeps or drops the documents of unit `number` of a stage in `folder`.
pub fn decide(
    (documents, unit): (&Documents<'_>, u32),
    folder: &Folder,
    options: &DeduplicateOptions,
    output: &mut Output<'_, '_>,
    progress: &Progress,
) -> Result<(), PrepareError> {
    let (work, minhash) = (folder.folder(WORK_FOLDER), options.minhash);
    // Progress is counted by documents that are read.
    let unseen = Progress::default();
    let mut facts = Run::<Facts>::open(folder, &keys_name(unit), Content::Facts(minhash), &unseen)?;
    let mut verdicts = Run::<Found>::open(&work, &verdicts_name(unit), Content::Verdicts, &unseen)?.peekable();
    let mut repeats = Repeated::open((&work, unit), options.paragraphs, &unseen)?;
    let other = || damaged(folder, &keys_name(unit), "it is of other documents than the stage reads".to_owned());
    let mut row = 0;
    documents.read(unit, progress, |read| {
        let document = match read {
            Read::Damaged(line) => return output.drop(line, ""),
            Read::Document(document) => document,
        };
        let id = number(unit, row);
        row += 1;
        let own = facts.next().transpose()?.filter(|own| (own.id, own.name) == (id, document.id)).ok_or_else(other)?;
        let found = verdicts.next_if(|found| found.as_ref().map_or(true, |found| found.id == id)).transpose()?;
        progress.encoded(document.text.len() as u64);
        let note = match found {
            None => String::new(),
            Some(found) if found.kept == id => format!("stays of a cluster of {} documents", found.documents),
            Some(found) => {
                return output.drop(dropped(&document, &own, &found, minhash.hashes()), &document.text);
            }
        };
        stay(document, note, &repeats.of(id)?, output)
    })?;
    // Reading to the end proves that both objects are whole.
    match (facts.next().transpose()?, verdicts.next().transpose()?, repeats.next()?) {
        (None, None, None) => Ok(()),
        _ => Err(other()),
    }
}

/// Keeps a document that stays, without the paragraphs of these numbers. If nothing else is in it, drops it.
fn stay(
    mut document: Document,
    mut note: String,
    repeats: &[u32],
    output: &mut Output<'_, '_>,
) -> Result<(), PrepareError> {
    let line = document.line();
    if repeats.is_empty() {
        return output.keep(Line { note, ..line }, document);
    }
    let left = without(&document.text, repeats, &mut Normaliser::default());
    let separator = if note.is_empty() { "" } else { "; " };
    // Writing to a string cannot fail.
    let _ = write!(note, "{separator}removed {} paragraphs that are there before", repeats.len());
    if left.trim().is_empty() {
        let (verdict, rule) = (Verdict::Dropped, PARAGRAPHS.to_owned());
        return output.drop(Line { verdict, rule, note, bytes_out: 0, ..line }, &document.text);
    }
    document.text = left;
    output.keep(Line { note, bytes_out: document.text.len() as u64, ..line }, document)
}

/// Paragraphs of a unit that are there before.
struct Repeated<'p>(Option<Peekable<Run<'p, Repeat>>>);

impl<'p> Repeated<'p> {
    fn open((work, unit): (&Folder, u32), is_wanted: bool, progress: &'p Progress) -> Result<Self, PrepareError> {
        let open = |()| Run::open(work, &repeats_name(unit), Content::Repeats, progress).map(Iterator::peekable);
        is_wanted.then_some(()).map(open).transpose().map(Repeated)
    }

    /// Returns the numbers of those of the document `id`. Documents come in order.
    fn of(&mut self, id: u64) -> Result<Vec<u32>, PrepareError> {
        let Some(repeats) = &mut self.0 else { return Ok(Vec::new()) };
        let is_of = |repeat: &Result<Repeat, _>| repeat.as_ref().map_or(true, |repeat| repeat.id == id);
        let numbers = std::iter::from_fn(|| repeats.next_if(is_of));
        numbers.map(|repeat| repeat.map(|repeat| repeat.number)).collect()
    }

    fn next(&mut self) -> Result<Option<Repeat>, PrepareError> {
        self.0.as_mut().and_then(Iterator::next).transpose()
    }
}

/// Returns the line of a document that does not stay. `own` is what is known of it.
fn dropped(document: &Document, own: &Facts, found: &Found, hashes: usize) -> Line {
    let rule = match () {
        () if own.text != 0 && own.text == found.text => TEXT,
        () if own.url != 0 && own.url == found.url => URL,
        () => NEAR,
    };
    let measure = own.sketch.similarity(&found.sketch, hashes).filter(|_| rule == NEAR);
    let corpus = if found.kept == u64::MAX { " of an earlier corpus" } else { "" };
    let note = format!("cluster of {} documents, of which {}{corpus} stays", found.documents, id_in_words(found.name));
    Line { verdict: Verdict::Dropped, rule: rule.to_owned(), measure, bytes_out: 0, note, ..document.line() }
}
