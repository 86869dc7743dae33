//! De-tokenized text reads as people write, and is inverted: on lines that were chosen, and on generated ones. WikiText itself is
//! inverted in `tests/real_files.rs`.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn round_trip(rules: &'static Rules, line: &str) -> String {
    let detokenizer = Detokenizer::new(rules, [line]);
    let text = detokenizer.detokenize(line);
    assert_eq!(detokenizer.tokenize(&text), words(line).collect::<Vec<_>>().join(" "), "{text:?}");
    text
}

#[test]
fn wikitext_reads_as_people_write() {
    let cases = [
        (" = Robert Boulter = ", "= Robert Boulter ="),
        ("a guest @-@ starring role on the series , in 2002 .", "a guest-starring role on the series, in 2002."),
        (
            "role as \" Craig \" in the episode \" Teddy 's Story \" of",
            "role as \"Craig\" in the episode \"Teddy's Story\" of",
        ),
        ("1 @,@ 234 @.@ 5 people ( 24 in ) didn 't", "1,234.5 people (24 in) didn't"),
        ("the U.S. , he said ; $ 5 and 7 % of it ...", "the U.S., he said; $5 and 7% of it..."),
        ("the players ' house and ' so called ' men", "the players' house and 'so called' men"),
        ("on and / or by – that is", "on and/or by – that is"),
        ("<unk> , <unk> @-@ <unk>", "<unk>, <unk>-<unk>"),
    ];
    for (line, expected) in cases {
        assert_eq!(round_trip(&WIKITEXT, line), expected);
    }
}

#[test]
fn other_corpora_read_as_people_write() {
    assert_eq!(round_trip(&PENN_TREEBANK, "no it was n't black monday"), "no it wasn't black monday");
    assert_eq!(round_trip(&PENN_TREEBANK, "u.s. <unk> rose $ N million"), "u.s. <unk> rose $ N million");
    assert_eq!(round_trip(&PENN_TREEBANK, "`` I am , '' she said . `` Go ! ''"), "\"I am,\" she said. \"Go!\"");
    assert_eq!(round_trip(&ONE_BILLION_WORD, "\" I do n't , \" said Mr. X ( 5 % ) ."), "\"I don't,\" said Mr. X (5%).");
}

#[test]
fn an_ambiguous_place_keeps_its_space() {
    // "No." is a word of the corpus, so a sentence that ends in "No" cannot be joined with its full stop.
    assert_eq!(round_trip(&WIKITEXT, "No. 5 . He said No ."), "No. 5. He said No .");
    assert_eq!(round_trip(&WIKITEXT, "a-b is not a @-@ b"), "a-b is not a @-@ b");
    assert_eq!(round_trip(&WIKITEXT, "@-@ x @-@"), "@-@ x @-@");
}

#[test]
fn a_line_made_to_take_long_is_done_at_once() {
    let line = ") ".repeat(100_000);
    assert!(round_trip(&WIKITEXT, &line).len() > 100_000);
}

fn word() -> impl Strategy<Value = String> {
    let picked = select(
        &[
            "\"", "'", "''", "``", "`", ".", ",", "...", "..", "(", ")", "@-@", "@,@", "@.@", "/", "'s", "n't", "'t",
            "$", "%", "5", "1,2", "U.S.", "No.", "No", "s", "a-b", "-", "#", "’", "“", "<unk>", "-LRB-", "=", "a@-@b",
            "°", "é", "x'",
        ][..],
    );
    prop_oneof![4 => picked.prop_map(str::to_owned), 1 => "[a-z]{1,3}", 1 => "[^ \n]{1,3}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_words_come_back(words in prop::collection::vec(word(), 0..25)) {
        let line = words.join(" ");
        for rules in [&WIKITEXT, &PENN_TREEBANK, &ONE_BILLION_WORD] {
            round_trip(rules, &line);
        }
    }
}
