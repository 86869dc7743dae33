//! Reads each kind of file that others may have damaged as prepare does, and checks what its readers rely on.
//!
//! Each function returns whether anything is read from the file, and panics if prepare would panic or what is read cannot be.
//! The functions are the oracle of `worker/prepare/tests/hostile_files.rs` and of the fuzz targets in `tests/fuzz`.

use common::config::StorageConfig;
use common::storage::Folder;
use prepare::inputs::{Batches, Piece, ReadOptions, Sources, Unit, find};
use prepare::stages::lineage::units::lineage_name;
use prepare::stages::lineage::{LineageFile, lineage_of};
use webtext::pages::{Entry, Format, Limits, Pages};

/// A kind of file: its name, which its fuzz target and its folder of seeds have, too, and its reader.
pub type FormatOfFile = (&'static str, fn(&[u8]) -> bool);

/// All kinds of files.
pub const FORMATS: [FormatOfFile; 4] =
    [("warc", warc), ("page_lines", page_lines), ("parquet_rows", parquet_rows), ("lineage", lineage)];

/// Longest content of a page.
const PAGE_BYTES: usize = 8 << 10;
/// Longest text of a row.
const TEXT_BYTES: usize = 8 << 10;

/// Archives of pages: WARC, and WET.
pub fn warc(content: &[u8]) -> bool {
    has_pages("a.warc", content)
}

/// JSON lines with pages.
pub fn page_lines(content: &[u8]) -> bool {
    has_pages("a.jsonl", content)
}

fn has_pages(name: &str, content: &[u8]) -> bool {
    let limits = Limits { header_bytes: 1 << 10, record_bytes: 16 << 10, payload_bytes: PAGE_BYTES };
    let Some(format) = Format::of(name) else { return false };
    let mut pages = 0;
    for entry in Pages::new(format, content, limits) {
        let Ok(Entry::Page(page)) = entry else {
            assert!(entry.is_ok(), "bytes in memory are always read");
            continue;
        };
        pages += 1;
        assert!(page.payload.len() <= PAGE_BYTES);
        assert!(page.place.at <= content.len() as u64);
    }
    pages > 0
}

/// Parquet files with texts, of other programs.
pub fn parquet_rows(content: &[u8]) -> bool {
    let folder = folder("parquet-rows");
    folder.put("a.parquet", content.to_vec().into()).unwrap();
    let (inputs, storage) = ([folder.url().to_owned()], StorageConfig::default());
    let found = find(&inputs, &storage).unwrap();
    let sources = Sources::open(&inputs, &found, &storage).unwrap().list;
    let options = ReadOptions { text_field: "text".into(), document_bytes_max: TEXT_BYTES };
    let bytes = content.len() as u64;
    let unit = Unit { pieces: vec![Piece { source: 0, range: 0..bytes }], bytes };
    let mut batches = Batches::new(&sources, &options, 0, &unit).with_columns(&["url", "title"]);
    let mut documents = 0;
    while let Some(batch) = batches.next_batch().unwrap() {
        assert!(batch.documents.iter().all(|document| document.range.len() <= TEXT_BYTES));
        assert!(batch.documents.iter().all(|document| document.beside.len() == 2));
        documents += batch.documents.len();
    }
    documents > 0
}

/// Lineage of a stage. It is read in full, and by ids and URLs.
pub fn lineage(content: &[u8]) -> bool {
    let folder = folder("lineage");
    folder.put(&lineage_name(0), content.to_vec().into()).unwrap();
    let units = lineage_of(&folder).unwrap();
    let Ok(file) = LineageFile::open(&folder, &units[0]) else { return false };
    if let Ok(hits) = file.where_url(|url| url.len().is_multiple_of(2), 3) {
        assert!(hits.lines.len() as u64 == hits.count.min(3));
    }
    let Ok(lines) = file.lines() else { return false };
    if let Some(line) = lines.first() {
        // A damaged filter of ids may deny one.
        let _ = file.with_id(line.id, 1);
    }
    !lines.is_empty()
}

/// Returns a folder in memory that is used again and again by this thread, and by no other.
fn folder(name: &str) -> Folder {
    let thread = format!("{:?}", std::thread::current().id()).replace(|c: char| !c.is_ascii_digit(), "");
    Folder::open(&format!("memory://hostile-{name}-{thread}"), &StorageConfig::default()).unwrap()
}
