//! Files of sorted records: keys of bands, texts, URLs and paragraphs; signatures; edges and clusters.
//!
//! A file states what it has and by which parameters, so that one of another corpus can be compared with without its texts. It is
//! written and read as a stream, in bounded memory. Numbers outside of records are little-endian; those in records are big-endian, so
//! that records sort as their bytes do.
//!
//! | bytes | what |
//! |---|---|
//! | 0 to 7 | `CNVDEDUP` |
//! | 8 | u64: version, 1 |
//! | 16 | u64: kind of records, [`Content`] |
//! | 24 | u64: band, from 0; 0 for other kinds |
//! | 32 | u64: w, bytes of a record |
//! | 40, 48, 56, 64, 72 | u64: bands, rows, bits, words and seed of [`MinHashOptions`](super::MinHashOptions); 0 for kinds without signatures |
//! | 80 | u64: [`TEXT_RULES`](super::normalise::TEXT_RULES) |
//! | 88 | n records of w bytes, each greater than the one before |
//! | 88 + n w | u64: n |
//! | 96 + n w | u64: number of documents that were looked at, also of those without a record |
//! | 104 + n w | 32 bytes: SHA-256 of all before |
//!
//! A [`FileReader`] hands out records before it has seen the hash at the end. So what was made of them counts once it has returned the
//! end, and not where it returned an error.

mod content;
mod error;
mod read;
mod write;

pub use content::Content;
pub use error::{FileError, FileFault};
pub use read::{FileReader, Records};
pub use write::FileWriter;

/// First bytes of a file.
pub const MAGIC: [u8; 8] = *b"CNVDEDUP";
/// Version of the format.
pub const VERSION: u64 = 1;
/// Bytes before the first record.
const HEADER_BYTES: usize = MAGIC.len() + 8 * content::FIELDS;
/// Bytes behind the last record that the hash is of.
const COUNTS_BYTES: usize = 16;
/// Bytes of the hash.
const HASH_BYTES: usize = 32;
/// Bytes that are read, hashed or written at once, about.
const CHUNK_BYTES: usize = 1 << 16;
