//! The stage `extract`: pages become documents.
//!
//! A successful response of an HTML type goes to a child process, which parses it in bounded time and memory. A conversion to
//! plain text, as in WET files, is a document already. Everything else is dropped, by its status or its type. What is damaged
//! costs itself, and is on record with its place.

use std::fmt::Write as _;

use common::storage::Reader;
use serde_json::Value;
use webtext::extract::{self, Article, Extractor, Limits, Verdict as Found};
use webtext::pages::{self, Damage, Entry, Fault, Kind, Page, Pages, Place};

use super::bounded::beginning;
use super::document::Document;
use super::lineage::{Line, Verdict};
use super::output::Output;
use super::pages::{PageSource, document_id};
use crate::PrepareError;
use crate::inputs::lost;
use crate::progress::Progress;

/// Rule that drops a response by its status.
const STATUS: &str = "status";
/// Rule that drops a page by its media type.
const TYPE: &str = "type";
/// Rule that drops a text that is longer than a page may be, as extraction names it.
const TOO_LARGE: &str = "too_large";
/// Rule that drops a page without a text, as extraction names it.
const NO_TEXT: &str = "no_text";
/// Fault of an object that the store refuses.
const UNREADABLE: &str = "unreadable_object";
/// Status of a response that is a page.
const SUCCESS: u16 = 200;
/// Media types that are HTML.
const HTML: [&str; 2] = ["text/html", "application/xhtml+xml"];
/// Media type of text in WET files.
const PLAIN: &str = "text/plain";
/// Bytes by which a page that is read may exceed `page_bytes`, so that it is dropped as too large with its length on record. What
/// exceeds it by more is not held in memory, and is damage.
const BEYOND_PAGE_BYTES: usize = 1 << 20;
/// Bytes of a page without a text that are looked at for its beginning.
const START_BYTES: usize = 400;

/// Extracts the pages of `source`.
pub fn extract(
    source: &PageSource,
    limits: &Limits,
    extractor: &mut Extractor,
    output: &mut Output<'_, '_>,
    progress: &Progress,
) -> Result<(), PrepareError> {
    let page = SourceOfPages { source, url: source.url() };
    if let Some(reason) = &source.unreadable {
        progress.advance(source.bytes);
        let line = page.line(Place { at: u64::MAX, within: 0 }, Verdict::Damaged, UNREADABLE);
        return output.drop(Line { note: reason.clone(), ..line }, "");
    }
    let object = source.folder.reader(&source.name, 0..source.bytes);
    let mut pages = Pages::new(source.format, object, limits_of_pages(limits));
    let mut bytes_read = 0;
    while let Some(entry) = pages.next() {
        let entry = entry.map_err(|error| match Reader::storage_error(&error) {
            Some(error) => lost(error.clone()),
            None => PrepareError::Unread { url: page.url.clone(), reason: error.to_string() },
        })?;
        match entry {
            Entry::Damage(damage) => page.damaged(&damage, output)?,
            Entry::Page(found) => page.extract(found, (extractor, limits), output, progress)?,
        }
        let read = pages.packed_bytes().min(source.bytes);
        progress.advance(read.saturating_sub(bytes_read));
        bytes_read = bytes_read.max(read);
    }
    progress.advance(source.bytes - bytes_read);
    Ok(())
}

/// Returns the limits of reading: more than a page may have, so that extraction judges its length. A record has an HTTP header
/// beside its page.
fn limits_of_pages(limits: &Limits) -> pages::Limits {
    let default = pages::Limits::default();
    let page_bytes = usize::try_from(limits.page_bytes).unwrap_or(usize::MAX);
    let payload_bytes = default.payload_bytes.max(page_bytes.saturating_add(BEYOND_PAGE_BYTES));
    let record_bytes = payload_bytes.saturating_add(default.header_bytes);
    pages::Limits { record_bytes, payload_bytes, ..default }
}

struct SourceOfPages<'s> {
    source: &'s PageSource,
    url: String,
}

impl SourceOfPages<'_> {
    /// Returns a line about what lies at `place`.
    fn line(&self, place: Place, verdict: Verdict, rule: &str) -> Line {
        Line {
            id: document_id(self.source.input, &self.source.name, place.at, place.within),
            source: self.url.clone(),
            at: place.at,
            within: place.within,
            url: None,
            date: None,
            verdict,
            rule: rule.to_owned(),
            measure: None,
            limit: None,
            bytes_in: 0,
            bytes_out: 0,
            note: String::new(),
        }
    }

    fn damaged(&self, damage: &Damage, output: &mut Output<'_, '_>) -> Result<(), PrepareError> {
        let rule = match serde_json::to_value(damage.fault) {
            Ok(Value::String(name)) => name,
            _ => format!("{:?}", damage.fault),
        };
        let line = self.line(damage.place, Verdict::Damaged, &rule);
        output.drop(Line { note: reason_of(damage), ..line }, "")
    }

    fn extract(
        &self,
        mut page: Page,
        (extractor, limits): (&mut Extractor, &Limits),
        output: &mut Output<'_, '_>,
        progress: &Progress,
    ) -> Result<(), PrepareError> {
        let line = Line {
            url: page.url.take(),
            date: page.date.take(),
            bytes_in: page.payload.len() as u64,
            ..self.line(page.place, Verdict::Dropped, "")
        };
        let text = match kind_of(&page, limits) {
            Wanted::Html => {
                let content_type = content_type(&page);
                let asked = extract::Page { body: &page.payload, content_type: content_type.as_deref() };
                let verdict = extractor.extract(&asked)?;
                return match verdict {
                    Found::Text(article) => keep(line, article, &page, output, progress),
                    other => output.drop(dropped(line, &other, limits), &start(&page.payload)),
                };
            }
            Wanted::Text => String::from_utf8_lossy(&page.payload).into_owned(),
            Wanted::No { rule, measure, limit, note } => {
                let line = Line { rule: rule.to_owned(), measure, limit, note, ..line };
                return output.drop(line, &start(&page.payload));
            }
        };
        if text.trim().is_empty() {
            return output.drop(Line { rule: NO_TEXT.to_owned(), ..line }, "");
        }
        let malformed = text.matches('\u{fffd}').count().saturating_sub(replacements_in(&page.payload));
        let article = Article { text, charset: "UTF-8".to_owned(), malformed, ..Article::default() };
        keep(line, article, &page, output, progress)
    }
}

/// Returns what is wrong with a record, and for one that is too long which key allows more.
fn reason_of(damage: &Damage) -> String {
    match damage.fault {
        Fault::TooLong => format!("{}; webtext.extract.page_bytes and 1 MiB bound it", damage.reason),
        _ => damage.reason.clone(),
    }
}

/// Number of characters U+FFFD that are there without decoding.
fn replacements_in(bytes: &[u8]) -> usize {
    memchr::memmem::find_iter(bytes, "\u{fffd}".as_bytes()).count()
}

/// What a page is to this stage.
enum Wanted {
    /// HTML, to be parsed.
    Html,
    /// A document already.
    Text,
    /// Nothing.
    No { rule: &'static str, measure: Option<f64>, limit: Option<f64>, note: String },
}

fn kind_of(page: &Page, limits: &Limits) -> Wanted {
    let bytes = page.payload.len() as u64;
    if let Some(status) = page.status.filter(|status| *status != SUCCESS) {
        let (measure, limit) = (Some(f64::from(status)), Some(f64::from(SUCCESS)));
        return Wanted::No { rule: STATUS, measure, limit, note: String::new() };
    }
    match page.content_type.as_deref() {
        Some(found) if HTML.contains(&found) => Wanted::Html,
        // Of HTML, the extractor says so.
        Some(PLAIN) if page.kind == Kind::Conversion && bytes > limits.page_bytes => {
            let (measure, limit) = (Some(bytes as f64), Some(limits.page_bytes as f64));
            Wanted::No { rule: TOO_LARGE, measure, limit, note: String::new() }
        }
        Some(PLAIN) if page.kind == Kind::Conversion => Wanted::Text,
        Some(found) => Wanted::No { rule: TYPE, measure: None, limit: None, note: found.to_owned() },
        // Browsers take for HTML what begins like that.
        None if begins_with_tag(&page.payload) => Wanted::Html,
        None => Wanted::No { rule: TYPE, measure: None, limit: None, note: "none given".to_owned() },
    }
}

fn begins_with_tag(content: &[u8]) -> bool {
    let content = content.strip_prefix("\u{feff}".as_bytes()).unwrap_or(content);
    content.trim_ascii_start().starts_with(b"<")
}

/// Returns the header `Content-Type` of a page, put together again.
fn content_type(page: &Page) -> Option<String> {
    let charset = page.charset.as_ref().map(|charset| format!("; charset={charset}")).unwrap_or_default();
    page.content_type.as_ref().map(|content_type| content_type.clone() + &charset)
}

/// Returns the beginning of a page, for an example of what was dropped.
fn start(payload: &[u8]) -> String {
    let start = String::from_utf8_lossy(payload.get(..START_BYTES).unwrap_or(payload));
    beginning(start.trim_ascii_start(), START_BYTES).to_owned()
}

/// Completes the line of a page without an article.
fn dropped(line: Line, verdict: &Found, limits: &Limits) -> Line {
    let rule = verdict.name().to_owned();
    match verdict {
        Found::TooLarge { bytes } => {
            let (measure, limit) = (Some(*bytes as f64), Some(limits.page_bytes as f64));
            Line { rule, measure, limit, ..line }
        }
        Found::Crashed { cause } => Line { rule, note: lasting(cause).to_owned(), ..line },
        _ => Line { rule, ..line },
    }
}

/// Returns the beginning of the cause of a crash that is equal whenever a page crashes: what a dying process says may have the
/// number of its thread.
fn lasting(cause: &str) -> &str {
    let end = match cause {
        _ if cause.starts_with("signal: ") => cause.find(')').map(|at| at + 1),
        _ if cause.starts_with("exit status: ") => cause.match_indices(": ").nth(1).map(|(at, _)| at),
        _ => None,
    };
    &cause[..end.unwrap_or(cause.len())]
}

/// Keeps what is the text of a page.
fn keep(
    line: Line,
    article: Article,
    page: &Page,
    output: &mut Output<'_, '_>,
    progress: &Progress,
) -> Result<(), PrepareError> {
    let bytes_out = article.text.len() as u64;
    let note = note(&article, page);
    progress.encoded(bytes_out);
    let document = Document {
        id: line.id,
        source: line.source.clone(),
        at: line.at,
        within: line.within,
        url: line.url.clone(),
        title: Some(article.title).filter(|title| !title.is_empty()),
        date: article.date.or_else(|| line.date.clone()),
        text: article.text,
    };
    output.keep(Line { verdict: Verdict::Kept, bytes_out, note, ..line }, document)
}

/// Describes what was changed on the way from a page to its text.
fn note(article: &Article, page: &Page) -> String {
    let by = match serde_json::to_value(article.charset_source) {
        Ok(Value::String(source)) if page.kind != Kind::Conversion => format!(" by {source}"),
        _ => String::new(),
    };
    let mut note = format!("charset {}{by}", article.charset);
    let counts = [
        (article.malformed, "malformed sequences"),
        (article.mended, "entities mended"),
        (article.removed, "characters removed that are no text"),
        (article.spaces, "no-break spaces made spaces"),
        (article.flattened, "tags dropped that were nested too deep"),
    ];
    for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
        // Writing to a string cannot fail.
        let _ = write!(note, "; {count} {what}");
    }
    if page.is_truncated {
        note.push_str("; the page is cut");
    }
    if !page.mends.is_empty() {
        let _ = write!(note, "; record mended: {:?}", page.mends);
    }
    note
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use webtext::pages::Format;
    use webtext::pages::write::{Packing, WarcWriter};

    use super::*;
    use crate::stages::lineage::tests::line;

    fn page(kind: Kind, status: Option<u16>, content_type: Option<&str>, payload: &str) -> Page {
        let content_type = content_type.map(str::to_owned);
        Page {
            kind,
            place: Place::default(),
            url: None,
            date: None,
            status,
            content_type,
            charset: None,
            payload: payload.into(),
            is_truncated: false,
            mends: Vec::new(),
        }
    }

    #[test]
    fn successful_responses_of_html_and_texts_of_wet_files_are_wanted() {
        let check = |page: Page, expected: &str| {
            let limits = Limits { page_bytes: 20, ..Limits::default() };
            let got = match kind_of(&page, &limits) {
                Wanted::Html => "html".to_owned(),
                Wanted::Text => "text".to_owned(),
                Wanted::No { rule, note, .. } => format!("{rule} {note}"),
            };
            assert_eq!(got.trim(), expected);
        };
        check(page(Kind::Response, Some(200), Some("text/html"), "<p>"), "html");
        check(page(Kind::Response, Some(200), Some("application/xhtml+xml"), "<p>"), "html");
        check(page(Kind::Response, Some(200), None, "\u{feff} \n<!doctype html>"), "html");
        check(page(Kind::Response, Some(200), None, "GIF89a"), "type none given");
        check(page(Kind::Response, Some(200), Some("text/plain"), "a text"), "type text/plain");
        check(page(Kind::Response, Some(301), Some("text/html"), "<p>"), "status");
        check(page(Kind::Resource, None, Some("text/html"), "<p>"), "html");
        check(page(Kind::Conversion, None, Some("text/plain"), "a text"), "text");
        check(page(Kind::Conversion, None, Some("text/plain"), "a text of 20 bytes.."), "text");
        check(page(Kind::Conversion, None, Some("text/plain"), "a text of 21 bytes..."), "too_large");
        check(page(Kind::Conversion, None, Some("text/html"), "<p>"), "html");
    }

    #[test]
    fn a_crash_is_described_alike_each_time() {
        for (cause, expected) in [
            ("signal: 6 (SIGABRT): thread '<unnamed>' (4711) has overflowed its stack", "signal: 6 (SIGABRT)"),
            ("exit status: 101: thread 'main' (4711) panicked", "exit status: 101"),
            ("panic: index out of bounds: the len is 5", "panic: index out of bounds: the len is 5"),
            ("signal: 9", "signal: 9"),
        ] {
            assert_eq!(lasting(cause), expected);
        }
    }

    #[test]
    fn a_page_may_be_longer_than_extraction_takes_it() {
        let limits = limits_of_pages(&Limits { page_bytes: 50 << 20, ..Limits::default() });
        let header_bytes = pages::Limits::default().header_bytes;
        assert_eq!((limits.record_bytes, limits.payload_bytes), ((51 << 20) + header_bytes, 51 << 20));
        let small = limits_of_pages(&Limits { page_bytes: 5, ..Limits::default() });
        assert_eq!(small.payload_bytes, pages::Limits::default().payload_bytes);
    }

    /// Reads the one entry of a WARC file with a response of this length.
    fn response_of(page_bytes: usize) -> Entry {
        let mut message = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n".to_vec();
        message.resize(message.len() + page_bytes, b'x');
        let mut warc = WarcWriter::new(Vec::new(), Packing::Plain);
        warc.response("http://a.example/", "2026-11-30T12:00:00Z", &message).unwrap();
        let warc = warc.into_inner();
        let format = Format::of("a.warc").unwrap();
        let mut pages = Pages::new(format, &warc[..], limits_of_pages(&Limits::default()));
        pages.next().unwrap().unwrap()
    }

    #[test]
    fn a_page_above_the_default_limit_is_too_large_and_one_far_above_it_names_the_key() {
        let limits = Limits::default();
        let most = usize::try_from(limits.page_bytes).unwrap();
        for bytes in [most + 1, most + BEYOND_PAGE_BYTES] {
            let Entry::Page(page) = response_of(bytes) else { panic!("{bytes} bytes are no page") };
            let mut extractor = Extractor::new(|| Command::new("/nowhere/child"), limits.clone()).unwrap();
            let found = extractor.extract(&extract::Page { body: &page.payload, content_type: None }).unwrap();
            let dropped = dropped(line(0), &found, &limits);
            let expected = ("too_large", Some(bytes as f64), Some(most as f64));
            assert_eq!((dropped.rule.as_str(), dropped.measure, dropped.limit), expected);
        }
        let Entry::Damage(damage) = response_of(most + BEYOND_PAGE_BYTES + 1) else { panic!("it is a page") };
        assert_eq!(damage.fault, Fault::TooLong);
        assert!(reason_of(&damage).contains("webtext.extract.page_bytes"), "{damage}");
    }
}
