//! Reads files of sorted records, and trusts nothing in them.

use std::io::{self, Read};
use std::marker::PhantomData;

use sha2::{Digest, Sha256};

use crate::deduplicate::file::content::{Content, NAMES, WIDTH};
use crate::deduplicate::file::error::{FileError, FileFault};
use crate::deduplicate::file::{CHUNK_BYTES, COUNTS_BYTES, HASH_BYTES, HEADER_BYTES, MAGIC};
use crate::deduplicate::minhash::Signature;
use crate::deduplicate::record::Record;

/// Reads one file, in bounded memory.
pub struct FileReader<R> {
    name: String,
    from: R,
    hasher: Sha256,
    content: Content,
    /// Length of the file.
    bytes: u64,
    /// Records by the length of the file.
    records: u64,
    /// Records that were read so far, with those in `chunk`.
    read: u64,
    /// Records that were read and are not all handed out.
    chunk: Vec<u8>,
    /// Where the next record begins in there.
    at: usize,
    /// Last record of the chunk before.
    last: Vec<u8>,
    /// Number of documents, when the end was read and the file is whole.
    documents: Option<u64>,
    has_failed: bool,
}

impl<R: Read> FileReader<R> {
    /// Begins to read a file of `bytes` bytes. `name` is for errors.
    ///
    /// # Errors
    /// Returns an error if the file is not one of this content and these parameters, or if its length is that of no such file.
    pub fn new(name: &str, mut from: R, bytes: u64, content: Content) -> Result<Self, FileError> {
        let records = records(bytes, content.record_bytes() as u64);
        let mut header = [0; HEADER_BYTES];
        if bytes < header.len() as u64 {
            return Err(records.err().unwrap_or(FileFault::Magic).of(name));
        }
        fill(&mut from, &mut header, bytes).map_err(|fault| fault.of(name))?;
        check_header(&header, content).map_err(|fault| fault.of(name))?;
        // A file of another kind has records of another width, so this comes last.
        let records = records.map_err(|fault| fault.of(name))?;
        let mut hasher = Sha256::new();
        hasher.update(header);
        Ok(FileReader {
            name: name.to_owned(),
            from,
            hasher,
            content,
            bytes,
            records,
            read: 0,
            chunk: Vec::new(),
            at: 0,
            last: Vec::new(),
            documents: None,
            has_failed: false,
        })
    }

    /// Returns the number of documents that the file was made of, also of those without a record. Returns `None` until the end was
    /// read, and the file proved to be whole.
    pub fn documents(&self) -> Option<u64> {
        self.documents
    }

    /// Returns the number of records.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Returns an iterator over the records. After an error, there are no more.
    pub fn into_records<T: Record>(self) -> Records<R, T> {
        Records { reader: self, record: PhantomData }
    }

    /// Returns the next document and its signature. Returns `None` at the end of a file that proved to be whole, and after an error.
    ///
    /// # Errors
    /// Returns an error if the file is damaged, has no signatures, or cannot be read.
    pub fn next_signature(&mut self) -> Result<Option<(u64, Signature)>, FileError> {
        let expected = self.content.record_bytes();
        let bytes = match self.content {
            Content::Signatures(options) => options.hash_bytes(),
            _ => 0,
        };
        let Some(record) = self.next_bytes()? else { return Ok(None) };
        let found = record.len();
        match record.split_first_chunk::<8>() {
            Some((id, hashes)) if bytes > 0 => {
                let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
                let hashes = hashes.chunks(bytes).map(number).collect();
                Ok(Some((u64::from_be_bytes(*id), Signature::of_hashes(hashes))))
            }
            _ => Err(self.fail(FileFault::Width { found, expected })),
        }
    }

    fn next_record<T: Record>(&mut self) -> Result<Option<T>, FileError> {
        let expected = self.content.record_bytes();
        match self.next_bytes()?.map(T::from_bytes) {
            None => Ok(None),
            Some(Some(record)) => Ok(Some(record)),
            Some(None) => Err(self.fail(FileFault::Width { found: T::BYTES, expected })),
        }
    }

    /// Returns the bytes of the next record.
    fn next_bytes(&mut self) -> Result<Option<&[u8]>, FileError> {
        if self.has_failed || self.documents.is_some() {
            return Ok(None);
        }
        let step = if self.at < self.chunk.len() {
            Ok(true)
        } else if self.read < self.records {
            self.read_chunk().map(|()| true)
        } else {
            self.read_end().map(|()| false)
        };
        match step {
            Ok(true) => {
                let begin = self.at;
                self.at += self.content.record_bytes();
                Ok(Some(&self.chunk[begin..self.at]))
            }
            Ok(false) => Ok(None),
            Err(fault) => Err(self.fail(fault)),
        }
    }

    fn fail(&mut self, fault: FileFault) -> FileError {
        self.has_failed = true;
        fault.of(&self.name)
    }

    /// Reads as many records as a chunk has, and checks their order.
    fn read_chunk(&mut self) -> Result<(), FileFault> {
        let width = self.content.record_bytes();
        if let Some(begin) = self.chunk.len().checked_sub(width) {
            self.last.clear();
            self.last.extend_from_slice(&self.chunk[begin..]);
        }
        let records = ((CHUNK_BYTES / width).max(1) as u64).min(self.records - self.read);
        // At most a chunk or a record, which a `usize` counts.
        self.chunk.resize(records as usize * width, 0);
        self.at = 0;
        fill(&mut self.from, &mut self.chunk, self.bytes)?;
        self.hasher.update(&self.chunk);
        let mut last = (self.read > 0).then_some(&*self.last);
        for (record, number) in self.chunk.chunks_exact(width).zip(self.read..) {
            if last.is_some_and(|last| record <= last) {
                return Err(FileFault::Order { record: number });
            }
            last = Some(record);
        }
        self.read += records;
        Ok(())
    }

    /// Reads what is behind the last record.
    fn read_end(&mut self) -> Result<(), FileFault> {
        let mut end = [0; COUNTS_BYTES + HASH_BYTES];
        fill(&mut self.from, &mut end, self.bytes)?;
        let (counts, hash) = end.split_at(COUNTS_BYTES);
        self.hasher.update(counts);
        let found: [u8; HASH_BYTES] = self.hasher.clone().finalize().into();
        if hash != found {
            return Err(FileFault::Damaged);
        }
        let mut counts = counts.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let stated = counts.next().unwrap_or_default();
        if stated != self.records {
            return Err(FileFault::Count { stated, found: self.records });
        }
        match self.from.read_exact(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(FileFault::Io(error)),
            Ok(()) => return Err(FileFault::Long { bytes: self.bytes }),
        }
        self.documents = counts.next();
        Ok(())
    }
}

/// Records of a file, in order.
pub struct Records<R, T> {
    reader: FileReader<R>,
    record: PhantomData<T>,
}

impl<R, T> Records<R, T> {
    /// Returns the reader, which knows the number of documents once the end was read.
    pub fn reader(&self) -> &FileReader<R> {
        &self.reader
    }
}

impl<R: Read, T: Record> Iterator for Records<R, T> {
    type Item = Result<T, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.reader.next_record().transpose()
    }
}

/// Returns the number of records of a file of `bytes` bytes.
fn records(bytes: u64, record_bytes: u64) -> Result<u64, FileFault> {
    let least = (HEADER_BYTES + COUNTS_BYTES + HASH_BYTES) as u64;
    match bytes.checked_sub(least) {
        Some(rest) if record_bytes > 0 && rest.is_multiple_of(record_bytes) => Ok(rest / record_bytes),
        _ => Err(FileFault::Length { bytes, least, record_bytes }),
    }
}

fn fill(from: &mut impl Read, buffer: &mut [u8], bytes: u64) -> Result<(), FileFault> {
    from.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => FileFault::Cut { bytes },
        _ => FileFault::Io(error),
    })
}

fn check_header(header: &[u8; HEADER_BYTES], content: Content) -> Result<(), FileFault> {
    let (magic, fields) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(FileFault::Magic);
    }
    let found = fields.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
    let fields = NAMES.into_iter().zip(found).zip(content.fields());
    let mut other: Vec<FileFault> = fields
        .filter(|((_, found), expected)| found != expected)
        .map(|((field, found), expected)| FileFault::Other { field, found, expected })
        .collect();
    // The width of a record follows from other fields, which say more.
    if other.len() > 1 {
        other.retain(|fault| !matches!(fault, FileFault::Other { field, .. } if *field == WIDTH));
    }
    other.into_iter().next().map_or(Ok(()), Err)
}
