//! Pages of a column of strings in a Parquet file. What a page says of itself is checked before the Parquet library takes memory
//! by it.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::header::sizes;
use super::reading::LONGEST_DOCUMENT;
use super::remote::{RemoteFile, RemoteReader};

/// Largest page. The format allows twice as much, and a page has at least one document.
const PAGE_BYTES_MAX: u64 = LONGEST_DOCUMENT + (64 << 10);
/// Bytes that a page may have beyond what its packed bytes are multiplied to.
const SLACK_BYTES: u64 = 1 << 10;
/// Bytes of the length of each string in a dictionary.
const LENGTH_BYTES: usize = 4;

/// Pages of a column in a row group, in order.
pub(super) struct Pages {
    pages: SerializedPageReader<CheckedFile>,
}

impl Pages {
    /// Opens the pages of `column` in a row group of this number of `rows`.
    pub fn open(file: &RemoteFile, column: &ColumnChunkMetaData, rows: usize) -> ParquetResult<Self> {
        let file = CheckedFile { file: file.clone(), compression: column.compression() };
        // Without an index of pages, every page is found by the header before it.
        Ok(Pages { pages: SerializedPageReader::new(Arc::new(file), column, rows, None)? })
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> ParquetResult<Option<Page>> {
        let page = self.pages.get_next_page()?;
        if let Some(Page::DictionaryPage { buf, num_values, .. }) = &page
            && *num_values as usize > buf.len() / LENGTH_BYTES
        {
            let bytes = buf.len();
            return Err(damaged(format!("a dictionary of {bytes} bytes says that it has {num_values} strings")));
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> ParquetResult<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> ParquetResult<()> {
        self.pages.skip_next_page()
    }
}

impl Iterator for Pages {
    type Item = ParquetResult<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// A file of which the library reads the headers of pages as a stream, and pages as bytes.
struct CheckedFile {
    file: RemoteFile,
    compression: Compression,
}

impl Length for CheckedFile {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl ChunkReader for CheckedFile {
    type T = RemoteReader;

    fn get_read(&self, start: u64) -> ParquetResult<RemoteReader> {
        let sizes = sizes(&mut self.file.get_read(start)?)?;
        let most = unpacked_bytes_max(self.compression, sizes.packed);
        if sizes.unpacked > most {
            let (packed, unpacked) = (sizes.packed, sizes.unpacked);
            return Err(damaged(format!(
                "a page of {packed} bytes says that it unpacks to {unpacked}, expected at most {most}"
            )));
        }
        self.file.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        self.file.get_bytes(start, length)
    }
}

/// Returns the largest number of bytes to which `packed` ones can unpack.
fn unpacked_bytes_max(compression: Compression, packed: u64) -> u64 {
    let ratio = match compression {
        // A copy of 64 bytes takes 3.
        Compression::SNAPPY => 22,
        // A byte lengthens a match by 255.
        Compression::LZ4 | Compression::LZ4_RAW => 256,
        // A match of 258 bytes takes 2 bits.
        Compression::GZIP(_) => 1032,
        // A block of 128 KiB takes 4 bytes.
        Compression::ZSTD(_) => 32 << 10,
        // Brotli has no bound, and for what is not packed no memory is taken.
        _ => u64::MAX,
    };
    PAGE_BYTES_MAX.min(packed.saturating_mul(ratio).saturating_add(SLACK_BYTES))
}

fn damaged(reason: String) -> ParquetError {
    ParquetError::General(format!("damaged: {reason}"))
}
