//! Tests of documents as Parquet.

use bytes::Bytes;
use common::exit_code::ExitCode;
use common::sha256::Sha256Sum;
use parquet::file::metadata::ParquetMetaDataWriter;

use super::*;
use crate::stages::lineage::tests::folder;

/// Returns a file of one row group with this number of documents.
fn one_group(count: usize) -> Vec<u8> {
    let mut content = Vec::new();
    let mut writer = DocumentWriter::new(&mut content).unwrap();
    writer.documents = vec![Document::default(); count];
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

/// Returns the documents of the first row group of `content`.
fn first_group(folder: &Folder, content: Vec<u8>) -> Result<Option<Vec<Document>>, PrepareError> {
    let stored = Stored { bytes: content.len() as u64, sha256: Sha256Sum::of(&content) };
    folder.put("a", content.into()).unwrap();
    DocumentReader::open(folder, "a", &stored).and_then(|mut reader| reader.next_group())
}

#[test]
fn a_row_group_of_more_documents_than_are_written_is_refused_before_memory_is_taken() {
    let folder = folder("document-rows");
    let full = one_group(GROUP_DOCUMENTS);
    assert_eq!(first_group(&folder, full.clone()).unwrap().unwrap().len(), GROUP_DOCUMENTS);
    assert_eq!(first_group(&folder, with_rows(&full, GROUP_DOCUMENTS as i64)).unwrap().unwrap().len(), GROUP_DOCUMENTS);
    let refused = |content: Vec<u8>, rows: &str| {
        let error = first_group(&folder, content).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Data);
        let expected =
            format!("/a: damaged: Parquet error: a row group says that it has {rows} rows, expected at most 16384");
        assert!(error.to_string().contains(&expected), "{error}");
    };
    refused(one_group(GROUP_DOCUMENTS + 1), "16385");
    refused(with_rows(&full, 1 << 40), "1099511627776");
    refused(with_rows(&full, i64::MAX), "9223372036854775807");
    refused(with_rows(&full, -1), "-1");
}
