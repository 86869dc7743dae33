//! What a kind of rows says of itself.

use std::io::Write;
use std::sync::Arc;

use common::storage::Folder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::Result as ParquetResult;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::Type;

use super::group::{Columns, GroupWriter};
use crate::PrepareError;

/// Level of zstd. Fixed, as the bytes of a file depend on it.
const ZSTD_LEVEL: i32 = 3;

/// Number of the column of ids, which every kind of rows has.
pub(super) const ID: usize = 0;

/// A kind of rows.
pub trait Row: Sized {
    /// What rows are called in errors.
    const NAME: &'static str;
    /// Columns, as a Parquet message, in the order in which they are written and read. The first is that of ids.
    const COLUMNS: &'static str;
    /// Number of rows at which a row group is written. Fixed, as the bytes of a file depend on it.
    const GROUP_ROWS: usize;
    /// Bytes at which a row group is written, as [`bytes`](Self::bytes) counts. Fixed, likewise.
    const GROUP_BYTES: usize;

    /// Sets how these columns are stored, where that is not as `common` has it.
    fn properties(common: WriterPropertiesBuilder) -> WriterPropertiesBuilder;

    /// Returns this with every text cut to its bound.
    fn bounded(self) -> Self {
        self
    }

    /// Returns the bytes that the row counts for the size of its row group.
    fn bytes(&self) -> usize;

    /// Writes a row group, a column after another.
    fn write<W: Write + Send>(rows: Vec<Self>, group: &mut GroupWriter<'_, W>) -> ParquetResult<()>;

    /// Reads rows, a column after another.
    fn read(columns: &mut Columns<'_>) -> ParquetResult<Vec<Self>>;

    /// Returns the error for the object `name` of `folder`, which is not as it was written.
    fn damaged(folder: &Folder, name: &str, reason: String) -> PrepareError;
}

/// Returns the columns of a kind of rows.
pub(super) fn columns<R: Row>() -> ParquetResult<Arc<Type>> {
    parse_message_type(R::COLUMNS).map(Arc::new)
}

/// Returns how the columns of a kind of rows are stored.
pub(super) fn properties<R: Row>() -> ParquetResult<Arc<WriterProperties>> {
    let common = WriterProperties::builder()
        .set_created_by("Convoy".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true);
    Ok(Arc::new(R::properties(common).build()))
}
