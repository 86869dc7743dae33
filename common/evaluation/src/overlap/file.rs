//! Filters as files.
//!
//! All integers are little-endian. Everything is checked before it is used, and the SHA-256 over all of it.
//!
//! | bytes | type | what |
//! |---|---|---|
//! | 0 to 7 | | `CNVGRAMS` |
//! | 8 | u32 | version, 1 |
//! | 12 | u32 | words of a gram, 8 |
//! | 16 | u32 | places of a gram, 27 |
//! | 20 | u32 | 0 |
//! | 24 | u64 | seed |
//! | 32 | u64 | grams that it is made for |
//! | 40 | u64 | different grams that were added |
//! | 48 | u64 | words of 64 bits, n |
//! | 56 | u64 x n | the bits |
//! | 56 + 8n | 32 bytes | SHA-256 of all before |

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use crate::overlap::filter::{Filter, HASHES};
use crate::overlap::grams::GRAM_WORDS;

/// First bytes of the file of a filter.
pub const FILTER_MAGIC: [u8; 8] = *b"CNVGRAMS";
const VERSION: u32 = 1;
const HEADER: usize = 56;
const HASH: usize = 32;
/// Words that are read or written at once.
const CHUNK_WORDS: usize = 8192;

/// Why a filter cannot be made, merged, read or written.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// It would be too large.
    #[error("a filter of {grams} grams does not fit into memory")]
    Capacity {
        /// Grams that it was to be made for.
        grams: u64,
    },
    /// Two filters do not match.
    #[error("a filter of {} grams with seed {} cannot be merged with one of {} grams with seed {}", ours.0, ours.1, theirs.0, theirs.1)]
    Different {
        /// Capacity and seed of the one.
        ours: (u64, u64),
        /// Capacity and seed of the other.
        theirs: (u64, u64),
    },
    /// The file is not a filter.
    #[error("not an overlap filter: {0}")]
    Malformed(String),
    /// The file is damaged.
    #[error("the overlap filter is damaged: its contents do not have the SHA-256 at its end; make it anew")]
    Damaged,
    /// Reading or writing failed.
    #[error("cannot read or write the overlap filter: {0}")]
    Io(#[from] io::Error),
}

impl Filter {
    /// Writes the filter.
    ///
    /// # Errors
    /// Returns the writer's error.
    pub fn write_to(&self, mut to: impl Write) -> Result<(), FilterError> {
        let mut hasher = Sha256::new();
        let mut put = |bytes: &[u8]| {
            hasher.update(bytes);
            to.write_all(bytes)
        };
        put(&self.header())?;
        for words in self.bits.chunks(CHUNK_WORDS) {
            put(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>())?;
        }
        to.write_all(&hasher.finalize())?;
        to.flush()?;
        Ok(())
    }

    fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(&FILTER_MAGIC);
        let small = [VERSION, GRAM_WORDS as u32, HASHES, 0];
        for (into, value) in header[8..24].as_chunks_mut::<4>().0.iter_mut().zip(small) {
            *into = value.to_le_bytes();
        }
        let large = [self.seed, self.capacity, self.inserted, self.bits.len() as u64];
        for (into, value) in header[24..].as_chunks_mut::<8>().0.iter_mut().zip(large) {
            *into = value.to_le_bytes();
        }
        header
    }

    /// Reads a filter from a file of `length` bytes.
    ///
    /// # Errors
    /// Returns an error if the file is not a filter of this version, or is damaged.
    pub fn read_from(mut from: impl Read, length: u64) -> Result<Self, FilterError> {
        let malformed = |what: String| FilterError::Malformed(what);
        if length < (HEADER + HASH) as u64 {
            return Err(malformed(format!("{length} bytes, fewer than its header has")));
        }
        let mut header = [0; HEADER];
        from.read_exact(&mut header)?;
        let mut filter = Self::from_header(&header, length)?;
        let mut hasher = Sha256::new();
        hasher.update(header);
        let words = (length as usize - HEADER - HASH) / 8;
        let mut bytes = vec![0; 8 * CHUNK_WORDS.min(words)];
        while filter.bits.len() < words {
            let next = &mut bytes[..8 * CHUNK_WORDS.min(words - filter.bits.len())];
            from.read_exact(next)?;
            hasher.update(&*next);
            filter.bits.extend(next.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)));
        }
        let mut hash = [0; HASH];
        from.read_exact(&mut hash)?;
        if hasher.finalize()[..] != hash {
            return Err(FilterError::Damaged);
        }
        Ok(filter)
    }

    /// Returns the filter of a header, still without bits.
    fn from_header(header: &[u8; HEADER], length: u64) -> Result<Self, FilterError> {
        if header[..8] != FILTER_MAGIC {
            return Err(FilterError::Malformed("it does not begin with CNVGRAMS".to_owned()));
        }
        let mut small = header[8..24].as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
        let expected =
            [("version", VERSION), ("words of a gram", GRAM_WORDS as u32), ("places", HASHES), ("reserved", 0)];
        for ((name, expected), found) in expected.into_iter().zip(&mut small) {
            if found != expected {
                return Err(FilterError::Malformed(format!("{name} {found}: expected {expected}")));
            }
        }
        let mut large = header[24..].as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let mut next = || large.next().unwrap_or_default();
        let (seed, capacity, inserted, words) = (next(), next(), next(), next());
        // So the length of the file is that of its bits, and memory is bounded by it.
        let bytes = Filter::bytes(capacity)?;
        if words.checked_mul(8) != Some(bytes) || bytes + (HEADER + HASH) as u64 != length {
            let what = format!("{words} words of bits for {capacity} grams in {length} bytes");
            return Err(FilterError::Malformed(what));
        }
        Ok(Filter { seed, capacity, inserted, bits: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter() -> Filter {
        let mut filter = Filter::new(20_000, 7).unwrap();
        filter.insert_text("The quick brown fox jumps over the lazy dog, and over the fence.");
        filter
    }

    fn written(filter: &Filter) -> Vec<u8> {
        let mut bytes = Vec::new();
        filter.write_to(&mut bytes).unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Filter, FilterError> {
        Filter::read_from(bytes, bytes.len() as u64)
    }

    #[test]
    fn a_filter_comes_back_from_its_file() {
        let filter = filter();
        let bytes = written(&filter);
        assert_eq!(bytes.len(), HEADER + 100_000 + HASH);
        assert_eq!(read(&bytes).unwrap(), filter);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let bytes = written(&filter());
        for at in (0..bytes.len()).step_by(997).chain(0..HEADER).chain(bytes.len() - HASH..bytes.len()) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert!(read(&damaged).is_err(), "byte {at}");
        }
    }

    #[test]
    fn other_files_and_versions_and_lengths_are_refused_by_name() {
        let bytes = written(&filter());
        let with = |at: usize, value: u8| {
            let mut changed = bytes.clone();
            changed[at] = value;
            read(&changed).unwrap_err().to_string()
        };
        assert_eq!(with(0, b'X'), "not an overlap filter: it does not begin with CNVGRAMS");
        assert_eq!(with(8, 2), "not an overlap filter: version 2: expected 1");
        assert_eq!(with(16, 26), "not an overlap filter: places 26: expected 27");
        assert!(with(48, 1).contains("words of bits for 20000 grams"));
        assert_eq!(with(39, 0xff), "a filter of 18374686479671643680 grams does not fit into memory");
        assert!(read(&bytes[..bytes.len() - 1]).is_err() && read(b"").is_err());
        // A file that is shorter than it is said to be, as one that shrinks while it is read.
        assert!(matches!(Filter::read_from(&bytes[..5_000], bytes.len() as u64), Err(FilterError::Io(_))));
    }

    proptest! {
        #[test]
        fn hostile_files_are_refused_without_a_panic(
            noise in prop::collection::vec(any::<u8>(), 0..200), keep in 0..HEADER, length in any::<u64>()
        ) {
            let bytes = [&written(&Filter::new(1, 0).unwrap())[..keep], &noise[..]].concat();
            prop_assert!(read(&bytes).is_err());
            prop_assert!(Filter::read_from(&bytes[..], length).is_err());
        }
    }
}
