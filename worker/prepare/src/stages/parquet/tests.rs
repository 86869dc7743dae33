//! Tests of Parquet whose footer is not as a writer makes it.

use bytes::Bytes;
use common::exit_code::ExitCode;
use common::storage::Folder;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaDataWriter};
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::*;
use crate::PrepareError;
use crate::stages::document::{Document, DocumentWriter};
use crate::stages::lineage::Line;
use crate::stages::lineage::tests::{folder, line, written};

/// Returns a file of one row group with this number of documents.
fn documents(count: usize) -> Vec<u8> {
    let mut content = Vec::new();
    let mut writer = DocumentWriter::new(&mut content).unwrap();
    (0..count).for_each(|_| writer.push(Document::default()).unwrap());
    writer.finish().unwrap();
    content
}

/// Returns `content` with a footer that gives its row group this number of rows.
fn with_rows(content: &[u8], rows: i64) -> Vec<u8> {
    let file = SerializedFileReader::new(Bytes::copy_from_slice(content)).unwrap();
    let group = file.metadata().row_group(0).clone().into_builder().set_num_rows(rows).build().unwrap();
    let metadata = file.metadata().clone().into_builder().set_row_groups(vec![group]).build();
    let (before, length) = content[..content.len() - 4].split_last_chunk().unwrap();
    let mut changed = before[..before.len() - u32::from_le_bytes(*length) as usize].to_vec();
    ParquetMetaDataWriter::new(&mut changed, &metadata).finish().unwrap();
    changed
}

/// Returns the rows of the first row group of `content`.
fn first_group<R: Row>(folder: &Folder, content: Vec<u8>) -> Result<Vec<R>, PrepareError> {
    let bytes = content.len() as u64;
    folder.put("a", content.into()).unwrap();
    RowFile::<R>::open(folder, ("a", bytes), 1 << 20)?.group(0, |group| group.all())
}

#[test]
fn a_row_group_of_more_rows_than_are_written_is_refused_before_memory_is_taken() {
    let folder = folder("parquet-rows");
    let full = documents(Document::GROUP_ROWS);
    assert_eq!(first_group::<Document>(&folder, full.clone()).unwrap().len(), 16_384);
    assert_eq!(first_group::<Document>(&folder, with_rows(&full, 16_384)).unwrap().len(), 16_384);
    let lines = written((0..10).map(line));
    assert_eq!(first_group::<Line>(&folder, with_rows(&lines, 10)).unwrap(), (0..10).map(line).collect::<Vec<_>>());
    for rows in [16_385, 100_001, 1 << 40, i64::MAX, -1] {
        let of_documents = first_group::<Document>(&folder, with_rows(&full, rows)).unwrap_err();
        check(&of_documents, "/a: damaged: ", &format!("it has {rows} rows, expected at most 16384"));
        if rows != 16_385 {
            let of_lines = first_group::<Line>(&folder, with_rows(&lines, rows)).unwrap_err();
            check(&of_lines, "/a: damaged lineage: ", &format!("it has {rows} rows, expected at most 100000"));
        }
    }
}

fn check(error: &PrepareError, start: &str, reason: &str) {
    assert_eq!(error.exit_code(), ExitCode::Data);
    let expected = format!("{start}Parquet error: a row group says that {reason}");
    assert!(error.to_string().contains(&expected), "{error}");
}

#[test]
fn fewer_rows_than_a_row_group_says_are_damage() {
    let folder = folder("parquet-fewer");
    let lines = written((0..10).map(line));
    let error = first_group::<Line>(&folder, with_rows(&lines, 11)).unwrap_err();
    assert!(error.to_string().contains("a column has fewer rows than its row group"), "{error}");
}

/// Returns `content` with a page in its last column that announces 2 GiB.
fn with_large_page(content: &[u8]) -> Vec<u8> {
    let file = SerializedFileReader::new(Bytes::copy_from_slice(content)).unwrap();
    let group = file.metadata().row_group(0);
    // The filter of ids lies behind the pages, where it is cut off.
    let without_filter = |column: &ColumnChunkMetaData| {
        column.clone().into_builder().set_bloom_filter_offset(None).set_bloom_filter_length(None).build().unwrap()
    };
    let mut columns: Vec<_> = group.columns().iter().map(without_filter).collect();
    let last = columns.pop().unwrap();
    let (start, length) = last.byte_range();
    let end = (start + length) as usize;
    let longer = last.into_builder().set_total_compressed_size(length as i64 + 4).build().unwrap();
    columns.push(longer);
    let group = group.clone().into_builder().set_column_metadata(columns).build().unwrap();
    let metadata = file.metadata().clone().into_builder().set_row_groups(vec![group]).build();
    // The header begins with the page's type and its unpacked bytes, each after a byte for the field.
    let at = start as usize + 3;
    let mut changed = [&content[..at], &[0xfe, 0xff, 0xff, 0xff, 0x0f], &content[at + 1..end]].concat();
    ParquetMetaDataWriter::new(&mut changed, &metadata).finish().unwrap();
    changed
}

#[test]
fn a_page_that_announces_more_than_it_can_hold_is_damage_before_memory_is_taken() {
    let folder = folder("parquet-pages");
    let error = first_group::<Line>(&folder, with_large_page(&written((0..1).map(line)))).unwrap_err();
    assert!(error.to_string().contains("says that it unpacks to 2147483647, expected at most "), "{error}");
}
