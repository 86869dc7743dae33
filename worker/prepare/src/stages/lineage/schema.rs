//! Columns of lineage, and how they are stored. The bytes of a file are a function of its rows alone.

use std::sync::Arc;

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::Result as ParquetResult;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, Type};

/// Columns, in the order of the fields of [`Line`](super::Line).
const COLUMNS: &str = "message lineage {
    required fixed_len_byte_array(16) id;
    required byte_array source (string);
    required int64 at (integer(64, false));
    required int64 within (integer(64, false));
    optional byte_array url (string);
    optional byte_array date (string);
    required byte_array verdict (string);
    required byte_array rule (string);
    optional double measure;
    optional double limit;
    required int64 bytes_in (integer(64, false));
    required int64 bytes_out (integer(64, false));
    required byte_array note (string);
}";

/// Number of the column of ids.
pub(super) const ID: usize = 0;
/// Number of the column of URLs.
pub(super) const URL: usize = 4;

/// Level of zstd. Fixed, as the bytes of a file depend on it.
const ZSTD_LEVEL: i32 = 3;
/// Most rows of a row group, by which the filter of ids is laid out; it is folded to the rows that there are.
pub(super) const GROUP_ROWS_MAX: usize = 100_000;

/// Returns the columns.
pub(super) fn columns() -> ParquetResult<Arc<Type>> {
    parse_message_type(COLUMNS).map(Arc::new)
}

/// Returns how columns are stored. Ids are random, so they are stored as they are, with a filter (Parquet's bloom filter) by
/// which most row groups without an id are passed over.
pub(super) fn properties() -> ParquetResult<Arc<WriterProperties>> {
    let column = |name: &str| ColumnPath::from(name);
    let properties = WriterProperties::builder()
        .set_created_by("Convoy".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_column_dictionary_enabled(column("id"), false)
        .set_column_compression(column("id"), Compression::UNCOMPRESSED)
        .set_column_bloom_filter_max_ndv(column("id"), GROUP_ROWS_MAX as u64)
        .set_column_bloom_filter_fpp(column("id"), 0.01)
        .set_column_dictionary_enabled(column("url"), false)
        .set_column_dictionary_enabled(column("at"), false)
        .set_column_encoding(column("at"), Encoding::DELTA_BINARY_PACKED)
        .build();
    Ok(Arc::new(properties))
}
