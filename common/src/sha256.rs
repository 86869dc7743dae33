//! SHA-256 of two contents at once, and of an object together with its blocks.
//!
//! A hash is a chain: each instruction waits for the one before, and leaves a processor half idle. Two independent hashes
//! fill the gaps, so that hashing two blocks of a token shard or a checkpoint takes little longer than one. The `sha2` crate
//! hashes one content at a time. It is used here for what is left over, and on processors without the instructions.
//!
//! A [`Sha256Sum`] is a hash in its textual form for files.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::block_api::compress256;

use crate::untrusted::shortened;

/// Size of a chunk that one compression takes, in bytes.
const CHUNK: usize = 64;
/// Initial state: FIPS 180-4, section 5.3.3.
const START: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// A hash: 32 bytes.
pub type Digest = [u8; 32];

/// Hash of a content, written in files and messages as 64 lower-case hexadecimal digits. Only such text is parsed, so a hash
/// that was read from elsewhere can name a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Sum(pub Digest);

/// Returns the hash of `content` in lower-case hexadecimal.
pub fn hex_sha256(content: &[u8]) -> String {
    Sha256Sum::of(content).to_string()
}

/// Error for text that is not a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{:?} is no SHA-256: expected 64 lower-case hex digits", shortened(.0))]
pub struct NotASha256(String);

impl Sha256Sum {
    /// Stands for a hash that the program that wrote a content did not give.
    pub const UNKNOWN: Sha256Sum = Sha256Sum([0; 32]);

    /// Returns the hash of `content`.
    pub fn of(content: &[u8]) -> Self {
        Sha256Sum(finish_one(START, content, 0))
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256Sum {
    type Err = NotASha256;

    fn from_str(text: &str) -> Result<Self, NotASha256> {
        let refuse = || NotASha256(shortened(text).into_owned());
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(refuse()),
        };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(refuse()) };
        let mut digest = Digest::default();
        if pairs.len() != digest.len() {
            return Err(refuse());
        }
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            *byte = 16 * digit(*high)? + digit(*low)?;
        }
        Ok(Sha256Sum(digest))
    }
}

impl Serialize for Sha256Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256Sum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Hasher of two contents that arrive side by side.
#[derive(Debug, Clone)]
pub struct Sha256Pair {
    states: [[u32; 8]; 2],
    bytes: u64,
}

impl Default for Sha256Pair {
    fn default() -> Self {
        Sha256Pair { states: [START; 2], bytes: 0 }
    }
}

impl Sha256Pair {
    /// Hashes the next bytes of both contents: equally many of each, a multiple of 64.
    ///
    /// # Panics
    /// Panics if the lengths differ or are not a multiple of 64.
    pub fn update(&mut self, next: [&[u8]; 2]) {
        let [(a, rest_a), (b, rest_b)] = next.map(<[u8]>::as_chunks::<CHUNK>);
        assert!(a.len() == b.len() && rest_a.is_empty() && rest_b.is_empty(), "whole chunks, as many of both");
        self.bytes += next[0].len() as u64;
        compress_pair(&mut self.states, [a, b]);
    }

    /// Hashes the last bytes of both contents, of any lengths, and returns both hashes.
    pub fn finish(mut self, last: [&[u8]; 2]) -> [Digest; 2] {
        let common = last.map(|content| content.len() / CHUNK * CHUNK).into_iter().min().unwrap_or(0);
        self.update(last.map(|content| &content[..common]));
        let bytes = self.bytes;
        let mut states = self.states.into_iter();
        last.map(|content| finish_one(states.next().unwrap_or(START), &content[common..], bytes))
    }
}

/// Returns the hashes of two contents.
pub fn sha256_pair(contents: [&[u8]; 2]) -> [Digest; 2] {
    Sha256Pair::default().finish(contents)
}

/// Returns the hashes of any number of contents, computed two at a time.
pub fn sha256_each<'a>(contents: impl IntoIterator<Item = &'a [u8]>) -> Vec<Digest> {
    let mut contents = contents.into_iter();
    let mut hashes = Vec::new();
    while let Some(first) = contents.next() {
        match contents.next() {
            Some(second) => hashes.extend(sha256_pair([first, second])),
            None => hashes.push(finish_one(START, first, 0)),
        }
    }
    hashes
}

/// Hasher of an object and its blocks in one pass. Side by side, both take as long as one.
#[derive(Debug, Clone)]
pub struct BlockedSha256 {
    block_bytes: usize,
    /// State of the whole object's hash, without `rest`.
    state: [u32; 8],
    bytes: u64,
    /// What follows the last whole chunk of the last block.
    rest: Vec<u8>,
    blocks: Vec<Digest>,
}

impl BlockedSha256 {
    /// Returns a hasher that also hashes every `block_bytes`, a multiple of 64.
    pub fn new(block_bytes: usize) -> Self {
        assert!(block_bytes > 0 && block_bytes.is_multiple_of(CHUNK), "blocks of {block_bytes} bytes");
        BlockedSha256 { block_bytes, state: START, bytes: 0, rest: Vec::new(), blocks: Vec::new() }
    }

    /// Hashes the next bytes: whole blocks, unless they are the last bytes.
    ///
    /// # Panics
    /// Panics if bytes follow a block that was not whole.
    pub fn update(&mut self, next: &[u8]) {
        for block in next.chunks(self.block_bytes) {
            assert!(self.bytes.is_multiple_of(self.block_bytes as u64), "the last block has come already");
            let (chunks, rest) = block.as_chunks::<CHUNK>();
            let mut states = [self.state, START];
            compress_pair(&mut states, [chunks, chunks]);
            let before = (block.len() - rest.len()) as u64;
            self.state = states[0];
            self.bytes += block.len() as u64;
            self.rest = rest.to_vec();
            self.blocks.push(finish_one(states[1], rest, before));
        }
    }

    /// Returns the hash of the whole object, and those of the blocks.
    pub fn finish(self) -> (Digest, Vec<Digest>) {
        (finish_one(self.state, &self.rest, self.bytes - self.rest.len() as u64), self.blocks)
    }
}

/// Returns the hash of the `before` bytes that led to `state`, followed by `last`.
fn finish_one(mut state: [u32; 8], last: &[u8], before: u64) -> Digest {
    let (chunks, rest) = last.as_chunks::<CHUNK>();
    compress256(&mut state, chunks);
    // At the end of a chunk: a bit of 1, zeros, and the length in bits, big-endian.
    let mut padded = [[0; CHUNK]; 2];
    let ends = padded.as_flattened_mut();
    ends[..rest.len()].copy_from_slice(rest);
    ends[rest.len()] = 0x80;
    let count = if rest.len() + 9 <= CHUNK { 1 } else { 2 };
    let bits = (before + last.len() as u64) * 8;
    ends[count * CHUNK - 8..count * CHUNK].copy_from_slice(&bits.to_be_bytes());
    compress256(&mut state, &padded[..count]);
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    digest
}

/// Compresses equally many chunks of both contents.
#[allow(unsafe_code, reason = "calls SHA instructions, where the processor has them")]
fn compress_pair(states: &mut [[u32; 8]; 2], chunks: [&[[u8; CHUNK]]; 2]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") && is_x86_feature_detected!("ssse3") {
        // SAFETY: the processor has the instructions that the function needs.
        unsafe { x86::compress_pair(states, chunks) };
        return;
    }
    for (state, chunks) in states.iter_mut().zip(chunks) {
        compress256(state, chunks);
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "SHA instructions load and store by address")]
mod x86 {
    use std::arch::x86_64::*;

    use super::CHUNK;

    /// FIPS 180-4, section 4.2.2.
    #[rustfmt::skip]
    static ROUND_CONSTANTS: [u32; 64] = [
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    ];

    /// Words a, b, e, f and c, d, g, h of a state, in the order of the instructions.
    type State = [__m128i; 2];

    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    pub(super) fn compress_pair(states: &mut [[u32; 8]; 2], [first, second]: [&[[u8; CHUNK]]; 2]) {
        let mut packed = [packed(&states[0]), packed(&states[1])];
        for chunks in first.iter().zip(second) {
            let before = packed;
            let mut words = [words(chunks.0), words(chunks.1)];
            for round in 0..4 {
                rounds(&mut packed, &mut words, 16 * round);
            }
            for (state, before) in packed.iter_mut().zip(before) {
                *state = [_mm_add_epi32(state[0], before[0]), _mm_add_epi32(state[1], before[1])];
            }
        }
        *states = packed.map(|state| unpacked(state));
    }

    /// Computes sixteen rounds of both hashes, from number `from` on, and the words of the next sixteen.
    #[inline]
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn rounds(states: &mut [State; 2], words: &mut [[__m128i; 4]; 2], from: usize) {
        for i in 0..4 {
            let constants = &ROUND_CONSTANTS[from + 4 * i..from + 4 * i + 4];
            // SAFETY: these are 16 bytes, which may lie anywhere.
            let constants = unsafe { _mm_loadu_si128(constants.as_ptr().cast()) };
            for ([abef, cdgh], words) in states.iter_mut().zip(words.iter_mut()) {
                let sums = _mm_add_epi32(words[i], constants);
                *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, sums);
                *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(sums, 0x0e));
                // Words t to t+3 become words t+16 to t+19.
                let [next, last] = [words[(i + 1) % 4], words[(i + 3) % 4]];
                let shifted = _mm_alignr_epi8(last, words[(i + 2) % 4], 4);
                words[i] = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(words[i], next), shifted), last);
            }
        }
    }

    /// Returns the sixteen words of a chunk, which are big-endian.
    #[inline]
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn words(chunk: &[u8; CHUNK]) -> [__m128i; 4] {
        let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        // SAFETY: `i` is below 4, and these 16 of the 64 bytes may lie anywhere.
        [0, 1, 2, 3].map(|i| unsafe { _mm_shuffle_epi8(_mm_loadu_si128(chunk.as_ptr().add(16 * i).cast()), swap) })
    }

    #[inline]
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn packed(state: &[u32; 8]) -> State {
        // SAFETY: each half of the state has 16 bytes, which may lie anywhere.
        let [abcd, efgh] = [0, 4].map(|i| unsafe { _mm_loadu_si128(state.as_ptr().add(i).cast()) });
        let (cdab, efgh) = (_mm_shuffle_epi32(abcd, 0xb1), _mm_shuffle_epi32(efgh, 0x1b));
        [_mm_alignr_epi8(cdab, efgh, 8), _mm_blend_epi16(efgh, cdab, 0xf0)]
    }

    #[inline]
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn unpacked([abef, cdgh]: State) -> [u32; 8] {
        let (feba, dchg) = (_mm_shuffle_epi32(abef, 0x1b), _mm_shuffle_epi32(cdgh, 0xb1));
        let halves = [_mm_blend_epi16(feba, dchg, 0xf0), _mm_alignr_epi8(dchg, feba, 8)];
        let mut state = [0; 8];
        for (words, half) in state.as_chunks_mut::<4>().0.iter_mut().zip(halves) {
            // SAFETY: four words are 16 bytes, which may lie anywhere.
            unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), half) };
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn content(length: usize, seed: usize) -> Vec<u8> {
        (0..length).map(|i| (i * 31 + i / 7 * seed + seed) as u8).collect()
    }

    fn expected(content: &[u8]) -> Digest {
        Sha256::digest(content).into()
    }

    #[test]
    fn hashes_are_those_of_another_implementation() {
        let lengths = [0, 1, 55, 56, 63, 64, 65, 119, 120, 127, 128, 129, 1000, 4096, 100_001];
        for a in lengths {
            for b in lengths {
                let (a, b) = (content(a, 3), content(b, 5));
                assert_eq!(sha256_pair([&a, &b]), [expected(&a), expected(&b)], "{} and {}", a.len(), b.len());
            }
        }
    }

    #[test]
    fn parts_hash_like_the_whole() {
        let (a, b) = (content(1000, 3), content(900, 5));
        let mut pair = Sha256Pair::default();
        pair.update([&a[..64], &b[..64]]);
        pair.update([&a[64..640], &b[64..640]]);
        assert_eq!(pair.finish([&a[640..], &b[640..]]), [expected(&a), expected(&b)]);
    }

    #[test]
    fn a_whole_and_its_blocks_are_hashed_in_one_pass() {
        const BLOCK: usize = 128;
        for length in [0, 1, 55, 63, 64, 100, 127, 128, 129, 128 + 119, 256, 1000, 1024] {
            let content = content(length, 3);
            let expected = (expected(&content), content.chunks(BLOCK).map(expected).collect());
            for piece_bytes in [BLOCK, 3 * BLOCK] {
                let mut hash = BlockedSha256::new(BLOCK);
                content.chunks(piece_bytes).for_each(|piece| hash.update(piece));
                assert_eq!(hash.finish(), expected, "{length} bytes");
            }
        }
    }

    #[test]
    fn any_number_is_hashed_in_order() {
        let contents: Vec<_> = (0..5).map(|i| content(100 * i, i + 1)).collect();
        for count in 0..=5 {
            let expected: Vec<_> = contents[..count].iter().map(|content| expected(content)).collect();
            assert_eq!(sha256_each(contents[..count].iter().map(Vec::as_slice)), expected);
        }
    }
}
