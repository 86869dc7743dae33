//! The packed bytes of an object, of which the last are kept, so that reading can go back behind damage.

use std::io::{self, Read};

use super::CHUNK_BYTES;

/// Packed bytes that are kept at least, where that many have been read.
pub(in crate::pages) const KEPT_BYTES: usize = 1 << 20;

/// Reader of packed bytes.
pub(super) struct Packed<R> {
    reader: R,
    /// Bytes of the object from `base` on.
    buffer: Vec<u8>,
    base: u64,
    /// Number of bytes in the buffer that have been unpacked.
    done: usize,
}

impl<R: Read> Packed<R> {
    /// Reads from `reader`, whose first byte is byte `base` of the object.
    pub fn new(reader: R, base: u64) -> Self {
        Packed { reader, buffer: Vec::new(), base, done: 0 }
    }

    /// Returns the bytes in the buffer that are yet to be unpacked.
    pub fn rest(&self) -> &[u8] {
        self.buffer.get(self.done..).unwrap_or_default()
    }

    /// Returns the offset of the next byte in the object.
    pub fn offset(&self) -> u64 {
        self.base + self.done as u64
    }

    /// Steps over `bytes` bytes.
    pub fn advance(&mut self, bytes: usize) {
        self.done = (self.done + bytes).min(self.buffer.len());
    }

    /// Goes to byte `offset` of the object, as far as bytes are kept and have been read.
    pub fn go_to(&mut self, offset: u64) {
        let done = offset.saturating_sub(self.base).min(self.buffer.len() as u64);
        self.done = done as usize;
    }

    /// Reads more bytes. Returns `false` at the end of the object.
    pub fn fill(&mut self) -> io::Result<bool> {
        if self.done >= 2 * KEPT_BYTES {
            let dropped = self.done - KEPT_BYTES;
            self.buffer.drain(..dropped);
            self.base += dropped as u64;
            self.done -= dropped;
        }
        Ok(self.reader.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut self.buffer)? > 0)
    }

    /// Reads until `bytes` bytes are in the buffer, or the object ends.
    pub fn fill_to(&mut self, bytes: usize) -> io::Result<()> {
        while self.rest().len() < bytes && self.fill()? {}
        Ok(())
    }
}
