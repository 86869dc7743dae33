//! The title of a document, which is beside its text, and not in the lineage.

use common::storage::{Folder, StorageError};

use crate::PrepareError;
use crate::stages::bounded::cut;
use crate::stages::document::{Document, TITLE};
use crate::stages::lineage::line::id_in_words;
use crate::stages::names::documents_name;
use crate::stages::parquet::RowFile;

/// Bytes that are fetched at once: little, since most of the file is text.
const WINDOW_BYTES: u64 = 64 << 10;

/// Longest title that is told, in bytes: whoever writes a page chooses it, and documents have it whole.
const TOLD_BYTES_MAX: usize = 500;

/// Returns the title of a document that the stage in `folder` has kept in `unit`, or the beginning of a long one; `None` where it
/// has none.
pub(super) fn title_of(folder: &Folder, unit: u32, id: u128) -> Result<Option<String>, PrepareError> {
    let name = documents_name(unit);
    let bytes = match folder.size(&name) {
        // Whoever needs space may remove documents, and keep the lineage.
        Err(StorageError::NotFound { .. }) => return Ok(None),
        bytes => bytes?,
    };
    let file = RowFile::<Document>::open(folder, (name.as_str(), bytes), WINDOW_BYTES)?;
    for number in 0..file.groups() {
        let title = file.group(number, |group| {
            let mut row = None;
            group.each_id(|at, found| {
                if found == id {
                    row = Some(at);
                }
            })?;
            row.map(|row| group.columns(TITLE, &[row]).some_texts()).transpose()
        })?;
        if let Some(title) = title {
            return Ok(title.into_iter().flatten().next().map(told));
        }
    }
    Err(file.damaged(format!("the document {} is not in it, but was kept as its lineage says", id_in_words(id))))
}

/// Cuts a title that is too long to be told, and marks where.
fn told(mut title: String) -> String {
    if title.len() > TOLD_BYTES_MAX {
        cut(&mut title, TOLD_BYTES_MAX);
        title.push('…');
    }
    title
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::stages::document::DocumentWriter;
    use crate::stages::lineage::tests::{folder, line, written};

    /// Returns documents with the ids 0, 1, 2, ... and these titles, in row groups of two.
    fn documents(titles: &[Option<&str>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = DocumentWriter::new(&mut bytes).unwrap();
        for (id, title) in (0..).zip(titles) {
            let (title, text) = (title.map(str::to_owned), "x".repeat(3 << 20));
            writer.push(Document { id, title, text, ..Document::default() }).unwrap();
        }
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn a_title_is_found_beside_the_text_in_any_row_group() {
        let folder = folder("titles");
        assert_eq!(title_of(&folder, 3, 0).unwrap(), None);
        let content = documents(&[Some("zero"), None, None, None, Some("four")]);
        folder.put("unit-000003.documents.parquet", Bytes::from(content)).unwrap();
        for (id, expected) in [(0, Some("zero")), (1, None), (3, None), (4, Some("four"))] {
            assert_eq!(title_of(&folder, 3, id).unwrap().as_deref(), expected, "{id}");
        }
    }

    #[test]
    fn of_a_long_title_the_beginning_is_told() {
        let folder = folder("titles-long");
        let (longest, longer) = ("é".repeat(TOLD_BYTES_MAX / 2), "é".repeat(1 << 20));
        let content = documents(&[Some(&longest), Some(&longer)]);
        folder.put("unit-000003.documents.parquet", Bytes::from(content)).unwrap();
        assert_eq!(title_of(&folder, 3, 0).unwrap().as_ref(), Some(&longest));
        assert_eq!(title_of(&folder, 3, 1).unwrap(), Some(longest + "…"));
    }

    #[test]
    fn damaged_documents_are_named_and_not_taken_for_some_without_titles() {
        let folder = folder("titles-damaged");
        let error = |content: Vec<u8>| {
            folder.put("unit-000003.documents.parquet", Bytes::from(content)).unwrap();
            title_of(&folder, 3, 7).unwrap_err().to_string()
        };
        let missing = error(documents(&[Some("zero")]));
        assert!(missing.contains("the document 00000000000000000000000000000007 is not in it"), "{missing}");
        let others = error(written([line(7)]));
        assert!(others.contains("it has other columns than documents of this version"), "{others}");
        let cut = error(b"PAR1".to_vec());
        for text in [missing, others, cut] {
            assert!(text.contains("unit-000003.documents.parquet: damaged: "), "{text}");
        }
    }
}
