//! What warcio writes is read as warcio reads it, and what is written here is read by warcio.
//!
//! `scripts/golden/warc.py` made the golden files with warcio 1.8.1. With CONVOY_TEST_WARCIO, the interpreter of an environment that
//! has it, warcio also reads what is written here.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use webtext::pages::write::{Packing, Record, WarcWriter};
use webtext::pages::{Entry, Format, Limits, Page, Pages};

/// A record, as warcio reads it. A character of the payload is a byte.
#[derive(Debug, Deserialize)]
struct Read {
    #[serde(rename = "type")]
    record_type: String,
    url: Option<String>,
    date: Option<String>,
    offset: u64,
    status: Option<u16>,
    payload: String,
}

impl Read {
    fn is_page(&self) -> bool {
        matches!(self.record_type.as_str(), "response" | "resource" | "conversion")
    }

    fn payload(&self) -> Vec<u8> {
        self.payload.chars().map(|byte| u8::try_from(u32::from(byte)).unwrap()).collect()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn pages(name: &str, object: &[u8]) -> Vec<Page> {
    let page = |entry: std::io::Result<Entry>| match entry.unwrap() {
        Entry::Page(page) => page,
        Entry::Damage(damage) => panic!("{name}: {damage}"),
    };
    Pages::new(Format::of(name).unwrap(), object, Limits::default()).map(page).collect()
}

fn assert_alike(name: &str, pages: &[Page], records: &[Read]) {
    let expected: Vec<_> = records.iter().filter(|record| record.is_page()).collect();
    assert_eq!(pages.len(), expected.len(), "{name}");
    for (page, record) in pages.iter().zip(expected) {
        let url = page.url.as_deref().unwrap_or_default();
        assert_eq!((&page.url, &page.date, page.status), (&record.url, &record.date, record.status), "{name} {url}");
        assert_eq!((page.place.at, page.place.within), (record.offset, 0), "{name} {url}");
        assert!(page.payload == record.payload(), "{name} {url}: another payload");
    }
}

#[test]
fn pages_that_warcio_has_written_are_those_that_it_reads() {
    let golden = root().join("tests/golden");
    let files: BTreeMap<String, Vec<Read>> =
        serde_json::from_slice(&std::fs::read(golden.join("warc.json")).unwrap()).unwrap();
    assert_eq!(files.len(), 3);
    for (name, records) in &files {
        let object = std::fs::read(golden.join(name)).unwrap();
        let pages = pages(name, &object);
        assert_alike(name, &pages, records);
        let is_called = |page: &&Page, end: &str| page.url.as_deref().is_some_and(|url| url.ends_with(end));
        let of = |end: &str| pages.iter().find(|page| is_called(page, end)).unwrap();
        assert_eq!(of("/missing").charset.as_deref(), Some("utf-8"));
        assert_eq!(of("/missing").content_type.as_deref(), Some("text/html"));
        assert_eq!(of("/latin-1").charset.as_deref(), Some("iso-8859-1"));
        assert!(of("/cut").is_truncated && !of("/plain").is_truncated);
        // Of what warcio writes, only the two responses whose header is wrong need to be mended.
        let mended: Vec<_> = pages.iter().filter(|page| !page.mends.is_empty()).collect();
        assert_eq!(mended, [of("/unpacked"), of("/not-chunked")], "{name}");
    }
}

fn written(packing: Packing, is_1_1: bool) -> Vec<u8> {
    let writer = WarcWriter::new(Vec::new(), packing);
    let mut writer = if is_1_1 { writer.version_1_1() } else { writer };
    for number in 0..20 {
        let url = format!("https://bees.example/{number}?a=é");
        let text = format!("<p>page {number}</p>\r\n\r\n").repeat(number * number);
        let message = format!("HTTP/1.1 20{} OK\r\nContent-Type: text/html\r\n\r\n{text}", number % 7);
        writer.response(&url, "2026-11-30T12:00:00Z", message.as_bytes()).unwrap();
        let kinds = [("resource", "text/html"), ("conversion", "text/plain")];
        let (record_type, content_type) = kinds[number % 2];
        let (date, fields) = ("2026-11-30T12:00:01Z", "WARC-Truncated: length\r\n");
        let block = text.as_bytes();
        writer.record(&Record { record_type, url: &url, date, content_type, fields, block }).unwrap();
    }
    writer.into_inner()
}

/// Returns what warcio reads of the file at `path`.
fn read_by_warcio(python: &OsStr, path: &Path) -> Vec<Read> {
    let script = root().join("scripts/golden/warc.py");
    let output = Command::new(python).arg(script).arg("--read").arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn pages_that_are_written_here_are_read_by_warcio() {
    let Some(python) = std::env::var_os("CONVOY_TEST_WARCIO") else {
        println!("skipped: CONVOY_TEST_WARCIO names no Python with warcio");
        return;
    };
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    for (packing, name) in [(Packing::Plain, "written.warc"), (Packing::Gzip, "written.warc.gz")] {
        for is_1_1 in [false, true] {
            let object = written(packing, is_1_1);
            let path = folder.join(name);
            std::fs::write(&path, &object).unwrap();
            let records = read_by_warcio(&python, &path);
            assert_eq!(records.len(), 40);
            assert_alike(name, &pages(name, &object), &records);
        }
    }
}
