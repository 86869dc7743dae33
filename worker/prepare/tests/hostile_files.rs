//! Reading archives, JSON lines of pages, Parquet files of texts and lineage ends in what they have or in damage, whatever their
//! bytes are.
//!
//! `tests/fuzz` has fuzz targets of these readers, which begin with the valid files in `tests/fuzz/seeds`, like these tests. With
//! `CONVOY_MAKE_SEEDS` in the environment, the seeds are written anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "shared/formats.rs"]
mod formats;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::FORMATS;
use parquet::basic::{Compression, Encoding};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use prepare::stages::lineage::{Line, LineageWriter, Verdict};
use webtext::pages::write::{Packing, Record, WarcWriter};

const DATE: &str = "2026-11-30T12:00:00Z";

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz")
}

/// Makes the valid files of all formats: the format, the file's name, and its content.
fn made() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let lines = "{\"url\": \"https://a.example/\", \"html\": \"<p>a\\u00e9\\ud800</p>\"}\n\n{\"html\": \"b\", \"score\": NaN}\n";
    let columns = WriterProperties::builder();
    let newer = || {
        let builder = WriterProperties::builder().set_writer_version(WriterVersion::PARQUET_2_0);
        builder.set_compression(Compression::LZ4_RAW).set_dictionary_enabled(false)
    };
    vec![
        ("warc", "plain", archive(Packing::Plain)),
        ("warc", "gzip", archive(Packing::Gzip)),
        ("page_lines", "lines", lines.into()),
        ("parquet_rows", "snappy", rows(columns.set_compression(Compression::SNAPPY))),
        ("parquet_rows", "delta", rows(newer().set_encoding(Encoding::DELTA_BYTE_ARRAY))),
        ("parquet_rows", "lengths", rows(newer().set_encoding(Encoding::DELTA_LENGTH_BYTE_ARRAY))),
        ("lineage", "lineage", lineage()),
    ]
}

fn archive(packing: Packing) -> Vec<u8> {
    let mut content = Vec::new();
    let mut writer = WarcWriter::new(&mut content, packing);
    let chunked =
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n<p>\r\n0\r\n\r\n";
    writer.response("https://a.example/1", DATE, chunked.as_bytes()).unwrap();
    writer.response("https://a.example/2", DATE, b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<p>b").unwrap();
    let (content_type, block) = ("text/plain", &b"a text"[..]);
    let of_wet =
        Record { record_type: "conversion", url: "https://a.example/3", date: DATE, content_type, fields: "", block };
    writer.record(&of_wet).unwrap();
    content
}

/// Returns a Parquet file of two row groups with a text, a URL and a title in each row.
fn rows(properties: WriterPropertiesBuilder) -> Vec<u8> {
    let schema = "message m { required binary text (UTF8); required binary url (UTF8); optional binary title (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut content = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut content, schema, Arc::new(properties.build())).unwrap();
    for group in [&["one", "one", "only"][..], &["two"]] {
        let mut columns = writer.next_row_group().unwrap();
        let values: Vec<ByteArray> = group.iter().copied().map(ByteArray::from).collect();
        let levels = vec![1; group.len()];
        for is_optional in [false, false, true] {
            let mut column = columns.next_column().unwrap().unwrap();
            let levels = is_optional.then_some(&levels[..]);
            column.typed::<ByteArrayType>().write_batch(&values, levels, None).unwrap();
            column.close().unwrap();
        }
        columns.close().unwrap();
    }
    writer.close().unwrap();
    content
}

fn lineage() -> Vec<u8> {
    let mut content = Vec::new();
    let mut writer = LineageWriter::new(&mut content).unwrap();
    for number in 0..3 {
        let is_kept = number == 0;
        let line = Line {
            id: u128::from(number) << 64 | 1,
            source: "s3://crawl/a.warc.gz".into(),
            at: number * 1000,
            within: 0,
            url: (number < 2).then(|| format!("https://a.example/{number}")),
            date: is_kept.then(|| DATE.into()),
            verdict: if is_kept { Verdict::Kept } else { Verdict::Dropped },
            rule: if is_kept { String::new() } else { "length.words".into() },
            measure: (!is_kept).then_some(7.0),
            limit: (!is_kept).then_some(50.0),
            bytes_in: 100,
            bytes_out: 90,
            note: "eng 0.99".into(),
        };
        writer.push(line).unwrap();
    }
    writer.finish().unwrap();
    content
}

/// Returns the valid files of a format.
fn seeds(format: &str) -> Vec<Vec<u8>> {
    let folder = fuzz().join("seeds").join(format);
    if std::env::var_os("CONVOY_MAKE_SEEDS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        made()
            .iter()
            .filter(|made| made.0 == format)
            .for_each(|made| std::fs::write(folder.join(made.1), &made.2).unwrap());
    }
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn the_seeds_of_every_format_are_accepted_and_have_a_fuzz_target() {
    let targets = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for (name, read) in FORMATS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        assert!(
            seeds.iter().all(|seed| read(seed)),
            "a seed is no {name} any more; make it anew with CONVOY_MAKE_SEEDS=1"
        );
        assert!(targets.contains(&format!("name = \"{name}\"")), "{name} has no fuzz target");
    }
}

#[test]
fn what_is_made_anew_is_accepted() {
    for (format, name, content) in made() {
        let (_, read) = FORMATS.iter().find(|(of, _)| *of == format).unwrap();
        assert!(read(&content), "{format}, {name}");
    }
}

#[test]
fn files_of_which_any_byte_is_another_or_any_end_is_missing_are_read_or_refused() {
    for (format, _, content) in made() {
        let (_, read) = FORMATS.iter().find(|(of, _)| *of == format).unwrap();
        for at in 0..content.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = content.clone();
                changed[at] ^= flip;
                read(&changed);
            }
            read(&content[..at]);
        }
    }
}
