//! Tests of lineage files.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use common::config::StorageConfig;
use common::storage::{Folder, Layer, Reader, StorageError};

use super::units::lineage_name;
use super::*;
use crate::stages::bounded::URL_BYTES_MAX;

pub(in crate::stages) fn folder(name: &str) -> Folder {
    Folder::open(&format!("memory://lineage-{name}"), &StorageConfig::default()).unwrap()
}

/// A line whose fields follow from `number`.
pub(in crate::stages) fn line(number: u64) -> Line {
    let kept = number.is_multiple_of(3);
    Line {
        id: u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
        source: "s3://crawl/a.warc.gz".into(),
        at: number * 1000,
        within: u64::MAX - number,
        url: (number % 5 != 4).then(|| format!("https://host{}.example/{number}", number % 7)),
        date: number.is_multiple_of(2).then(|| "2026-11-30T12:00:00Z".into()),
        verdict: if kept { Verdict::Kept } else { Verdict::Dropped },
        rule: if kept { String::new() } else { "length.words".into() },
        measure: (!kept).then_some(number as f64 / 7.0),
        limit: (!kept).then_some(50.0),
        bytes_in: number + 1,
        bytes_out: if kept { number } else { 0 },
        note: format!("eng 0.9{}", number % 10),
    }
}

pub(in crate::stages) fn written(lines: impl IntoIterator<Item = Line>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = LineageWriter::new(&mut bytes).unwrap();
    lines.into_iter().for_each(|line| writer.push(line).unwrap());
    writer.finish().unwrap();
    bytes
}

fn put(folder: &Folder, number: u32, content: Vec<u8>) -> LineageFile {
    folder.put(&lineage_name(number), Bytes::from(content)).unwrap();
    let units = lineage_of(folder).unwrap();
    LineageFile::open(folder, units.iter().find(|unit| unit.number == number).unwrap()).unwrap()
}

#[test]
fn lines_come_back_as_they_were_and_equal_lines_give_equal_bytes() {
    let folder = folder("round-trip");
    for (number, count) in [(0, 0), (1, 1), (2, 5000), (3, 50_000)] {
        let bytes = written((0..count).map(line));
        assert!(bytes == written((0..count).map(line)), "{count} lines");
        let file = put(&folder, number, bytes);
        assert!(file.lines().unwrap() == (0..count).map(line).collect::<Vec<_>>(), "{count} lines");
    }
    let numbers: Vec<u32> = lineage_of(&folder).unwrap().iter().map(|unit| unit.number).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
}

#[test]
fn lines_are_found_by_id_and_by_url_in_any_row_group() {
    let folder = folder("find");
    let file = put(&folder, 0, written((0..50_000).map(line)));
    let one = |line: Line| Hits { lines: vec![line], count: 1 };
    for number in [0, 1, 40_000, 49_999] {
        let expected = line(number);
        assert_eq!(file.with_id(expected.id, 9).unwrap(), one(expected.clone()));
        assert_eq!(file.where_id(|id| id == expected.id, 9).unwrap(), one(expected));
    }
    assert_eq!(file.with_id(12345, 9).unwrap(), Hits::default());
    let url = line(45_003).url.unwrap();
    assert_eq!(file.where_url(|other| other == url, 9).unwrap(), one(line(45_003)));
    assert_eq!(file.where_url(|_| false, 9).unwrap(), Hits::default());
}

#[test]
fn of_many_lines_the_first_are_read_in_few_requests_and_all_are_counted() {
    #[derive(Debug, Default)]
    struct Requests(AtomicUsize);
    impl Layer for Requests {
        fn before(&self, _: &'static str, _: &str) -> Result<(), String> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }

        fn after(&self, _: &'static str, _: &str) -> Result<(), String> {
            Ok(())
        }
    }
    let requests = Arc::new(Requests::default());
    let folder = folder("many").behind(requests.clone());
    let file = put(&folder, 0, written((0..50_000).map(line)));
    let found = file.where_url(|url| url.starts_with("https://host3."), 30).unwrap();
    let of_host = (0..50_000).filter(|number| number % 5 != 4 && number % 7 == 3);
    assert_eq!(found.count, of_host.clone().count() as u64);
    assert!(found.lines == of_host.take(30).map(line).collect::<Vec<_>>());
    // Two row groups, with some pages of each of 13 columns.
    let requests = requests.0.load(Ordering::Relaxed);
    assert!(requests < 300, "{requests} requests");
    // The lines that are wanted may begin in one row group and end in the next.
    let wanted: Vec<Line> = (35_000..50_000).step_by(1000).map(line).collect();
    let across = file.where_id(|id| wanted.iter().any(|line| line.id == id), 12).unwrap();
    assert_eq!(across.count, 15);
    assert!(across.lines == wanted[..12]);
}

#[test]
fn endless_texts_are_cut_where_a_character_ends() {
    let folder = folder("cut");
    let long = "é".repeat(1 << 20);
    let endless = Line {
        source: long.clone(),
        url: Some(format!("x{long}")),
        date: Some(long.clone()),
        rule: long.clone(),
        note: format!("x{long}"),
        ..line(1)
    };
    let file = put(&folder, 0, written([endless]));
    let [found] = &file.lines().unwrap()[..] else { panic!("one line") };
    let lengths = [found.source.len(), found.url.as_ref().unwrap().len(), found.date.as_ref().unwrap().len()];
    assert_eq!(lengths, [URL_BYTES_MAX, URL_BYTES_MAX - 1, line::NAME_BYTES_MAX]);
    assert_eq!([found.rule.len(), found.note.len()], [line::NAME_BYTES_MAX, line::NOTE_BYTES_MAX - 1]);
}

#[test]
fn a_store_that_refuses_shows_in_the_error_of_the_writer() {
    struct Refusing;
    impl std::io::Write for Refusing {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            let (url, reason) = ("s3://full/x".into(), "no room".into());
            Err(std::io::Error::other(StorageError::Denied { url, operation: "write", reason }))
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut writer = LineageWriter::new(Refusing).unwrap();
    let pushed = (0..50_000).try_for_each(|number| writer.push(line(number)));
    let error = pushed.and_then(|()| writer.finish()).unwrap_err();
    assert!(matches!(Reader::storage_error(&error), Some(StorageError::Denied { .. })), "{error:?}");
}

#[test]
fn a_damaged_file_is_named() {
    let folder = folder("damage");
    let whole = written((0..1000).map(line));
    let unit = |content: Vec<u8>| {
        let unit = UnitFile { number: 7, name: lineage_name(7), bytes: content.len() as u64 };
        folder.put(&unit.name, Bytes::from(content)).unwrap();
        LineageFile::open(&folder, &unit).and_then(|file| file.lines())
    };
    let named = |content: Vec<u8>| {
        let error = unit(content).unwrap_err();
        assert_eq!(error.exit_code(), common::exit_code::ExitCode::Data);
        assert!(error.to_string().contains("unit-000007.lineage.parquet: damaged lineage: "), "{error}");
    };
    named(Vec::new());
    named(b"not Parquet at all".to_vec());
    named(whole[..whole.len() - 1].to_vec());
    named(whole[whole.len() / 2..].to_vec());
    let mut zeroed = whole.clone();
    zeroed[20_000..whole.len() - 4000].fill(0);
    named(zeroed);
    // A changed byte is an error that names the file, or changes a value; it never ends the process.
    for at in (0..whole.len()).step_by(61) {
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        if let Err(error) = unit(changed) {
            assert!(error.to_string().contains("unit-000007.lineage.parquet"), "{error}");
        }
    }
}
