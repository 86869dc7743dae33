//! Shingles: hashes of the n-grams of a text's words. Documents are compared as sets of them.

use xxhash_rust::xxh64::xxh64;

/// Makes the shingles of one text after the other, in memory that is used again.
#[derive(Debug, Default)]
pub struct Shingles {
    /// Words with a space between them, so that each n-gram is a part of it.
    joined: String,
    /// Where each word begins and ends in there.
    words: Vec<(usize, usize)>,
    hashes: Vec<u64>,
}

impl Shingles {
    /// Returns the shingles of a text's words, one for each gram of `n` words in a row, in order: xxHash64 with seed 0 of the words
    /// with a space between them, as datatrove's `HashConfig(hash_fc="xxhash", precision=64)`. A text of fewer words has none.
    pub fn of_words(&mut self, words: &[&str], n: usize) -> &[u64] {
        self.joined.clear();
        self.words.clear();
        self.hashes.clear();
        for word in words {
            if !self.words.is_empty() {
                self.joined.push(' ');
            }
            let begin = self.joined.len();
            self.joined.push_str(word);
            self.words.push((begin, self.joined.len()));
        }
        let joined = self.joined.as_bytes();
        let hash = |gram: &[(usize, usize)]| match gram {
            [(begin, end)] | [(begin, _), .., (_, end)] => xxh64(&joined[*begin..*end], 0),
            [] => 0,
        };
        self.hashes.extend(self.words.windows(n.max(1)).map(hash));
        &self.hashes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hash_is_xxhash64() {
        // By the reference implementation.
        assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64(b"abc", 0), 0x44bc_2cf5_ad77_0999);
    }

    proptest! {
        #[test]
        fn shingles_are_hashes_of_words_joined_by_a_space(words in prop::collection::vec("[a-zé]{1,4}", 0..12), n in 1..7_usize) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let mut shingles = Shingles::default();
            shingles.of_words(&["left", "over", "from", "before"], 2);
            let expected: Vec<u64> = words.windows(n).map(|gram| xxh64(gram.join(" ").as_bytes(), 0)).collect();
            prop_assert_eq!(shingles.of_words(&words, n), expected);
            prop_assert_eq!(shingles.of_words(&words, 13), [0_u64; 0]);
        }
    }
}
