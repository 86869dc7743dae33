//! The title of a document, which is beside its text, and not in the lineage.

use common::storage::Folder;
use parquet::data_type::{ByteArrayType, FixedLenByteArrayType};
use parquet::errors::Result as ParquetResult;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::PrepareError;
use crate::inputs::RemoteFile;
use crate::stages::lineage::column::{Column, whole};

/// Bytes that are fetched at once: little, since most of the file is text.
const WINDOW_BYTES: u64 = 64 << 10;

/// Returns the title of a document that the stage in `folder` has kept in `unit`; `None` where it has none.
pub(super) fn title_of(folder: &Folder, unit: u32, id: u128) -> Result<Option<String>, PrepareError> {
    let name = format!("unit-{unit:06}.documents.parquet");
    // Whoever needs space may remove documents, and keep the lineage.
    if !folder.exists(&name)? {
        return Ok(None);
    }
    let bytes = folder.size(&name)?;
    whole(&folder.url_of(&name), || find(RemoteFile::new(folder, &name, bytes, WINDOW_BYTES), id))
}

fn find(file: RemoteFile, id: u128) -> ParquetResult<Option<String>> {
    let file = SerializedFileReader::new(file)?;
    let schema = file.metadata().file_metadata().schema_descr();
    let column = |name: &str| schema.columns().iter().position(|column| column.path().parts() == [name.to_owned()]);
    let (Some(ids), Some(titles)) = (column("id"), column("title")) else { return Ok(None) };
    let id = id.to_be_bytes();
    for number in 0..file.num_row_groups() {
        let group = file.get_row_group(number)?;
        let all = Column::<FixedLenByteArrayType>::open(&*group, ids)?.all()?;
        let is_wanted = |found: &Option<_>| {
            found.as_ref().is_some_and(|found: &parquet::data_type::FixedLenByteArray| found.data() == id)
        };
        if let Some(row) = all.iter().position(is_wanted) {
            let title = Column::<ByteArrayType>::open(&*group, titles)?.at(&(row..row + 1))?.pop().flatten();
            return Ok(title.map(|title| String::from_utf8_lossy(title.data()).into_owned()));
        }
    }
    Ok(None)
}
