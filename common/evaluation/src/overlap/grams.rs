//! Grams: eight words in a row, as hashes.

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// Words of a gram.
pub const GRAM_WORDS: usize = 8;

/// Hash of eight words in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gram(pub u128);

/// Calls `see` with each gram of `text`: eight successive words, of which each is a run of alphanumeric characters in lower
/// case. A gram is the XXH3-128 of the XXH3-64 of its words, little-endian.
pub fn grams(text: &str, seed: u64, mut see: impl FnMut(Gram)) {
    let mut last = [0_u64; GRAM_WORDS];
    let mut count = 0;
    let mut word = String::new();
    // The end of the text ends a word.
    for character in text.chars().chain([' ']) {
        if character.is_alphanumeric() {
            if character.is_ascii() {
                word.push(character.to_ascii_lowercase())
            } else {
                word.extend(character.to_lowercase())
            }
        } else if !word.is_empty() {
            last.rotate_left(1);
            last[GRAM_WORDS - 1] = xxh3_64_with_seed(word.as_bytes(), seed);
            word.clear();
            count += 1;
            if count >= GRAM_WORDS {
                let mut bytes = [0; 8 * GRAM_WORDS];
                for (into, hash) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(last) {
                    *into = hash.to_le_bytes();
                }
                see(Gram(xxh3_128_with_seed(&bytes, seed)));
            }
        }
    }
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
}
