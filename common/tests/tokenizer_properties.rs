//! Compares the tokenizer with tiktoken-rs, which shares its vocabulary and no other code, on generated texts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::LazyLock;

use bpe::byte_pair_encoding::BytePairEncoding;
use common::tokenizer::{END_OF_TEXT, Tokenizer, pieces};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::string::string_regex;
use tiktoken_rs::CoreBPE;

// One of each for all cases: what earlier texts left in the cache must not matter.
static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::gpt2().unwrap());
static TIKTOKEN: LazyLock<CoreBPE> = LazyLock::new(|| tiktoken_rs::r50k_base().unwrap());

/// All general categories of Unicode except surrogates, which are not text.
const CATEGORIES: [&str; 29] = [
    "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
    "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cn",
];

/// Fragments that the split treats in a special way.
const PICKED: [&str; 24] = [
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "\u{a0}",
    "\u{3000}",
    "\u{85}",
    "'s",
    "'t",
    "'re",
    "'ve",
    "'m",
    "'ll",
    "'d",
    "'S",
    "'l",
    "’s",
    "'",
    "''",
    "e\u{301}",
    "\u{200d}",
    "\0",
    END_OF_TEXT,
];

fn fragment() -> BoxedStrategy<String> {
    let categories = CATEGORIES.map(|category| string_regex(&format!(r"\p{{{category}}}{{1,3}}")).unwrap().boxed());
    let one_of_category = proptest::strategy::Union::new(categories);
    let run = (select(&["a", "z", "0", " ", "\n", "=", "é", "漢", "🙂", "ab"][..]), 1..200_usize);
    prop_oneof![
        4 => one_of_category,
        4 => select(&PICKED[..]).prop_map(str::to_owned),
        4 => "[a-zA-Z]{1,12}",
        1 => "[ -~]{0,30}",
        1 => run.prop_map(|(unit, count)| unit.repeat(count)),
        1 => any::<String>(),
    ]
    .boxed()
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(fragment(), 0..30).prop_map(|fragments| fragments.concat())
}

fn ids(ids: impl IntoIterator<Item = u32>) -> Vec<u16> {
    ids.into_iter().map(|id| u16::try_from(id).unwrap()).collect()
}

fn assert_decodes(ids: &[u16], text: &str) {
    // Not assert_eq, which would print a megabyte.
    assert!(TOKENIZER.decode(ids).unwrap() == text.as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ids_equal_tiktokens_and_decode_to_the_text(text in text()) {
        let encoded = TOKENIZER.encode(&text);
        prop_assert_eq!(&encoded, &ids(TIKTOKEN.encode_ordinary(&text)));
        assert_decodes(&encoded, &text);
        prop_assert_eq!(pieces(&text).collect::<String>(), text);
    }

    #[test]
    fn special_tokens_are_those_of_tiktoken(text in text()) {
        let encoded = TOKENIZER.encode_with_special(&text);
        prop_assert_eq!(&encoded, &ids(TIKTOKEN.encode_with_special_tokens(&text)));
        assert_decodes(&encoded, &text);
    }
}

/// Returns texts of a megabyte that the split does not break, apart from their ends. In quadratic time, none would finish
/// within a day.
fn unbroken() -> Vec<(&'static str, String)> {
    const LENGTH: usize = 1 << 20;
    let of = |unit: &str| unit.repeat(LENGTH / unit.len());
    // A linear congruential generator is random enough for letters.
    let letters = |alphabet: &[u8]| -> String {
        let states =
            std::iter::successors(Some(1_u32), |x| Some(x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)));
        states.take(LENGTH).map(|x| char::from(alphabet[(x >> 16) as usize % alphabet.len()])).collect()
    };
    let white = |unit: &str| unit.repeat(LENGTH / unit.len()) + "x";
    vec![
        ("a letter", of("a")),
        ("two letters", of("ab")),
        ("letters", letters(b"abcdefghijklmnopqrstuvwxyz")),
        ("few letters", letters(b"aaab")),
        ("words in capitals", of("INTERNATIONALIZATION")),
        ("letters of two bytes", of("é")),
        ("letters of three bytes", of("漢字")),
        ("a digit", of("0")),
        ("digits", letters(b"0123456789")),
        ("a mark", of("=")),
        ("marks", letters(b"!#$%&()*+,-./:;<=>?@[]^_{|}~")),
        ("emoji", of("🙂👍🏽")),
        ("apostrophes", of("'")),
        ("spaces", of(" ")),
        ("spaces before a word", white(" ")),
        ("line ends before a word", white("\r\n")),
        ("white space before a word", white(" \t\n\u{3000}")),
        ("contractions", of("'re")),
        ("special tokens", of(END_OF_TEXT)),
    ]
}

/// tiktoken-rs panics on a million characters of white space before other text: its regex gives up.
const TIKTOKENS_MOST_WHITE: usize = 999_000;

#[test]
fn a_megabyte_without_a_break_has_tiktokens_ids() {
    for (name, text) in unbroken() {
        let white = text.chars().take_while(|character| character.is_whitespace()).count();
        let text = &text[white.saturating_sub(TIKTOKENS_MOST_WHITE)..];
        let encoded = TOKENIZER.encode(text);
        assert!(encoded == ids(TIKTOKEN.encode_ordinary(text)), "{name}");
        assert_decodes(&encoded, text);
    }
}

/// Covers texts on which tiktoken-rs gives up. Their pieces are known here.
#[test]
fn a_megabyte_without_a_break_has_the_ids_of_the_crate_bpe() {
    let bpe = BytePairEncoding::from_dictionary(TOKENIZER.vocabulary().tokens[..50_256].iter().cloned(), None);
    let piece_ids = |piece: &str| ids(bpe.encode_via_backtracking(piece.as_bytes()));
    for (unit, before_word) in [(" ", " "), ("\n", ""), ("\t", ""), ("\u{a0}", "")] {
        let white = unit.repeat((1 << 20) + 1);
        // The last character belongs to the word if it is a space, and is a piece by itself otherwise.
        let (first, last) = white.split_at(white.len() - unit.len());
        let expected = match before_word {
            "" => [piece_ids(first), piece_ids(last), piece_ids("x")],
            _ => [piece_ids(first), piece_ids(" x"), vec![]],
        };
        assert!(TOKENIZER.encode(&format!("{white}x")) == expected.concat(), "{unit:?}");
    }
    for (name, text) in unbroken() {
        let expected: Vec<u16> = pieces(&text).flat_map(piece_ids).collect();
        assert!(TOKENIZER.encode(&text) == expected, "{name}");
    }
}
