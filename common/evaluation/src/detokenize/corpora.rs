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
    pairs: &[[("\"", "\""), ("\"", "\"")], [("'", "'"), ("'", "'")]],
};

/// The Penn Treebank: `did n't`, two kinds of quotation marks, and parentheses as `-LRB-` and `-RRB-`.
/// The usual test file has hardly any punctuation.
pub static PENN_TREEBANK: Rules = Rules {
    suffixes: &["n't", "'s", "'re", "'ve", "'m", "'d", "'ll"],
    infixes: &[],
    openers: &["[", "{"],
    closers: &["...", ",", ".", ";", ":", "!", "?", "]", "}"],
    before_digits: &["$", "#"],
    after_digits: &["%"],
    pairs: &[[("``", "\""), ("''", "\"")], [("`", "'"), ("'", "'")], [("-LRB-", "("), ("-RRB-", ")")]],
};

/// The One Billion Word benchmark: straight quotes, `did n't`, hyphens within words.
pub static ONE_BILLION_WORD: Rules = Rules {
    suffixes: &["n't", "'s", "'re", "'ve", "'m", "'d", "'ll"],
    infixes: &[],
    openers: &["(", "[", "{"],
    closers: &["...", ",", ".", ";", ":", "!", "?", ")", "]", "}"],
    before_digits: &["$", "£", "€", "#"],
    after_digits: &["%"],
    pairs: &[[("\"", "\""), ("\"", "\"")], [("'", "'"), ("'", "'")]],
};
