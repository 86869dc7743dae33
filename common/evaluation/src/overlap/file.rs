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
use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::hex::hex;
use crate::overlap::error::FilterError;
use crate::overlap::filter::{Filter, HASHES};
use crate::overlap::grams::GRAM_WORDS;

/// First bytes of the file of a filter.
pub const FILTER_MAGIC: [u8; 8] = *b"CNVGRAMS";
const VERSION: u32 = 1;
const HEADER: usize = 56;
const HASH: usize = 32;
/// Bytes of the header with the number of different grams that were added.
const INSERTED: Range<usize> = 40..48;
/// Words that are read or written at once.
const CHUNK_WORDS: usize = 8192;

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
        let mut fill = |buffer: &mut [u8]| match from.read_exact(buffer) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(malformed(format!("it ends before byte {length}, at which it should end")))
            }
            read => read.map_err(FilterError::Io),
        };
        let mut header = [0; HEADER];
        fill(&mut header)?;
        let mut filter = Self::from_header(&header, length)?;
        let mut hasher = Sha256::new();
        hasher.update(header);
        let bytes = length - (HEADER + HASH) as u64;
        let words = usize::try_from(bytes / 8).map_err(|_| FilterError::Memory { bytes })?;
        let mut buffer = vec![0; 8 * CHUNK_WORDS.min(words)];
        while filter.bits.len() < words {
            let next = &mut buffer[..8 * CHUNK_WORDS.min(words - filter.bits.len())];
            fill(next)?;
            hasher.update(&*next);
            make_room(&mut filter.bits, words).map_err(|()| FilterError::Memory { bytes })?;
            filter.bits.extend(next.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)));
        }
        let mut hash = [0; HASH];
        fill(&mut hash)?;
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
        let bytes = Filter::bytes(capacity)
            .map_err(|_| FilterError::Malformed(format!("made for {capacity} grams, more than any filter")))?;
        // So the length of the file is that of its bits.
        if words.checked_mul(8) != Some(bytes) || bytes + (HEADER + HASH) as u64 != length {
            let what = format!("{words} words of bits for {capacity} grams in {length} bytes");
            return Err(FilterError::Malformed(what));
        }
        Ok(Filter { seed, capacity, inserted, bits: Vec::new() })
    }

    /// Returns what identifies the texts that the filter was made of: the SHA-256, in hexadecimal, of its file up to the bits'
    /// end, without the number of different grams that were added. That number alone depends on how many ranks made it.
    pub fn identity(&self) -> String {
        let header = self.header();
        let mut hasher = Sha256::new();
        hasher.update(&header[..INSERTED.start]);
        hasher.update(&header[INSERTED.end..]);
        let mut buffer = Vec::with_capacity(8 * CHUNK_WORDS);
        for words in self.bits.chunks(CHUNK_WORDS) {
            buffer.clear();
            buffer.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            hasher.update(&buffer);
        }
        hex(&hasher.finalize())
    }
}

/// Makes room for the next chunk of `words` words: at most as much as has been read, since a length is a claim.
fn make_room(bits: &mut Vec<u64>, words: usize) -> Result<(), ()> {
    let next = CHUNK_WORDS.min(words - bits.len());
    if bits.capacity() - bits.len() >= next {
        return Ok(());
    }
    let more = bits.len().max(CHUNK_WORDS).min(words - bits.len());
    bits.try_reserve_exact(more).map_err(|_| ())
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
        assert!(with(39, 0xff).contains("made for 18374686479671643680 grams, more than any filter"));
        assert!(read(&bytes[..bytes.len() - 1]).is_err() && read(b"").is_err());
        // A file that is shorter than it is said to be, as one that shrinks while it is read.
        let error = Filter::read_from(&bytes[..5_000], bytes.len() as u64).unwrap_err();
        assert_eq!(error.to_string(), "not an overlap filter: it ends before byte 100088, at which it should end");
        assert!(error.remedy().contains("--save-filter"));
    }

    #[test]
    fn memory_grows_with_what_is_read_of_a_file_and_not_with_the_length_that_it_states() {
        // A terabyte, by its header and by its length.
        let capacity = (1_u64 << 40) / 5;
        let stated = Filter { seed: 1, capacity, inserted: 0, bits: Vec::new() };
        let bytes = Filter::bytes(capacity).unwrap();
        let mut header = stated.header();
        header[48..].copy_from_slice(&(bytes / 8).to_le_bytes());
        let content = [&header[..], &vec![1; 1 << 20]].concat();
        let error = Filter::read_from(&content[..], bytes + (HEADER + HASH) as u64).unwrap_err();
        assert!(error.to_string().contains("it ends before byte"), "{error}");
        let mut bits = Vec::new();
        for read in (0..1 << 17).step_by(CHUNK_WORDS) {
            make_room(&mut bits, usize::MAX / 16).unwrap();
            bits.resize(read + CHUNK_WORDS, 0);
            assert!(bits.capacity() <= 2 * bits.len(), "{} for {}", bits.capacity(), bits.len());
        }
        assert!(make_room(&mut Vec::new(), 1).is_ok());
    }

    #[test]
    fn texts_have_one_identity_however_many_ranks_have_read_them_and_other_texts_another() {
        let whole = filter();
        let counted_twice = Filter { inserted: whole.inserted + 1, ..whole.clone() };
        assert_eq!(counted_twice.identity(), whole.identity());
        assert_eq!(read(&written(&whole)).unwrap().identity(), whole.identity());
        let mut more = whole.clone();
        more.insert_text("Nobody else jumps over any of these fences, not even once.");
        let larger = Filter::new(20_001, 7).unwrap();
        let seeded = Filter::new(20_000, 8).unwrap();
        let identities = [&whole, &more, &larger, &seeded].map(Filter::identity);
        assert!((1..4).all(|at| !identities[..at].contains(&identities[at])), "{identities:?}");
        assert!(identities[0].len() == 64 && identities[0].bytes().all(|byte| byte.is_ascii_hexdigit()));
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
