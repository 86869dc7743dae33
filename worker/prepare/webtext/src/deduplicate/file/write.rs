//! Writes files of sorted records.

use std::io::Write;

use sha2::{Digest, Sha256};

use crate::deduplicate::file::content::Content;
use crate::deduplicate::file::error::{FileError, FileFault};
use crate::deduplicate::file::{CHUNK_BYTES, HASH_BYTES};
use crate::deduplicate::minhash::Signature;
use crate::deduplicate::record::Record;

/// Writes one file, in bounded memory.
pub struct FileWriter<W> {
    name: String,
    to: W,
    hasher: Sha256,
    content: Content,
    /// What is not written yet.
    waiting: Vec<u8>,
    last: Vec<u8>,
    next: Vec<u8>,
    records: u64,
}

impl<W: Write> FileWriter<W> {
    /// Begins a file. `name` is for errors.
    pub fn new(name: &str, to: W, content: Content) -> Self {
        FileWriter {
            name: name.to_owned(),
            to,
            hasher: Sha256::new(),
            content,
            waiting: content.header().to_vec(),
            last: Vec::new(),
            next: Vec::new(),
            records: 0,
        }
    }

    /// Appends a record, which is greater than the one before.
    ///
    /// # Errors
    /// Returns an error if the record is not greater or not one of this content, or if the file cannot be written.
    pub fn push(&mut self, record: &impl Record) -> Result<(), FileError> {
        record.append_to(&mut self.next);
        self.put_next()
    }

    /// Appends the signature of a document, whose number is greater than that of the one before.
    ///
    /// # Errors
    /// Returns an error if the number is not greater, if the file is not one of signatures of this width, or if it cannot be written.
    pub fn push_signature(&mut self, id: u64, signature: &Signature) -> Result<(), FileError> {
        let bytes = match self.content {
            Content::Signatures(options) => options.hash_bytes(),
            _ => 0,
        };
        self.next.extend_from_slice(&id.to_be_bytes());
        for hash in signature.hashes() {
            self.next.extend_from_slice(&hash.to_be_bytes()[size_of::<u64>() - bytes..]);
        }
        self.put_next()
    }

    /// Puts the record that was made, if it is a good one.
    fn put_next(&mut self) -> Result<(), FileError> {
        let (found, expected) = (self.next.len(), self.content.record_bytes());
        let fault = if found != expected {
            Some(FileFault::Width { found, expected })
        } else if self.records > 0 && self.next <= self.last {
            Some(FileFault::Order { record: self.records })
        } else {
            self.waiting.extend_from_slice(&self.next);
            std::mem::swap(&mut self.last, &mut self.next);
            self.records += 1;
            None
        };
        self.next.clear();
        match fault {
            Some(fault) => Err(fault.of(&self.name)),
            None if self.waiting.len() >= CHUNK_BYTES => self.write_waiting(),
            None => Ok(()),
        }
    }

    fn write_waiting(&mut self) -> Result<(), FileError> {
        self.hasher.update(&self.waiting);
        self.to.write_all(&self.waiting).map_err(|error| FileFault::Io(error).of(&self.name))?;
        self.waiting.clear();
        Ok(())
    }

    /// Ends the file, and returns what it was written to. `documents` is the number of documents that were looked at.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn finish(mut self, documents: u64) -> Result<W, FileError> {
        self.waiting.extend_from_slice(&self.records.to_le_bytes());
        self.waiting.extend_from_slice(&documents.to_le_bytes());
        self.write_waiting()?;
        let hash: [u8; HASH_BYTES] = self.hasher.finalize().into();
        let written = self.to.write_all(&hash).and_then(|()| self.to.flush());
        written.map_err(|error| FileFault::Io(error).of(&self.name))?;
        Ok(self.to)
    }
}
