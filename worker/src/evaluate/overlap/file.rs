//! Filters in a store.

use std::io::{self, BufWriter, Read, Write};

use bytes::Bytes;
use common::config::StorageConfig;
use common::storage::{Folder, Reader, Upload};
use evaluation::overlap::{FALSE_POSITIVES_MAX, Filter, FilterError};

use crate::error::JobError;
use crate::evaluate::error::EvaluateError;
use crate::evaluate::progress::Progress;

/// Bytes that are handed to an upload at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Reads the filter in a file of this many `bytes`, which `file` stands for.
pub fn read(file: &Folder, bytes: u64, progress_lines: bool) -> Result<Filter, JobError> {
    let progress = Progress::begin_overlap(progress_lines, bytes);
    let from = Told { through: file.reader("", 0..bytes), progress };
    let filter = Filter::read_from(from, bytes).map_err(|error| explained(file.url(), error))?;
    let rate = filter.false_positives();
    if rate > FALSE_POSITIVES_MAX {
        let url = file.url();
        tracing::warn!("{url} holds more than it is made for: {rate:.1e} of foreign 8-grams are taken for its own");
    }
    Ok(filter)
}

/// Writes `filter` to the file at `url`.
pub fn save(filter: &Filter, url: &str, storage: &StorageConfig, progress_lines: bool) -> Result<(), JobError> {
    let (folder, name) = Folder::of_object(url, storage)?;
    let mut upload = folder.upload(&name)?;
    let progress = Progress::begin_overlap(progress_lines, 8 * filter.words().len() as u64);
    let mut to = BufWriter::with_capacity(BUFFER_BYTES, Told { through: Uploading(&mut upload), progress });
    filter.write_to(&mut to).map_err(|error| explained(&folder.url_of(&name), error))?;
    drop(to);
    Ok(upload.finish()?)
}

/// Returns the error of the store behind `error`, or else what is wrong with the file.
fn explained(url: &str, error: FilterError) -> JobError {
    match Reader::storage_error(&error) {
        Some(error) => error.clone().into(),
        None => EvaluateError::Filter { url: url.to_owned(), error }.into(),
    }
}

/// Reader or writer whose bytes count as progress.
struct Told<T> {
    through: T,
    progress: Progress,
}

impl<R: Read> Read for Told<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.through.read(buffer)?;
        self.progress.add(count as u64);
        Ok(count)
    }
}

impl<W: Write> Write for Told<W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let count = self.through.write(content)?;
        self.progress.add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.through.flush()
    }
}

/// An upload as a writer.
struct Uploading<'u, 'f>(&'u mut Upload<'f>);

impl Write for Uploading<'_, '_> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.0.write(Bytes::copy_from_slice(content)).map_err(io::Error::other)?;
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use common::exit_code::ExitCode;

    use super::*;

    #[test]
    fn a_filter_comes_back_from_its_store_and_a_damaged_one_is_refused_with_what_to_do() {
        let storage = StorageConfig::default();
        let folder = Folder::open("memory://overlap-filter", &storage).unwrap();
        // Larger than what is handed on at once.
        let mut filter = Filter::new(300_000, 1).unwrap();
        filter.insert_text("The quick brown fox jumps over the lazy dog, and over the fence.");
        save(&filter, &folder.url_of("seen"), &storage, false).unwrap();
        let (file, content) = (folder.folder("seen"), folder.get("seen").unwrap());
        assert_eq!(read(&file, content.len() as u64, false).unwrap(), filter);
        for (at, word) in [(8, "version"), (12, "words of a gram"), (1_000_000, "damaged")] {
            let mut changed = content.to_vec();
            changed[at] ^= 4;
            folder.put("seen", changed.into()).unwrap();
            let error = read(&file, content.len() as u64, false).unwrap_err();
            let message = error.to_string();
            assert_eq!(error.exit_code(), ExitCode::Data);
            assert!(message.contains("overlap-filter/seen") && message.contains(word), "{message}");
            assert!(message.contains("--save-filter"), "{message}");
        }
    }
}
