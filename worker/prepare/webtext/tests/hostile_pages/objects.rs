//! Objects that hold, or unpack to, a gigabyte.

use std::io::{self, Cursor, Read};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use webtext::pages::write::{Packing, WarcWriter};
use webtext::pages::{Counts, Entry, Fault, Format, Limits, Pages};

use super::cost::{Bounds, bounded};

const GB: u64 = 1 << 30;
/// Documents of one byte.
const MANY: usize = 1_000_000;
const HEADER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n";

/// Bounds for an object of a gigabyte: 60 s of processor time, and [`Limits::memory_bytes`], 75 MB with the defaults. The test's own
/// reader of a million records and what the allocator keeps are within a quarter of that.
fn bounds() -> Bounds {
    Bounds { cpu_s: 60.0, memory_bytes: Limits::default().memory_bytes() / 4 * 5 }
}

pub fn check() {
    let (first, last) = (record(b"first"), record(b"last"));
    expect("pages: an HTML file of 1 GB", "a.html", repeated(GB), &[], &[(Fault::TooLong, 1)]);
    let long = || Cursor::new(first.clone()).chain(long_record()).chain(Cursor::new(last.clone()));
    expect("pages: a WARC record of 1 GB", "a.warc", long(), &[b"first", b"last"], &[(Fault::TooLong, 1)]);
    let line = || {
        let begin = b"{\"html\": \"first\"}\n{\"html\": \"";
        begin.as_slice().chain(repeated(GB)).chain(&b"\"}\n{\"html\": \"last\"}\n"[..])
    };
    expect("pages: a JSON line of 1 GB", "a.jsonl", line(), &[b"first", b"last"], &[(Fault::TooLong, 1)]);
    bombs(&first, &last, line);
    encodings();
    many();
}

/// What unpacks to a gigabyte, between two pages.
fn bombs<R: Read>(first: &[u8], last: &[u8], line: impl Fn() -> R) {
    let packed = |pack: Pack| [pack(&mut &first[..]), pack(&mut long_record()), pack(&mut &last[..])].concat();
    let both: [&[u8]; 2] = [b"first", b"last"];
    let too_long = [(Fault::TooLong, 1)];
    for (name, pack) in [("gz", gzip as Pack), ("zst", zstd as Pack)] {
        let page = pack(&mut repeated(GB));
        expect(&format!("pages: 1 GB in an HTML file, .{name}"), &format!("a.html.{name}"), &page[..], &[], &too_long);
        expect(
            &format!("pages: 1 GB in a record, .{name}"),
            &format!("a.warc.{name}"),
            &packed(pack)[..],
            &both,
            &too_long,
        );
        let lines = pack(&mut line());
        expect(
            &format!("pages: 1 GB in a JSON line, .{name}"),
            &format!("a.jsonl.{name}"),
            &lines[..],
            &both,
            &too_long,
        );
    }
}

/// Content of a response that unpacks to a gigabyte, packed once and twice.
fn encodings() {
    let gz = gzip(&mut repeated(GB));
    for (encoding, body) in [
        ("gzip", gz.clone()),
        ("gzip, gzip", gzip(&mut &gz[..])),
        ("deflate", zlib(&mut repeated(GB))),
        ("deflate", deflate(&mut repeated(GB))),
        ("zstd", zstd(&mut repeated(GB))),
    ] {
        let mut writer = WarcWriter::new(Vec::new(), Packing::Gzip);
        let message = [format!("HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\n\r\n").as_bytes(), &body].concat();
        for message in [&[HEADER, b"first"].concat(), &message, &[HEADER, b"last"].concat()] {
            writer.response("https://bees.example/", "2026-11-30T12:00:00Z", message).unwrap();
        }
        let record_bytes = Limits::default().record_bytes;
        assert!(body.len() < record_bytes - 1024, "{encoding}: a body of {} bytes is too long by itself", body.len());
        let name = format!("pages: 1 GB by Content-Encoding: {encoding}, {} bytes", body.len());
        expect(&name, "a.warc.gz", &writer.into_inner()[..], &[b"first", b"last"], &[(Fault::TooLong, 1)]);
    }
}

/// A million pages of one byte.
fn many() {
    let lines = Repeat { unit: b"{\"html\": \"x\"}\n".to_vec(), at: 0, left: MANY };
    expect_many("pages: a million JSON lines of one byte", "a.jsonl", lines);
    let records = |packing| {
        let mut writer = WarcWriter::new(Vec::new(), packing);
        writer.response("https://bees.example/", "2026-11-30T12:00:00Z", &[HEADER, b"x"].concat()).unwrap();
        Repeat { unit: writer.into_inner(), at: 0, left: MANY }
    };
    expect_many("pages: a million WARC records of one byte", "a.warc", records(Packing::Plain));
    expect_many("pages: a million WARC records of one byte, .gz", "a.warc.gz", records(Packing::Gzip));
    expect_many("pages: a million WARC records of one byte, .zst", "a.warc.zst", records(Packing::Zstd));
}

/// Reads all of an object, and expects these pages and this damage.
#[track_caller]
fn expect(name: &str, object_name: &str, object: impl Read, pages: &[&[u8]], damaged: &[(Fault, u64)]) {
    let (payloads, counts) = bounded(name, bounds(), || {
        let mut payloads = Vec::new();
        let counts = read(object_name, object, |payload| payloads.push(payload));
        (payloads, counts)
    });
    assert_eq!(payloads, pages, "{name}");
    assert_eq!(counts.damaged.into_iter().collect::<Vec<_>>(), damaged, "{name}");
}

#[track_caller]
fn expect_many(name: &str, object_name: &str, object: impl Read) {
    let counts = bounded(name, bounds(), || read(object_name, object, |payload| assert_eq!(payload, b"x")));
    assert_eq!((counts.pages, counts.all_damaged(), counts.all_skipped()), (MANY as u64, 0, 0), "{name}");
}

fn read(name: &str, object: impl Read, mut page: impl FnMut(Vec<u8>)) -> Counts {
    let mut pages = Pages::new(Format::of(name).unwrap(), object, Limits::default());
    for entry in pages.by_ref() {
        if let Entry::Page(read) = entry.unwrap() {
            page(read.payload);
        }
    }
    pages.counts().clone()
}

fn record(text: &[u8]) -> Vec<u8> {
    let mut writer = WarcWriter::new(Vec::new(), Packing::Plain);
    writer.response("https://bees.example/", "2026-11-30T12:00:00Z", &[HEADER, text].concat()).unwrap();
    writer.into_inner()
}

/// A record of a gigabyte.
fn long_record() -> impl Read {
    let length = format!("Content-Length: {}", GB + HEADER.len() as u64);
    let empty = String::from_utf8(record(b"")).unwrap();
    let begin = empty.replacen(&format!("Content-Length: {}", HEADER.len()), &length, 1);
    let begin = begin.trim_end().to_owned() + "\r\n\r\n";
    Cursor::new(begin).chain(repeated(GB)).chain(&b"\r\n\r\n"[..])
}

fn repeated(bytes: u64) -> impl Read {
    // Nothing packs better.
    let unit = vec![b' '; 4096];
    Repeat { left: usize::try_from(bytes).unwrap() / unit.len(), unit, at: 0 }
}

/// Reader of bytes that are repeated.
struct Repeat {
    unit: Vec<u8>,
    at: usize,
    left: usize,
}

impl Read for Repeat {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while self.left > 0 && filled < buffer.len() {
            let bytes = (self.unit.len() - self.at).min(buffer.len() - filled);
            buffer[filled..filled + bytes].copy_from_slice(&self.unit[self.at..self.at + bytes]);
            (filled, self.at) = (filled + bytes, self.at + bytes);
            if self.at == self.unit.len() {
                (self.at, self.left) = (0, self.left - 1);
            }
        }
        Ok(filled)
    }
}

type Pack = fn(&mut dyn Read) -> Vec<u8>;

fn gzip(content: &mut dyn Read) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    io::copy(content, &mut encoder).unwrap();
    encoder.finish().unwrap()
}

fn zlib(content: &mut dyn Read) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    io::copy(content, &mut encoder).unwrap();
    encoder.finish().unwrap()
}

fn deflate(content: &mut dyn Read) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    io::copy(content, &mut encoder).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &mut dyn Read) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    io::copy(content, &mut encoder).unwrap();
    encoder.finish().unwrap()
}
