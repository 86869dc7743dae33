//! Texts of documents, read as `launcher prepare` reads them.

use common::config::StorageConfig;
use prepare::inputs::{BadDocument, Batches, Fault, Found, ReadOptions, Source, Sources, Unit, units};
use prepare::text::text_of;

use super::texts::{Part, Texts};
use crate::error::JobError;
use crate::evaluate::error::{EvaluateError, without_keys};

/// Field of a JSON line, or column of a Parquet file, with the text.
const TEXT_FIELD: &str = "text";
/// Longest document, in bytes.
const DOCUMENT_BYTES_MAX: usize = 1 << 30;

/// Texts of documents.
pub struct DocumentTexts {
    sources: Vec<Source>,
    units: Vec<Unit>,
    options: ReadOptions,
}

impl DocumentTexts {
    /// Opens the objects that were `found` where `words` say.
    pub fn open(words: &str, found: &[Found], storage: &StorageConfig) -> Result<Self, JobError> {
        let sources = Sources::open(&[words.to_owned()], found, storage).map_err(EvaluateError::from)?.list;
        let options = ReadOptions { text_field: TEXT_FIELD.to_owned(), document_bytes_max: DOCUMENT_BYTES_MAX };
        Ok(DocumentTexts { units: units(&sources), sources, options })
    }

    /// Refuses a document that cannot be read: a filter without it would not hold all of the data.
    fn refused(&self, bad: BadDocument) -> EvaluateError {
        let bad = match self.sources.get(bad.source as usize) {
            Some(source) => source.with_line(bad),
            None => bad,
        };
        let remedy = match bad.fault {
            Fault::NoText => {
                "prepare these documents, and name their token shards: --overlap reads the field \"text\" alone"
            }
            _ => "mend it or leave its file out, since the overlap is of all documents",
        };
        EvaluateError::BadTraining { document: without_keys(&bad), remedy }
    }
}

impl Texts for DocumentTexts {
    fn units(&self) -> Vec<u64> {
        self.units.iter().map(|unit| unit.bytes).collect()
    }

    fn read(&self, unit: usize, see: &mut dyn FnMut(Part<'_>)) -> Result<(), JobError> {
        let mut batches = Batches::new(&self.sources, &self.options, unit as u32, &self.units[unit]);
        while let Some(batch) = batches.next_batch().map_err(EvaluateError::from)? {
            if let Some(bad) = batch.bad.first() {
                return Err(self.refused(bad.clone()).into());
            }
            for raw in &batch.documents {
                let text = text_of(&batch, raw, TEXT_FIELD, &self.sources).map_err(|bad| self.refused(bad))?;
                see(Part::Piece(&text));
                see(Part::End);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use common::exit_code::ExitCode;
    use prepare::inputs::find;

    use super::*;

    fn texts_in(folder: &std::path::Path) -> Result<Vec<String>, JobError> {
        let (words, storage) = (folder.display().to_string(), StorageConfig::default());
        let texts = DocumentTexts::open(&words, &find(std::slice::from_ref(&words), &storage).unwrap(), &storage)?;
        let mut all = vec![String::new()];
        for unit in 0..texts.units().len() {
            texts.read(unit, &mut |part| match part {
                Part::Piece(piece) => all.last_mut().unwrap().push_str(piece),
                Part::End => all.push(String::new()),
            })?;
        }
        assert_eq!(all.pop().as_deref(), Some(""), "every text ends");
        Ok(all)
    }

    #[test]
    fn a_text_is_a_document_and_a_line_of_json_is_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.txt"), "one\ntwo").unwrap();
        std::fs::write(dir.path().join("b.jsonl"), "{\"text\": \"three\"}\n{\"text\": \"f\\u00f6ur\"}\n").unwrap();
        assert_eq!(texts_in(dir.path()).unwrap(), ["one\ntwo", "three", "föur"]);
    }

    #[test]
    fn a_document_that_cannot_be_read_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("b.jsonl"), "{\"text\": \"three\"}\n{\"txt\": \"four\"}\n").unwrap();
        let error = texts_in(dir.path()).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Data);
        let words = "b.jsonl, line 2: no field \"text\"; prepare these documents, and";
        assert!(error.to_string().contains(words) && !error.to_string().contains("on_bad_document"), "{error}");
    }
}
