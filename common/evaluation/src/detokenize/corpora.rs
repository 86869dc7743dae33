//! The rules of WikiText, the Penn Treebank and the One Billion Word benchmark.

use super::rules::{Infix, Rules};

/// WikiText: Moses-like, with `@-@`, `@,@` and `@.@` within words and numbers, and `didn 't`.
pub static WIKITEXT: Rules = Rules {
    suffixes: &["'s", "'t", "'re", "'ve", "'m", "'d", "'ll"],
    infixes: &[
        Infix { word: "@-@", written: '-', digits_only: false },
        Infix { word: "@,@", written: ',', digits_only: true },
        Infix { word: "@.@", written: '.', digits_only: true },
        Infix { word: "/", written: '/', digits_only: false },
    ],
    openers: &["(", "[", "{", "“", "‘"],
    closers: &["...", ",", ".", ";", ":", "!", "?", ")", "]", "}", "”", "’"],
    before_digits: &["$", "£", "€", "¥", "₱", "₩", "#"],
    after_digits: &["%", "°"],
    quotes: &[[("\"", "\""), ("\"", "\"")], [("'", "'"), ("'", "'")]],
};

/// The Penn Treebank: `did n't`, and no punctuation in the usual test file but apostrophes, currency signs and `<unk>`.
pub static PENN_TREEBANK: Rules = Rules {
    suffixes: &["n't", "'s", "'re", "'ve", "'m", "'d", "'ll"],
    infixes: &[],
    openers: &["(", "[", "{", "-LRB-"],
    closers: &["...", ",", ".", ";", ":", "!", "?", ")", "]", "}", "-RRB-"],
    before_digits: &["$", "#"],
    after_digits: &["%"],
    quotes: &[[("``", "\""), ("''", "\"")], [("`", "'"), ("'", "'")]],
};

/// The One Billion Word benchmark: straight quotes, `did n't`, hyphens within words.
pub static ONE_BILLION_WORD: Rules = Rules {
    suffixes: &["n't", "'s", "'re", "'ve", "'m", "'d", "'ll"],
    infixes: &[],
    openers: &["(", "[", "{"],
    closers: &["...", ",", ".", ";", ":", "!", "?", ")", "]", "}"],
    before_digits: &["$", "£", "€", "#"],
    after_digits: &["%"],
    quotes: &[[("\"", "\""), ("\"", "\"")], [("'", "'"), ("'", "'")]],
};
