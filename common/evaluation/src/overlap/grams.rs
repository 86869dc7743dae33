//! Grams: eight words in a row, as hashes.

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed, xxh3_128_with_seed};

/// Words of a gram.
pub const GRAM_WORDS: usize = 8;
/// Bytes of a word that are collected before they are hashed. Few words have more.
const PIECE_BYTES: usize = 256;

/// Hash of eight words in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gram(pub u128);

/// Finder of the grams of texts that come in pieces, such as tokens. Memory is bounded, also where a word has no end.
pub struct GramStream {
    seed: u64,
    /// Hashes of the last words.
    last: [u64; GRAM_WORDS],
    /// Number of words of this text so far, up to those of a gram.
    count: usize,
    /// Word that has not ended yet.
    word: Word,
}

/// A word while it comes. One of many bytes is hashed piece by piece, to the hash that it has as a whole.
struct Word {
    /// What is not hashed yet.
    piece: String,
    /// Hash of the pieces before; `None` where there are none.
    before: Option<Box<Xxh3>>,
    seed: u64,
}

impl Word {
    fn push(&mut self, character: char) {
        if self.piece.len() >= PIECE_BYTES {
            let before = self.before.get_or_insert_with(|| Box::new(Xxh3::with_seed(self.seed)));
            before.update(self.piece.as_bytes());
            self.piece.clear();
        }
        self.piece.push(character);
    }

    /// Returns the hash of the word, and begins another; `None` where there is no word.
    fn end(&mut self) -> Option<u64> {
        // After a piece that was hashed, another character has come.
        if self.piece.is_empty() {
            return None;
        }
        let hash = match self.before.take() {
            None => xxh3_64_with_seed(self.piece.as_bytes(), self.seed),
            Some(mut before) => {
                before.update(self.piece.as_bytes());
                before.digest()
            }
        };
        self.piece.clear();
        Some(hash)
    }
}

impl GramStream {
    /// Returns a finder before the first text.
    pub fn new(seed: u64) -> Self {
        let word = Word { piece: String::new(), before: None, seed };
        GramStream { seed, last: [0; GRAM_WORDS], count: 0, word }
    }

    /// Calls `see` with each gram that `piece`, which continues the text, completes.
    pub fn push(&mut self, piece: &str, mut see: impl FnMut(Gram)) {
        for character in piece.chars() {
            if !character.is_alphanumeric() {
                self.end_word(&mut see);
            } else if character.is_ascii() {
                self.word.push(character.to_ascii_lowercase());
            } else {
                character.to_lowercase().for_each(|character| self.word.push(character));
            }
        }
    }

    /// Ends the text, and its last word with it. What is pushed next begins another text.
    pub fn end(&mut self, mut see: impl FnMut(Gram)) {
        self.end_word(&mut see);
        self.count = 0;
    }

    fn end_word(&mut self, see: &mut impl FnMut(Gram)) {
        let Some(hash) = self.word.end() else { return };
        self.last.rotate_left(1);
        self.last[GRAM_WORDS - 1] = hash;
        self.count = (self.count + 1).min(GRAM_WORDS);
        if self.count == GRAM_WORDS {
            let mut bytes = [0; 8 * GRAM_WORDS];
            for (into, hash) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.last) {
                *into = hash.to_le_bytes();
            }
            see(Gram(xxh3_128_with_seed(&bytes, self.seed)));
        }
    }
}

/// Calls `see` with each gram of `text`: eight successive words, of which each is a run of alphanumeric characters in lower
/// case. A gram is the XXH3-128 of the XXH3-64 of its words, little-endian.
pub fn grams(text: &str, seed: u64, mut see: impl FnMut(Gram)) {
    let mut stream = GramStream::new(seed);
    stream.push(text, &mut see);
    stream.end(see);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Gram> {
        let mut all = Vec::new();
        grams(text, 5, |gram| all.push(gram));
        all
    }

    #[test]
    fn eight_words_are_one_gram_and_nine_are_two() {
        assert_eq!(of("a b c d e f g").len(), 0);
        assert_eq!(of("a b c d e f g h").len(), 1);
        let nine = of("a b c d e f g h i");
        assert_eq!((nine.len(), nine[0]), (2, of("a b c d e f g h")[0]));
        assert_eq!(nine[1], of("b c d e f g h i")[0]);
    }

    #[test]
    fn case_punctuation_and_white_space_make_no_difference() {
        assert_eq!(of("It's the 1st ÉTÉ: a-b \"c\""), of("it s\nthe  1st été a b c"));
        assert_ne!(of("a b c d e f g h"), of("a b c d e f gh i"));
        assert_ne!(of("a b c d e f g h"), of("h g f e d c b a"));
    }

    #[test]
    fn grams_of_another_seed_are_others() {
        let mut other = Vec::new();
        grams("a b c d e f g h", 6, |gram| other.push(gram));
        assert_ne!(other, of("a b c d e f g h"));
    }

    #[test]
    fn pieces_have_the_grams_of_the_whole_and_none_spans_two_texts() {
        let text = "It's the 1st ÉTÉ: a-b \"c\" and more of it";
        let mut stream = GramStream::new(5);
        for size in [1, 2, 7] {
            let mut found = Vec::new();
            let characters: Vec<char> = text.chars().collect();
            for piece in characters.chunks(size) {
                stream.push(&piece.iter().collect::<String>(), |gram| found.push(gram));
            }
            stream.end(|gram| found.push(gram));
            assert_eq!(found, of(text), "pieces of {size}");
        }
        let mut found = 0;
        for half in ["a b c d", "e f g h"] {
            stream.push(half, |_| found += 1);
            stream.end(|_| found += 1);
        }
        assert_eq!(found, 0);
    }

    #[test]
    fn a_word_without_an_end_takes_no_more_memory_than_a_short_one_and_has_the_hash_of_the_whole() {
        for letters in [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES, 8 << 20] {
            let long = "Ab9é".repeat(letters / 4);
            let mut stream = GramStream::new(5);
            let mut found = Vec::new();
            stream.push("a b c d e f g ", |gram| found.push(gram));
            for piece in [&long[..letters / 4 * 5 / 10 * 5], &long[letters / 4 * 5 / 10 * 5..]] {
                stream.push(piece, |gram| found.push(gram));
                assert!(stream.word.piece.capacity() <= 2 * PIECE_BYTES, "{letters} letters");
            }
            stream.end(|gram| found.push(gram));
            let mut hashes = ["a", "b", "c", "d", "e", "f", "g"].map(str::to_owned).to_vec();
            hashes.push(long.to_lowercase());
            let hashes = hashes.iter().flat_map(|word| xxh3_64_with_seed(word.as_bytes(), 5).to_le_bytes());
            assert_eq!(found, [Gram(xxh3_128_with_seed(&hashes.collect::<Vec<u8>>(), 5))], "{letters} letters");
            // What comes after a long word begins anew.
            assert_eq!(of(&format!("{long} a b c d e f g h")).last(), of("a b c d e f g h").last());
        }
    }
}
