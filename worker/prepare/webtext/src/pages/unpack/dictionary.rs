//! The dictionary at the beginning of a `.warc.zst` file, as archives of the Archive Team have it.
//!
//! It lies in a skippable frame whose magic number is 0x184D2A5D, either as it is or as a zstd frame of its own.

use std::io::{self, Read};
use std::sync::Arc;

use super::packed::Packed;

/// Magic number of the frame.
const MAGIC: [u8; 4] = [0x5d, 0x2a, 0x4d, 0x18];
/// Magic number and length.
const HEADER_BYTES: usize = 8;
/// Largest dictionary, packed or not.
const DICTIONARY_BYTES: usize = 16 << 20;

/// Dictionary of a `.warc.zst` file, which every frame of it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dictionary(Arc<[u8]>);

impl Dictionary {
    /// Reads the dictionary of the object that begins with `object`; `None` if it has none.
    ///
    /// # Errors
    /// Returns the reader's error, or one of kind `InvalidData` for a dictionary that is damaged or larger than 16 MiB.
    pub fn of(object: impl Read) -> io::Result<Option<Self>> {
        let mut packed = Packed::new(object, 0);
        Self::next_in(&mut packed)
    }

    /// Reads the dictionary that comes next, and steps over it.
    pub(super) fn next_in<R: Read>(packed: &mut Packed<R>) -> io::Result<Option<Self>> {
        packed.fill_to(HEADER_BYTES)?;
        let Some((magic, [a, b, c, d, ..])) = packed.rest().split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        if *magic != MAGIC {
            return Ok(None);
        }
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("the zstd dictionary {what}"));
        if length > DICTIONARY_BYTES {
            return Err(invalid("is larger than 16 MiB"));
        }
        packed.fill_to(HEADER_BYTES + length)?;
        let content = packed.rest().get(HEADER_BYTES..HEADER_BYTES + length).ok_or_else(|| invalid("is cut"))?;
        let dictionary = if super::codec::Codec::packing_of(content).is_some() {
            let mut unpacked = Vec::new();
            let decoder = zstd::stream::read::Decoder::with_buffer(content)?;
            let read = decoder.take(DICTIONARY_BYTES as u64 + 1).read_to_end(&mut unpacked);
            read.map_err(|error| invalid(&format!("is damaged: {error}")))?;
            unpacked
        } else {
            content.to_vec()
        };
        if dictionary.len() > DICTIONARY_BYTES {
            return Err(invalid("is larger than 16 MiB"));
        }
        packed.advance(HEADER_BYTES + length);
        Ok(Some(Dictionary(dictionary.into())))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
