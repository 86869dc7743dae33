//! Sorted records as objects of a store, written and read as streams.

use common::storage::{Folder, Reader, StorageError};
use webtext::deduplicate::record::Record;
use webtext::deduplicate::{Content, FileError, FileReader, FileWriter, Merge, Records};

use crate::PrepareError;
use crate::progress::Progress;
use crate::stages::object::ObjectWriter;

/// Fewest and most bytes of a request for records.
const REQUEST_BYTES: [u64; 2] = [64 << 10, 4 << 20];
/// Bytes of a request of a reader that is alone.
const ALONE_BYTES: u64 = 1 << 20;
/// Memory of a reader in requests: it holds up to three, and records that it hands out.
const REQUESTS: u64 = 5;
/// Fewest and most objects that are merged at once.
const AT_ONCE: [u64; 2] = [8, 512];
/// Bytes that were read after which progress is told.
const TOLD_BYTES: u64 = 1 << 16;

/// Writes `records`, which are in order and each there once.
pub fn write<T: Record>(
    folder: &Folder,
    name: &str,
    content: Content,
    records: impl IntoIterator<Item = Result<T, PrepareError>>,
) -> Result<(), PrepareError> {
    let mut writer = Writer::begin(folder, name, content)?;
    for record in records {
        writer.push(&record?)?;
    }
    writer.finish(0)
}

/// Writer of an object, which appears when it is finished.
pub struct Writer<'f> {
    folder: &'f Folder,
    file: FileWriter<ObjectWriter<'f>>,
}

impl<'f> Writer<'f> {
    /// Begins the object `name`.
    pub fn begin(folder: &'f Folder, name: &str, content: Content) -> Result<Self, PrepareError> {
        let file = FileWriter::new(&folder.url_of(name), ObjectWriter::begin(folder, name)?, content);
        Ok(Writer { folder, file })
    }

    /// Appends a record, which is greater than the one before.
    pub fn push(&mut self, record: &impl Record) -> Result<(), PrepareError> {
        self.file.push(record).map_err(|error| failure(self.folder, error))
    }

    /// Appends the signature of a document, whose number is greater than that of the one before.
    pub fn push_signature(&mut self, id: u64, signature: &webtext::deduplicate::Signature) -> Result<(), PrepareError> {
        self.file.push_signature(id, signature).map_err(|error| failure(self.folder, error))
    }

    /// Ends the object. `documents` is the number of those that were looked at, also of those without a record.
    pub fn finish(self, documents: u64) -> Result<(), PrepareError> {
        let written = self.file.finish(documents).map_err(|error| failure(self.folder, error))?;
        written.finish()?;
        Ok(())
    }
}

/// Records of an object, in order.
pub struct Run<'p, T> {
    folder: Folder,
    records: Records<Reader, T>,
    progress: &'p Progress,
    /// Bytes that were read and not told yet.
    read: u64,
}

impl<'p, T: Record> Run<'p, T> {
    /// Opens the object `name`, which has this content. What is read of it is progress.
    pub fn open(folder: &Folder, name: &str, content: Content, progress: &'p Progress) -> Result<Self, PrepareError> {
        Run::open_by(folder, name, content, (ALONE_BYTES, progress))
    }

    fn open_by(
        folder: &Folder,
        name: &str,
        content: Content,
        (request_bytes, progress): (u64, &'p Progress),
    ) -> Result<Self, PrepareError> {
        let file = open_by(folder, name, content, request_bytes)?.map_err(|error| failure(folder, error))?;
        Ok(Run { folder: folder.clone(), records: file.into_records(), progress, read: 0 })
    }
}

impl<T: Record> Iterator for Run<'_, T> {
    type Item = Result<T, PrepareError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.records.next();
        self.read += T::BYTES as u64;
        if self.read >= TOLD_BYTES || record.is_none() {
            self.progress.advance(std::mem::take(&mut self.read));
        }
        record.map(|record| record.map_err(|error| failure(&self.folder, error)))
    }
}

/// Opens the object `name` in `folder`. The inner error is about its content.
pub fn open(
    folder: &Folder,
    name: &str,
    content: Content,
) -> Result<Result<FileReader<Reader>, FileError>, StorageError> {
    open_by(folder, name, content, ALONE_BYTES)
}

fn open_by(
    folder: &Folder,
    name: &str,
    content: Content,
    request_bytes: u64,
) -> Result<Result<FileReader<Reader>, FileError>, StorageError> {
    let bytes = folder.size(name)?;
    let reader = folder.reader_by(name, 0..bytes, request_bytes);
    Ok(FileReader::new(&folder.url_of(name), reader, bytes, content))
}

/// Returns the error for an object of a work folder.
pub fn failure(folder: &Folder, error: FileError) -> PrepareError {
    match Reader::storage_error(&error) {
        Some(error) => error.clone().into(),
        None => {
            PrepareError::Work { url: error.name, folder: folder.url().to_owned(), reason: error.fault.to_string() }
        }
    }
}

/// Merges the objects `names`, each sorted, in about `memory_bytes`. Of too many, several are merged to a larger one first.
pub fn merged<'p, T: Record>(
    folder: &Folder,
    mut names: Vec<String>,
    content: Content,
    (memory_bytes, progress): (u64, &'p Progress),
) -> Result<Merge<Run<'p, T>, T>, PrepareError> {
    let at_once = (memory_bytes / (REQUESTS * REQUEST_BYTES[0])).clamp(AT_ONCE[0], AT_ONCE[1]) as usize;
    let open = |names: &[String]| {
        let request_bytes = memory_bytes / (REQUESTS * names.len().max(1) as u64);
        let request_bytes = request_bytes.clamp(REQUEST_BYTES[0], REQUEST_BYTES[1]);
        let open = |name: &String| Run::open_by(folder, name, content, (request_bytes, progress));
        Merge::new(names.iter().map(open).collect::<Result<_, PrepareError>>()?)
    };
    while names.len() > at_once {
        let mut larger = Vec::new();
        for names in names.chunks(at_once) {
            let [first, _, ..] = names else {
                larger.extend_from_slice(names);
                continue;
            };
            let name = format!("{first}.merged");
            write(folder, &name, content, open(names)?)?;
            larger.push(name);
        }
        names = larger;
    }
    open(&names)
}

/// Sorts records into objects, of which each is sorted.
pub struct Spill<'f, T> {
    folder: &'f Folder,
    name: String,
    content: Content,
    records: Vec<T>,
    records_max: usize,
    runs: u32,
    count: u64,
}

impl<'f, T: Record> Spill<'f, T> {
    /// Makes ready to write objects whose names begin with `name`, with up to `records_max` records in memory.
    pub fn new(folder: &'f Folder, name: String, content: Content, records_max: usize) -> Self {
        Spill { folder, name, content, records: Vec::new(), records_max: records_max.max(1), runs: 0, count: 0 }
    }

    /// Adds a record.
    pub fn push(&mut self, record: T) -> Result<(), PrepareError> {
        if self.records.len() >= self.records_max {
            self.write()?;
        }
        if self.records.len() == self.records.capacity() {
            // Never more than the most, which doubling might take.
            self.records.reserve_exact(self.records.len().clamp(16, (self.records_max - self.records.len()).max(16)));
        }
        self.records.push(record);
        self.count += 1;
        Ok(())
    }

    /// Writes the rest. Returns the number of objects.
    pub fn finish(mut self) -> Result<u32, PrepareError> {
        self.write()?;
        Ok(self.runs)
    }

    /// Returns the number of records that were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn write(&mut self) -> Result<(), PrepareError> {
        if self.records.is_empty() {
            return Ok(());
        }
        self.records.sort_unstable();
        self.records.dedup();
        write(self.folder, &run_name(&self.name, self.runs), self.content, self.records.iter().copied().map(Ok))?;
        self.records.clear();
        self.runs += 1;
        Ok(())
    }
}

/// Returns the name of an object that a [`Spill`] with this name has written.
pub fn run_name(name: &str, run: u32) -> String {
    format!("{name}.{run:06}")
}

#[cfg(test)]
mod tests {
    use common::config::StorageConfig;
    use webtext::deduplicate::record::Edge;

    use super::*;

    #[test]
    fn many_runs_are_merged_in_levels_and_come_back_in_order() {
        let folder = Folder::open("memory://deduplicate-objects", &StorageConfig::default()).unwrap();
        let mut spill = Spill::new(&folder, "edges".to_owned(), Content::Edges, 3);
        let edge = |number: u64| Edge { from: number * 7 % 100, to: number };
        (0..100).for_each(|number| spill.push(edge(number)).unwrap());
        let runs = spill.finish().unwrap();
        assert_eq!(runs, 34);
        let names = (0..runs).map(|run| run_name("edges", run)).collect();
        let progress = Progress::default();
        let merged = merged::<Edge>(&folder, names, Content::Edges, (0, &progress)).unwrap();
        let found: Vec<Edge> = merged.map(Result::unwrap).collect();
        let mut expected: Vec<Edge> = (0..100).map(edge).collect();
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_damaged_object_is_named_with_the_folder_to_remove() {
        let folder = Folder::open("memory://deduplicate-damage", &StorageConfig::default()).unwrap();
        write(&folder, "edges", Content::Edges, (0..9).map(|from| Ok(Edge { from, to: 0 }))).unwrap();
        let mut content = folder.get("edges").unwrap().to_vec();
        content[100] ^= 1;
        folder.put("edges", content.into()).unwrap();
        let read: Result<Vec<Edge>, _> =
            Run::open(&folder, "edges", Content::Edges, &Progress::default()).unwrap().collect();
        let error = read.unwrap_err().to_string();
        assert!(
            error.contains("/edges: ")
                && error.ends_with("; remove memory://deduplicate-damage, and the job starts over"),
            "{error}"
        );
    }
}
