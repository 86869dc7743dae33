//! English stop words, which the GPT-2 paper bars from being the last word of a LAMBADA passage.
//!
//! The paper does not give its list. This one has the articles, pronouns, prepositions, conjunctions, auxiliaries and commonest
//! adverbs of English, by grammar.

/// The list, in lower case.
pub const STOP_WORDS: &[&str] = &[
    // Articles, demonstratives, quantifiers.
    "a",
    "an",
    "the",
    "this",
    "that",
    "these",
    "those",
    "all",
    "any",
    "both",
    "each",
    "every",
    "few",
    "many",
    "more",
    "most",
    "much",
    "no",
    "other",
    "others",
    "some",
    "such",
    "same",
    "own",
    "another",
    "either",
    "neither",
    "several",
    // Pronouns.
    "i",
    "me",
    "my",
    "mine",
    "myself",
    "you",
    "your",
    "yours",
    "yourself",
    "yourselves",
    "he",
    "him",
    "his",
    "himself",
    "she",
    "her",
    "hers",
    "herself",
    "it",
    "its",
    "itself",
    "we",
    "us",
    "our",
    "ours",
    "ourselves",
    "they",
    "them",
    "their",
    "theirs",
    "themselves",
    "who",
    "whom",
    "whose",
    "which",
    "what",
    "one",
    // Prepositions.
    "about",
    "above",
    "across",
    "after",
    "against",
    "along",
    "among",
    "around",
    "at",
    "before",
    "behind",
    "below",
    "beneath",
    "beside",
    "between",
    "beyond",
    "by",
    "down",
    "during",
    "for",
    "from",
    "in",
    "into",
    "near",
    "of",
    "off",
    "on",
    "onto",
    "out",
    "over",
    "through",
    "to",
    "toward",
    "towards",
    "under",
    "until",
    "up",
    "upon",
    "with",
    "within",
    "without",
    // Conjunctions.
    "and",
    "as",
    "because",
    "but",
    "if",
    "nor",
    "or",
    "so",
    "than",
    "though",
    "although",
    "unless",
    "while",
    "whether",
    // Auxiliaries.
    "am",
    "are",
    "be",
    "been",
    "being",
    "can",
    "cannot",
    "could",
    "did",
    "do",
    "does",
    "doing",
    "had",
    "has",
    "have",
    "having",
    "is",
    "may",
    "might",
    "must",
    "shall",
    "should",
    "was",
    "were",
    "will",
    "would",
    // Adverbs.
    "again",
    "also",
    "ever",
    "further",
    "here",
    "how",
    "just",
    "never",
    "not",
    "now",
    "once",
    "only",
    "still",
    "then",
    "there",
    "too",
    "very",
    "when",
    "where",
    "why",
    "yet",
];

/// Returns whether `word` is a stop word, in any case.
pub fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.contains(&word.to_lowercase().as_str())
}

/// Returns the ids, ascending, of the tokens that are a space and a stop word, in lower case or with a capital.
pub fn ids(encode: impl Fn(&str) -> Vec<u16>) -> Vec<u16> {
    let mut ids: Vec<u16> = STOP_WORDS
        .iter()
        .flat_map(|word| [format!(" {word}"), format!(" {}{}", word[..1].to_uppercase(), &word[1..])])
        .filter_map(|text| match encode(&text)[..] {
            [id] => Some(id),
            _ => None,
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_list_has_lower_case_ascii_words_once() {
        let unique: HashSet<_> = STOP_WORDS.iter().collect();
        assert_eq!(unique.len(), STOP_WORDS.len());
        assert!(STOP_WORDS.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())));
        assert!(is_stop_word("The") && !is_stop_word("signs"));
    }

    #[test]
    fn only_words_of_one_token_with_their_space_are_barred() {
        // A token for each of two words with a space, one of them also with a capital; anything else is two tokens.
        let encode = |text: &str| match text {
            " the" => vec![9],
            " The" => vec![4],
            " of" => vec![7],
            _ => vec![1, 2],
        };
        assert_eq!(ids(encode), [4, 7, 9]);
    }
}
