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
    let name = crate::stages::names::documents_name(unit);
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
        let mut row = None;
        Column::<FixedLenByteArrayType>::open(&*group, ids)?.each(|at, found| {
            if found.is_some_and(|found| found.data() == id) {
                row = Some(at);
            }
            Ok(())
        })?;
        if let Some(row) = row {
            let title = Column::<ByteArrayType>::open(&*group, titles)?.at(&[row])?.pop().flatten();
            return Ok(title.map(|title| String::from_utf8_lossy(title.data()).into_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use parquet::data_type::{ByteArray, FixedLenByteArray};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;
    use crate::stages::lineage::tests::folder;

    /// Returns documents with the ids 0, 1, 2, ... in as many row groups as there are `groups` of titles.
    fn documents(groups: &[&[Option<&str>]]) -> Vec<u8> {
        let columns = "message documents { required fixed_len_byte_array(16) id; optional byte_array title (string); }";
        let (mut bytes, columns) = (Vec::new(), Arc::new(parse_message_type(columns).unwrap()));
        let mut file = SerializedFileWriter::new(&mut bytes, columns, Arc::default()).unwrap();
        let mut ids = 0_u128..;
        for titles in groups {
            let mut group = file.next_row_group().unwrap();
            let ids: Vec<FixedLenByteArray> =
                ids.by_ref().take(titles.len()).map(|id| id.to_be_bytes().to_vec().into()).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<FixedLenByteArrayType>().write_batch(&ids, None, None).unwrap();
            column.close().unwrap();
            let levels: Vec<i16> = titles.iter().map(|title| i16::from(title.is_some())).collect();
            let titles: Vec<ByteArray> = titles.iter().flatten().map(|title| (*title).into()).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&titles, Some(&levels), None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        file.finish().unwrap();
        drop(file);
        bytes
    }

    #[test]
    fn a_title_is_found_beside_the_text_in_any_row_group() {
        let folder = folder("titles");
        assert_eq!(title_of(&folder, 3, 0).unwrap(), None);
        let content = documents(&[&[Some("zero"), None], &[None, None, Some("four")]]);
        folder.put("unit-000003.documents.parquet", Bytes::from(content)).unwrap();
        for (id, expected) in [(0, Some("zero")), (1, None), (4, Some("four")), (5, None)] {
            assert_eq!(title_of(&folder, 3, id).unwrap().as_deref(), expected, "{id}");
        }
        folder.put("unit-000003.documents.parquet", Bytes::from_static(b"PAR1")).unwrap();
        assert!(title_of(&folder, 3, 0).unwrap_err().to_string().contains("unit-000003.documents.parquet"));
    }
}
