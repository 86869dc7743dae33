//! Pages of a column in a Parquet file. What a page says of itself is checked before the Parquet library takes memory
//! by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::deltas::announced;
use super::header::sizes;
use super::reading::LONGEST_DOCUMENT;
use super::remote::{RemoteFile, RemoteReader};

/// Largest page. The format allows twice as much, and a page has at least one document.
const PAGE_BYTES_MAX: u64 = LONGEST_DOCUMENT + (64 << 10);
/// Bytes that a page may have beyond what its packed bytes are multiplied to.
const SLACK_BYTES: u64 = 1 << 10;
/// Least bytes of a value in a dictionary: those of a string's length.
const VALUE_BYTES_MIN: usize = 4;
/// Largest number of values of a page in a delta encoding, where many values may take no bytes. Programs write some ten thousand.
const VALUES_MAX: u64 = 1 << 26;

/// Pages of a column in a row group, in order.
pub(crate) struct Pages {
    pages: SerializedPageReader<CheckedFile>,
    /// Whether the next read of the file is that of a header. After a look at the next page it is that of its content.
    is_before_header: Arc<AtomicBool>,
    is_optional: bool,
}

impl Pages {
    /// Opens the pages of `column` in a row group of this number of `rows`.
    pub fn open(file: &RemoteFile, column: &ColumnChunkMetaData, rows: usize) -> ParquetResult<Self> {
        let is_before_header = Arc::new(AtomicBool::new(true));
        let compression = column.compression();
        let file = CheckedFile { file: file.clone(), compression, is_before_header: is_before_header.clone() };
        // Without an index of pages, every page is found by the header before it.
        let pages = SerializedPageReader::new(Arc::new(file), column, rows, None)?;
        Ok(Pages { pages, is_before_header, is_optional: column.column_descr().max_def_level() > 0 })
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> ParquetResult<Option<Page>> {
        let page = self.pages.get_next_page()?;
        self.is_before_header.store(true, Ordering::Relaxed);
        checked(page, self.is_optional)
    }

    fn peek_next_page(&mut self) -> ParquetResult<Option<PageMetadata>> {
        let page = self.pages.peek_next_page()?;
        self.is_before_header.store(page.is_none(), Ordering::Relaxed);
        Ok(page)
    }

    fn skip_next_page(&mut self) -> ParquetResult<()> {
        self.pages.skip_next_page()?;
        self.is_before_header.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.pages.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> ParquetResult<Option<Page>> {
        checked(self.pages.take_deferred_dictionary()?, self.is_optional)
    }
}

/// Returns `page`, unless it announces more values than it has bytes for.
fn checked(page: Option<Page>, is_optional: bool) -> ParquetResult<Option<Page>> {
    let (what, announced, most) = match &page {
        Some(Page::DictionaryPage { buf, num_values, .. }) => {
            ("dictionary", u64::from(*num_values), (buf.len() / VALUE_BYTES_MIN) as u64)
        }
        Some(page @ (Page::DataPage { num_values, .. } | Page::DataPageV2 { num_values, .. })) => {
            ("page", announced_by_deltas(page, is_optional)?, u64::from(*num_values).min(VALUES_MAX))
        }
        None => return Ok(None),
    };
    if announced > most {
        return Err(damaged(format!("a {what} says that it has {announced} values, expected at most {most}")));
    }
    Ok(page)
}

/// Returns the number of strings that a page in a delta encoding says that it has, and 0 for any other.
fn announced_by_deltas(page: &Page, is_optional: bool) -> ParquetResult<u64> {
    let have_prefixes = match page.encoding() {
        Encoding::DELTA_BYTE_ARRAY => true,
        Encoding::DELTA_LENGTH_BYTE_ARRAY => false,
        _ => return Ok(0),
    };
    let bytes = page.buffer();
    // Levels say which rows have a value. They lie before values.
    let levels = match page {
        Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
            u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len)
        }
        _ if is_optional => bytes.first_chunk().map_or(0, |length| 4 + u64::from(u32::from_le_bytes(*length))),
        _ => 0,
    };
    let values = usize::try_from(levels).ok().and_then(|levels| bytes.get(levels..)).unwrap_or_default();
    // A page without values may have no bytes.
    if values.is_empty() { Ok(0) } else { Ok(announced(values, have_prefixes)?) }
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
    is_before_header: Arc<AtomicBool>,
}

impl Length for CheckedFile {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl ChunkReader for CheckedFile {
    type T = RemoteReader;

    fn get_read(&self, start: u64) -> ParquetResult<RemoteReader> {
        if !self.is_before_header.load(Ordering::Relaxed) {
            return self.file.get_read(start);
        }
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
