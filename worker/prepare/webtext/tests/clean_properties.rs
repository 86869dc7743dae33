//! What holds for documents of any text.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use webtext::clean::english::English;
use webtext::clean::split::Split;
use webtext::clean::{CleanOptions, Cleaner, Depth, Document, Limit, Rule};

/// Texts of all kinds of characters, and of pieces that the rules look for.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "\\PC{0,12}",
        any::<String>(),
        "[a-zA-Z]{1,9}[.,!?]? ",
        Just("\n".to_owned()),
        Just("... ".to_owned()),
        Just("[12] [edit] [ ".to_owned()),
        Just("lorem ipsum { javascript \u{212a} use cookies ".to_owned()),
        Just("don't can't've :-) U.S. 5km http://a.b/c-d e@f.org ".to_owned()),
        Just("• - … # é\u{301} \u{2028}\u{85}\r\n\0".to_owned()),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_is_judged_by_every_rule_with_finite_measures(text in text()) {
        let mut options = CleanOptions::fineweb();
        options.address.excluded_hosts.push("wikipedia.org".to_owned());
        options.length.min_characters = 1;
        options.length.min_words = 1;
        options.c4.require_end_punctuation = true;
        let cleaner = Cleaner::new(options).unwrap();
        let document = Document { text: &text, url: Some("https://en.wikipedia.org/wiki/Text") };
        let all = cleaner.judge(document, Depth::AllRules);
        prop_assert!(all.checks.iter().all(|check| check.measure.is_finite()));
        let mut made: Vec<Rule> = all.checks.iter().map(|check| check.rule).collect();
        made.sort_unstable();
        prop_assert_eq!(&made[..], Rule::ALL);
    }

    #[test]
    fn the_first_rule_that_drops_is_last_of_the_checks_that_were_made(text in text()) {
        let mut options = CleanOptions::fineweb();
        // Most texts come as far as C4's rules.
        options.language.kept.clear();
        options.repetition.enabled = false;
        options.quality.enabled = false;
        let cleaner = Cleaner::new(options).unwrap();
        let document = Document { text: &text, url: None };
        let (all, until) = (cleaner.judge(document, Depth::AllRules), cleaner.judge(document, Depth::UntilDropped));
        prop_assert_eq!(all.dropped().map(|check| check.rule), until.dropped().map(|check| check.rule));
        prop_assert!(until.checks[..until.checks.len() - 1].iter().all(|check| check.passed));
        if until.kept() {
            prop_assert_eq!(&all.checks, &until.checks);
            prop_assert_eq!(&all.text, &until.text);
        }
        prop_assert_eq!(until.changed(), until.text != text.as_str());
    }

    #[test]
    fn own_words_are_the_text_without_white_space(text in text()) {
        let mut words = Vec::new();
        English::new().words(&text, &mut words);
        prop_assert!(words.iter().all(|word| !word.is_empty()));
        let is_space = |c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c);
        let expected: String = text.chars().filter(|c| !is_space(*c)).collect();
        prop_assert_eq!(words.concat(), expected);
    }

    #[test]
    fn without_rules_a_text_is_kept_as_it_is(text in text()) {
        let verdict = Cleaner::new(CleanOptions::off()).unwrap().judge(Document { text: &text, url: None }, Depth::AllRules);
        prop_assert!(verdict.kept() && verdict.checks.is_empty() && !verdict.changed() && verdict.changes.none());
    }
}

fn prose(sentences: usize) -> String {
    (1..=sentences)
        .map(|n| format!("The keeper of lighthouse {n} wrote that {} boats have passed it. ", n * 7))
        .collect()
}

#[test]
fn the_papers_set_drops_wikipedia_short_documents_and_other_languages() {
    let cleaner = Cleaner::new(CleanOptions::paper()).unwrap();
    let dropped = |text: &str, url| {
        let verdict = cleaner.judge(Document { text, url }, Depth::UntilDropped);
        verdict.dropped().map(|check| check.rule)
    };
    let german = "Der Wärter des alten Leuchtturms schrieb am Abend einen Brief an seine Schwester. ".repeat(10);
    assert_eq!(dropped(&prose(12), Some("https://example.org/wikipedia.org")), None);
    assert_eq!(dropped(&prose(12), Some("https://en.wikipedia.org/wiki/Keeper")), Some(Rule::ExcludedHost));
    assert_eq!(dropped(&prose(3), None), Some(Rule::Words));
    assert_eq!(dropped(&german, None), Some(Rule::Language));
}

#[test]
fn a_verdict_says_what_was_removed_and_what_is_left() {
    let mut options = CleanOptions::off();
    options.c4 = CleanOptions::fineweb().c4;
    let text =
        format!("{}\n\nToo short\nPlease enable JavaScript to go on.\n{}[12]\n", prose(3).trim(), prose(3).trim());
    let verdict = Cleaner::new(options).unwrap().judge(Document { text: &text, url: None }, Depth::UntilDropped);
    assert!(verdict.kept() && verdict.changed());
    assert_eq!(verdict.text, format!("{}\n{}", prose(3).trim(), prose(3).trim()));
    let removed = verdict.removed;
    assert_eq!((removed.of, removed.few_words, removed.javascript, removed.citations), (5, 2, 1, 1));
}

#[test]
fn a_document_above_the_bound_is_dropped_before_any_rule() {
    let options = CleanOptions { document_bytes: 100, ..CleanOptions::paper() };
    let cleaner = Cleaner::new(options.clone()).unwrap();
    for depth in [Depth::UntilDropped, Depth::AllRules] {
        let text = "\r".repeat(101);
        let verdict = cleaner.judge(Document { text: &text, url: None }, depth);
        let made: Vec<_> = verdict.checks.iter().map(|check| (check.rule, check.measure, check.limit)).collect();
        assert_eq!(made, [(Rule::DocumentBytes, 101.0, Limit::AtMost(100.0))], "{depth:?}");
        assert!(!verdict.kept() && verdict.changes.none() && verdict.text == text, "{depth:?}");
        let verdict = cleaner.judge(Document { text: &text[1..], url: None }, depth);
        assert!(verdict.checks[0].passed && verdict.checks.len() > 1, "{depth:?}: {:?}", verdict.checks);
    }
    let any = Cleaner::new(CleanOptions { document_bytes: 0, ..options }).unwrap();
    let text = prose(100);
    let verdict = any.judge(Document { text: &text, url: None }, Depth::UntilDropped);
    assert!(verdict.kept(), "{:?}", verdict.dropped());
}

#[test]
fn hostile_texts_are_judged_in_time_that_grows_with_their_length() {
    let cleaner = Cleaner::new(CleanOptions::fineweb()).unwrap();
    for unit in ["a", "[", "'", ".", "a.", "\n", "…", "-", "{", "@a.", "\u{301}", "http://", "don't", ":-)", "a b "] {
        let text = unit.repeat(400_000 / unit.len());
        let began = std::time::Instant::now();
        cleaner.judge(Document { text: &text, url: None }, Depth::AllRules);
        assert!(began.elapsed().as_secs() < 30, "{unit:?}");
    }
}
