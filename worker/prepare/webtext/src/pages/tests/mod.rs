//! Tests of whole objects: what is read of archives in order, and of damaged ones.

mod damage;
mod lengths;
mod messages;
mod packing;
mod random;

use std::io::{self, Read};

use super::write::{Packing, Record, WarcWriter};
use super::*;

pub(super) const DATE: &str = "2026-11-30T12:00:00Z";

/// Small limits, so that small records exceed them.
pub(super) const SMALL: Limits = Limits { header_bytes: 1 << 10, record_bytes: 64 << 10, payload_bytes: 32 << 10 };

/// Returns the message of a page with this text.
pub(super) fn message(text: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{text}").into_bytes()
}

/// Returns the bytes of a record with this text.
pub(super) fn record(text: &str) -> Vec<u8> {
    let mut writer = WarcWriter::new(Vec::new(), Packing::Plain);
    writer.response("https://bees.example/", DATE, &message(text)).unwrap();
    writer.into_inner()
}

/// Returns `record` with another Content-Length.
pub(super) fn with_length(record: &[u8], change: impl Fn(u64) -> String) -> Vec<u8> {
    let text = String::from_utf8(record.to_vec()).unwrap();
    let (before, rest) = text.split_once("Content-Length: ").unwrap();
    let (length, after) = rest.split_once("\r\n").unwrap();
    format!("{before}Content-Length: {}\r\n{after}", change(length.parse().unwrap())).into_bytes()
}

/// Returns each of `records` packed by itself, and all of them joined.
pub(super) fn packed(packing: Packing, records: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let pack = |record: &Vec<u8>| {
        let mut writer = WarcWriter::new(Vec::new(), packing);
        writer.raw(record).unwrap();
        writer.into_inner()
    };
    let all: Vec<_> = records.iter().map(pack).collect();
    let joined = all.concat();
    (all, joined)
}

/// Reads all entries of an object.
pub(super) fn read_with(name: &str, object: impl Read, limits: Limits) -> (Vec<Entry>, Counts) {
    let mut pages = Pages::new(Format::of(name).unwrap(), object, limits);
    let entries: io::Result<Vec<Entry>> = pages.by_ref().collect();
    let (entries, counts) = (entries.unwrap(), pages.counts().clone());
    let pages = entries.iter().filter(|entry| matches!(entry, Entry::Page(_))).count() as u64;
    assert_eq!((counts.pages, counts.all_damaged()), (pages, entries.len() as u64 - pages));
    (entries, counts)
}

/// Reads all entries of an object and returns the payload of each page, or the fault.
pub(super) fn read(name: &str, object: &[u8]) -> Vec<Result<String, Fault>> {
    let payload = |entry| match entry {
        Entry::Page(page) => Ok(String::from_utf8_lossy(&page.payload).into_owned()),
        Entry::Damage(damage) => Err(damage.fault),
    };
    read_with(name, object, SMALL).0.into_iter().map(payload).collect()
}

pub(super) fn ok(text: &str) -> Result<String, Fault> {
    Ok(text.to_owned())
}

pub(super) fn only_page(entries: Vec<Entry>) -> Page {
    match <[Entry; 1]>::try_from(entries) {
        Ok([Entry::Page(page)]) => page,
        other => panic!("no page: {other:?}"),
    }
}

/// Returns a text of about `bytes` bytes that does not pack well, of letters alone.
pub(super) fn noise(bytes: usize, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letters = std::iter::from_fn(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(char::from(b'a' + (state >> 32) as u8 % 26))
    });
    letters.take(bytes).collect()
}

#[test]
fn a_page_comes_with_all_that_its_record_says_of_it() {
    let mut writer = WarcWriter::new(Vec::new(), Packing::Plain).version_1_1();
    let skipped = ["warcinfo", "request", "metadata", "revisit", "continuation", "invented"];
    for record_type in skipped {
        let (url, content_type) = ("https://bees.example/a", "text/plain");
        writer.record(&Record { record_type, url, date: DATE, content_type, fields: "", block: b"a: b\r\n" }).unwrap();
    }
    let (fields, url) = ("WARC-Truncated: length\r\n", "https://bees.example/a");
    let block = b"HTTP/1.0  404 \r\nCONTENT-TYPE: Text/HTML; Charset=\"ISO-8859-1\"\r\n\r\n<p>caf\xe9";
    let content_type = "application/http;msgtype=response";
    writer.record(&Record { record_type: "response", url, date: DATE, content_type, fields, block }).unwrap();
    let begin = writer.into_inner();
    let mut writer = WarcWriter::new(begin, Packing::Plain);
    let dns = Record {
        record_type: "response",
        url: "dns:bees.example",
        date: DATE,
        content_type: "text/dns",
        fields: "",
        block,
    };
    writer.record(&dns).unwrap();
    let object = writer.into_inner();
    let at = memchr::memmem::find(&object, b"WARC-Type: response").unwrap() as u64 - 10;
    let (entries, counts) = read_with("a.warc", &object[..], SMALL);
    let expected = Page {
        kind: Kind::Response,
        place: Place { at, within: 0 },
        url: Some(url.to_owned()),
        date: Some(DATE.to_owned()),
        status: Some(404),
        content_type: Some("text/html".to_owned()),
        charset: Some("iso-8859-1".to_owned()),
        payload: b"<p>caf\xe9".to_vec(),
        is_truncated: true,
        mends: Vec::new(),
    };
    assert_eq!(only_page(entries), expected);
    use Skipped::*;
    let skipped = [WarcInfo, Request, Metadata, Revisit, Continuation, NotHttp, Other].map(|kind| (kind, 1));
    assert_eq!(counts.skipped.into_iter().collect::<Vec<_>>(), skipped);
}

#[test]
fn resources_and_conversions_are_pages_of_their_own_type() {
    let mut writer = WarcWriter::new(Vec::new(), Packing::Gzip);
    let of = |record_type, content_type| Record {
        record_type,
        url: "<https://bees.example/a>",
        date: DATE,
        content_type,
        fields: "WARC-Identified-Payload-Type: text/x-found\r\n",
        block: b"HTTP/1.1 is text here",
    };
    writer.record(&of("resource", "text/html; charset=koi8-r")).unwrap();
    writer.record(&of("conversion", "")).unwrap();
    let (entries, _) = read_with("a.warc.wet.gz", &writer.into_inner()[..], SMALL);
    let facts = entries.iter().map(|entry| match entry {
        Entry::Page(page) => (page.kind, page.content_type.as_deref(), page.charset.as_deref(), page.url.as_deref()),
        Entry::Damage(damage) => panic!("{damage}"),
    });
    let url = Some("https://bees.example/a");
    let expected =
        [(Kind::Resource, Some("text/html"), Some("koi8-r"), url), (Kind::Conversion, Some("text/x-found"), None, url)];
    assert_eq!(facts.collect::<Vec<_>>(), expected);
}

#[test]
fn an_html_file_is_one_page_and_a_json_line_each_one() {
    assert_eq!(read("a.html", b"<p>a\r\n\r\n"), [ok("<p>a\r\n\r\n")]);
    assert_eq!(read("a.html", b""), [ok("")]);
    let (_, html) = packed(Packing::Gzip, &[b"<p>a".to_vec(), b"<p>b".to_vec()]);
    assert_eq!(read("a.html.gz", &html), [ok("<p>a<p>b")]);
    assert_eq!(read("a.html.gz", &html[..html.len() - 1]), [Err(Fault::Packing)]);
    assert_eq!(read("a.html", noise(SMALL.payload_bytes + 1, 1).as_bytes()), [Err(Fault::TooLong)]);
    let lines = "\u{feff}{\"html\": \"a\", \"url\": \"u\"}\r\n\n[]\n{\"html\": 5}\n{\"html\": \"b\"}";
    let long = format!("{lines}\n{{\"html\": \"{}\"}}\n{{\"html\": \"c\"}}\n", noise(SMALL.record_bytes, 1));
    let expected = [ok("a"), Err(Fault::NotJson), Err(Fault::NoHtml), ok("b")];
    assert_eq!(read("a.jsonl", lines.as_bytes()), expected);
    let expected = [&expected[..], &[Err(Fault::TooLong), ok("c")]].concat();
    assert_eq!(read("a.jsonl", long.as_bytes()), expected);
    let (_, packed) = packed(Packing::Zstd, &[long.into_bytes()]);
    assert_eq!(read("a.jsonl.zst", &packed), expected);
}

#[test]
fn an_empty_object_has_no_pages() {
    for name in ["a.warc", "a.warc.gz", "a.warc.zst", "a.jsonl", "a.jsonl.gz"] {
        assert_eq!(read(name, b""), [], "{name}");
    }
    assert_eq!(read("a.warc", b"\r\n\r\n\0\0"), []);
    assert_eq!(read("a.warc.gz", b"\0\0"), []);
}

#[test]
fn an_error_of_the_store_is_passed_on_and_the_last_item() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the store is gone"))
        }
    }
    let object = record("<p>a");
    for name in ["a.warc", "a.jsonl", "a.html"] {
        let mut pages = Pages::new(Format::of(name).unwrap(), object[..40].chain(Failing), SMALL);
        assert_eq!(pages.next().unwrap().unwrap_err().to_string(), "the store is gone");
        assert!(pages.next().is_none());
    }
}
