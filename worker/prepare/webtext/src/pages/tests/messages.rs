//! HTTP messages in records, and the encodings of their content.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;

const TEXT: &str = "<!doctype html>\n<p>A bee flies from flower to flower, and from flower to flower.</p>\n";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let chunks =
        body.chunks(7).flat_map(|chunk| [format!("{:X}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    chunks.chain(*b"0\r\n\r\n").collect()
}

/// `TEXT` as a stream of brotli: one meta-block, not compressed.
fn brotli(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len() - 1).unwrap();
    // Window of 16 bits, not the last block, 4 nibbles of length, not compressed; then an empty last block.
    let bits = length << 4 | 1 << 20;
    [&bits.to_le_bytes()[..3], text, &[3]].concat()
}

fn entries(header: &str, body: &[u8]) -> Vec<Entry> {
    let mut writer = WarcWriter::new(Vec::new(), Packing::Gzip);
    let message = [format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{header}\r\n").as_bytes(), body].concat();
    writer.response("https://bees.example/", DATE, &message).unwrap();
    let (entries, _) = read_with("a.warc.gz", &writer.into_inner()[..], SMALL);
    entries
}

fn check(header: &str, body: &[u8], expected: &str, mends: &[Mend]) {
    let page = only_page(entries(header, body));
    assert_eq!(String::from_utf8_lossy(&page.payload), expected, "{header}");
    assert_eq!((&page.mends[..], page.is_truncated), (mends, false), "{header}");
}

fn fault(header: &str, body: &[u8]) -> Fault {
    match &entries(header, body)[..] {
        [Entry::Damage(damage)] => damage.fault,
        other => panic!("{header}: {other:?}"),
    }
}

#[test]
fn content_is_unpacked_and_its_chunks_joined() {
    let text = TEXT.as_bytes();
    check("", text, TEXT, &[]);
    check("Content-Length: 3\r\n", text, TEXT, &[]);
    check("Content-Encoding: gzip\r\n", &gzip(text), TEXT, &[]);
    check("content-encoding: X-GZip\r\n", &gzip(text), TEXT, &[]);
    check("Content-Encoding: gzip\r\n", &[gzip(text), gzip(text)].concat(), &TEXT.repeat(2), &[]);
    check("Content-Encoding: gzip\r\n", &[&gzip(text)[..], b"<!-- behind -->"].concat(), TEXT, &[]);
    check("Content-Encoding: deflate\r\n", &zlib(text), TEXT, &[]);
    check("Content-Encoding: deflate\r\n", &deflate(text), TEXT, &[]);
    check("Content-Encoding: br\r\n", &brotli(text), TEXT, &[]);
    check("Content-Encoding: zstd\r\n", &zstd::encode_all(text, 0).unwrap(), TEXT, &[]);
    check("Content-Encoding: deflate, identity, gzip\r\n", &gzip(&zlib(text)), TEXT, &[]);
    check("Content-Encoding: deflate\r\nContent-Encoding: gzip\r\n", &gzip(&zlib(text)), TEXT, &[]);
    check("Transfer-Encoding: chunked\r\n", &chunked(text), TEXT, &[]);
    check("Transfer-Encoding: gzip,Chunked\r\nContent-Encoding: gzip\r\n", &chunked(&gzip(text)), TEXT, &[]);
    check("Content-Encoding: gzip\r\n", b"", "", &[]);
    check("Transfer-Encoding: chunked\r\n", b"", "", &[]);
}

#[test]
fn content_that_was_unpacked_before_is_taken_as_it_is() {
    let unpacked = [Mend::AlreadyUnpacked];
    let latin1 = String::from_utf8_lossy(b"<p>caf\xe9").into_owned();
    for encoding in ["gzip", "deflate", "br", "zstd", "compress", "gzip, gzip", "utf-8"] {
        check(&format!("Content-Encoding: {encoding}\r\n"), TEXT.as_bytes(), TEXT, &unpacked);
        check(&format!("Content-Encoding: {encoding}\r\n"), b"\r\n plain text", "\r\n plain text", &unpacked);
        check(&format!("Content-Encoding: {encoding}\r\n"), b"<p>caf\xe9", &latin1, &unpacked);
    }
    check("Transfer-Encoding: chunked\r\n", TEXT.as_bytes(), TEXT, &[Mend::NotChunked]);
    let both = [Mend::NotChunked, Mend::AlreadyUnpacked];
    check("Transfer-Encoding: chunked\r\nContent-Encoding: br\r\n", TEXT.as_bytes(), TEXT, &both);
    check("Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n", &gzip(TEXT.as_bytes()), TEXT, &both[..1]);
}

#[test]
fn cut_content_is_kept_and_said_to_be_cut() {
    let text = noise(8000, 1);
    let all = [
        ("Content-Encoding: gzip\r\n", gzip(text.as_bytes())),
        ("Content-Encoding: deflate\r\n", zlib(text.as_bytes())),
        ("Content-Encoding: zstd\r\n", zstd::encode_all(text.as_bytes(), 0).unwrap()),
        ("Content-Encoding: br\r\n", brotli(text.as_bytes())),
        ("Transfer-Encoding: chunked\r\n", chunked(text.as_bytes())),
        ("Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n", chunked(&gzip(text.as_bytes()))),
    ];
    for (header, body) in all {
        let page = only_page(entries(header, &body[..body.len() - 100]));
        assert!(page.is_truncated && text.as_bytes().starts_with(&page.payload), "{header}");
    }
}

#[test]
fn content_that_cannot_be_unpacked_costs_its_page() {
    let mut damaged = gzip(noise(8000, 1).as_bytes());
    damaged[4000] ^= 1;
    assert_eq!(fault("Content-Encoding: gzip\r\n", &damaged), Fault::Encoding);
    assert_eq!(fault("Content-Encoding: br\r\n", b"\x1c\0\x01\x02\x03"), Fault::Encoding);
    assert_eq!(fault("Content-Encoding: deflate\r\n", b"\xff\0\x01\x02\x03"), Fault::Encoding);
    assert_eq!(fault("Content-Encoding: compress\r\n", b"\x1f\x9d\x90\0\x01"), Fault::Encoding);
    assert_eq!(fault("Content-Encoding: gzip, gzip, gzip, gzip, gzip\r\n", TEXT.as_bytes()), Fault::Encoding);
}

#[test]
fn bombs_are_counted_and_skipped_in_bounded_memory() {
    // Packed once and twice, and what fits into its record.
    let zeros = vec![b' '; 4 << 20];
    for (encoding, bomb) in [
        ("gzip", gzip(&zeros)),
        ("gzip, gzip", gzip(&gzip(&zeros))),
        ("deflate", zlib(&zeros)),
        ("deflate", deflate(&zeros)),
        ("zstd", zstd::encode_all(&zeros[..], 0).unwrap()),
        ("gzip", gzip(&zeros[..=SMALL.payload_bytes])),
    ] {
        assert!(bomb.len() < SMALL.record_bytes);
        assert_eq!(fault(&format!("Content-Encoding: {encoding}\r\n"), &bomb), Fault::TooLong, "{encoding}");
    }
    let fits = " ".repeat(SMALL.payload_bytes);
    check("Content-Encoding: gzip\r\n", &gzip(fits.as_bytes()), &fits, &[]);
}

#[test]
fn responses_are_read_however_their_header_is_written() {
    let read = |message: &[u8]| {
        let mut writer = WarcWriter::new(Vec::new(), Packing::Plain);
        writer.response("https://bees.example/", DATE, message).unwrap();
        let page = only_page(read_with("a.warc", &writer.into_inner()[..], SMALL).0);
        (page.status, page.charset, String::from_utf8(page.payload).unwrap(), page.mends)
    };
    let text = || "<p>a".to_owned();
    let utf8 = || Some("utf-8".to_owned());
    let check = |message: &str, expected| assert_eq!(read(message.as_bytes()), expected, "{message:?}");
    check("HTTP/1.1 200\r\n\r\n<p>a", (Some(200), None, text(), vec![]));
    check("HTTP/2 200 \nContent-Type:text/html;charset=UTF-8\n\n<p>a", (Some(200), utf8(), text(), vec![]));
    check("HTTP/1.1\r\n\r\n<p>a", (None, None, text(), vec![]));
    check("HTTP/1.1 OK\r\nfolded:\r\n a\r\n\tb\r\nno field\r\n\r\n<p>a", (None, None, text(), vec![]));
    check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n<p>a", (Some(200), None, text(), vec![]));
    check("HTTP/1.1 200 OK\r\nA: b\r\n<p>a", (Some(200), None, text(), vec![Mend::BlankLine]));
    check("HTTP/1.1 200 OK\r\nA: b\r\n", (Some(200), None, String::new(), vec![]));
    check("HTTP/1.1 200 OK", (Some(200), None, String::new(), vec![]));
    check("<p>a", (None, None, text(), vec![]));
    check("", (None, None, String::new(), vec![]));
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Type: a;charset=utf-8\r\n\r\n<p>a", noise(40 << 10, 1));
    check(&huge, (Some(200), utf8(), text(), vec![]));
}

#[test]
fn zeros_in_headers_and_content_are_bytes_as_any_other() {
    let message = b"HTTP/1.1 200 OK\r\nA\0: \0\r\n\0\r\n\r\n<p>\0\0a\0\r\n\r\n\0";
    let mut writer = WarcWriter::new(Vec::new(), Packing::Plain);
    writer.response("https://bees.example/\0", DATE, message).unwrap();
    let page = only_page(read_with("a.warc", &writer.into_inner()[..], SMALL).0);
    assert_eq!(
        (&page.payload[..], page.url.as_deref()),
        (&b"<p>\0\0a\0\r\n\r\n\0"[..], Some("https://bees.example/\0"))
    );
}
