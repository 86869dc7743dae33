//! Results are computed from scores in whatever order these came, and each against a number worked out by hand.

use super::*;
use crate::item::{Length, Request};
use crate::metrics::samples;
use crate::tasks::find;
use crate::tokens::{Encode, Key, OnLong, encode_items};

/// A token for each byte.
struct Bytes;

impl Encode for Bytes {
    fn encode(&self, text: &str) -> Vec<u16> {
        text.bytes().map(u16::from).collect()
    }

    fn end_of_text(&self) -> u16 {
        999
    }
}

fn encoded(items: &[Item], context_tokens: usize) -> Sequences {
    encode_items(items, &Bytes, &Limits::of_model(context_tokens, OnLong::Truncate)).unwrap()
}

/// Scores each sequence by its place in the task.
fn scored(sequences: &Sequences, score: impl Fn(usize) -> (f64, bool)) -> Vec<(Key, Score)> {
    let of = |(index, sequence): (usize, &crate::Sequence)| {
        let (log_likelihood, is_greedy) = score(index);
        let tokens = sequence.targets().len() as u32;
        let score = Score { log_likelihood, tokens, is_greedy, is_greedy_with_stop_words_barred: true };
        (sequence.key, score)
    };
    sequences.sequences.iter().enumerate().map(of).collect()
}

fn gathered(scores: impl IntoIterator<Item = (Key, Score)>) -> Scores {
    let mut gathered = Scores::default();
    scores.into_iter().for_each(|(key, score)| gathered.insert(key, score).unwrap());
    gathered
}

fn words(count: usize) -> Vec<Item> {
    let item = |index: usize| Item {
        id: index.to_string(),
        requests: vec![Request::continuation("x", " y")],
        judgement: Judgement::LastWord,
    };
    (1..=count).map(item).collect()
}

fn values(results: &Results) -> Vec<(&str, f64)> {
    results.metrics.iter().map(|metric| (metric.name.as_str(), metric.value)).collect()
}

#[test]
fn last_words_have_accuracies_and_a_perplexity_per_item() {
    let items = words(4);
    let sequences = encoded(&items, 8);
    let scores = gathered(scored(&sequences, |index| (-(index as f64), index == 1)));
    let task = find("lambada_harness").unwrap();
    let results = results(task, &items, &sequences, &scores, |_| true).unwrap();
    let expected = [("acc", 0.25), ("acc_stop_words_barred", 1.0), ("last_word_perplexity", 1.5_f64.exp())];
    assert_eq!(values(&results), expected);
    // The deviation of 0, 1, 2, 3 is sqrt(5/3); of 1, 0, 0, 0 it is 1/2.
    assert_eq!(results.metrics[0].standard_error, Some(0.25));
    let error = results.metrics[2].standard_error.unwrap();
    assert!((error - 1.5_f64.exp() * (5.0_f64 / 3.0).sqrt() / 2.0).abs() < 1e-12, "{error}");
    assert_eq!((results.items, results.tokens, results.log_likelihood), (4, 8, -6.0));
}

#[test]
fn scores_that_ranks_return_in_another_order_give_the_same_digits() {
    let items = words(97);
    let sequences = encoded(&items, 8);
    let mut scores = scored(&sequences, |index| (-((index * index) as f64) / 7.0 - 0.1, index % 3 == 0));
    let task = find("lambada_harness").unwrap();
    let expected = results(task, &items, &sequences, &gathered(scores.clone()), |_| true).unwrap();
    for stride in [2, 5, 50] {
        // In another order, as ranks would gather them.
        scores.sort_by_key(|(key, _)| (key.item % stride, key.item));
        assert_eq!(results(task, &items, &sequences, &gathered(scores.clone()), |_| true).unwrap(), expected);
    }
}

#[test]
fn a_score_that_a_padded_rank_repeats_or_that_is_missing_is_an_error() {
    let items = words(3);
    let sequences = encoded(&items, 8);
    let scores = scored(&sequences, |_| (-1.0, false));
    let task = find("lambada_harness").unwrap();
    let results = |scores: &Scores| results(task, &items, &sequences, scores, |_| true);
    let mut all = gathered(scores.clone());
    assert!(matches!(all.insert(scores[2].0, scores[2].1), Err(ScoreError::Twice { .. })));
    let missing = results(&gathered(scores[..2].to_vec()));
    assert_eq!(missing, Err(ScoreError::Missing { key: scores[2].0 }));
    let unknown = Key { item: 9, ..scores[0].0 };
    let added = gathered(scores.iter().copied().chain([(unknown, scores[0].1)]));
    assert_eq!(results(&added), Err(ScoreError::Unknown { key: unknown }));
    let mut shorter = scores.clone();
    shorter[1].1.tokens = 1;
    let wrong = ScoreError::Tokens { key: scores[1].0, scored: 1, expected: 2 };
    assert_eq!(results(&gathered(shorter)), Err(wrong));
}

#[test]
fn texts_are_divided_by_the_units_of_their_originals() {
    // Two texts of 6 and 2 tokens in windows of 4: three windows. The originals have other lengths.
    let text = |id: &str, text: &str, units: Units| Item {
        id: id.to_owned(),
        requests: vec![Request::Text(text.to_owned())],
        judgement: Judgement::Text(units),
    };
    let items = [
        text("1", "abcdef", Units { words: 3, characters: 7, bytes: 8 }),
        text("2", "gh", Units { words: 1, characters: 3, bytes: 4 }),
        text("3", "", Units { words: 1, characters: 0, bytes: 0 }),
    ];
    let sequences = encoded(&items, 4);
    let scores = gathered(scored(&sequences, |index| ([-5.0, -1.0, -4.0][index], false)));
    let task = find("documents").unwrap();
    let results = results(task, &items, &sequences, &scores, |_| true).unwrap();
    let expected = [
        ("word_perplexity/documents/window=4/stride=4", 2.0_f64.exp()),
        ("byte_perplexity/documents/window=4/stride=4", (10.0_f64 / 12.0).exp()),
        ("bits_per_byte/documents/window=4/stride=4", 10.0 / 12.0 / 2.0_f64.ln()),
        ("token_perplexity/documents/window=4/stride=4", (10.0_f64 / 8.0).exp()),
    ];
    for ((name, value), (expected_name, expected)) in values(&results).into_iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert!((value - expected).abs() < 1e-12, "{name}: {value} is not {expected}");
    }
    // Windows of 4, 2 and 2 tokens, -1.25 nats a token: residues 0, 1.5 and -1.5.
    let error = (1.5 * (1.5_f64.powi(2) * 2.0)).sqrt() / 12.0 / 2.0_f64.ln();
    assert!((results.metrics[2].standard_error.unwrap() - error).abs() < 1e-12);
    assert_eq!((results.empty, results.items, results.words), (vec!["3".to_owned()], 3, 5));
}

#[test]
fn skipped_items_do_not_count_and_results_can_be_of_some_items() {
    let mut items = words(4);
    items[2].requests = vec![Request::continuation("a long context", " y")];
    let limits = Limits::of_model(8, OnLong::Skip);
    let sequences = encode_items(&items, &Bytes, &limits).unwrap();
    let scores = gathered(scored(&sequences, |index| (-1.0, index == 0)));
    let task = find("lambada_harness").unwrap();
    let all = results(task, &items, &sequences, &scores, |_| true).unwrap();
    assert_eq!((all.items, all.skipped, all.metrics[0].value), (3, vec!["3".to_owned()], 1.0 / 3.0));
    let some = results(task, &items, &sequences, &scores, |index| index != 1).unwrap();
    assert_eq!((some.items, some.metrics[0].value), (2, 0.5));
    let none = results(task, &items, &sequences, &scores, |_| false).unwrap();
    assert_eq!((none.items, none.metrics), (0, vec![]));
}

#[test]
fn samples_show_each_request_and_what_it_scored() {
    let lengths = ["a", "bcd"].map(Length::of).to_vec();
    let requests = ["a", "bcd"].map(|choice| Request::continuation("x", format!(" {choice}"))).to_vec();
    let items = [Item { id: "1".to_owned(), requests, judgement: Judgement::Choice { gold: 1, lengths } }];
    let sequences = encoded(&items, 8);
    let scores = gathered(scored(&sequences, |index| ([-2.0, -3.0][index], false)));
    let samples = samples(find("hellaswag_harness").unwrap(), &items, &sequences, &scores).unwrap();
    assert_eq!(
        (samples[0].gold, &samples[0].right_by[..]),
        (Some(1), &["acc_norm", "acc_bytes", "acc_norm_tokens"].map(str::to_owned)[..])
    );
    let second = &samples[0].requests[1];
    assert_eq!((second.context.as_str(), second.continuation.as_str(), second.tokens), ("x", " bcd", 4));
}

#[test]
fn a_perplexity_beyond_all_numbers_costs_no_other_figure() {
    let task = find("text").unwrap();
    let items = (task.read)(&crate::DataFile { name: "one word", content: "x".repeat(5_000).as_bytes() }).unwrap();
    let sequences = encoded(&items, 1_024);
    let scores = gathered(scored(&sequences, |_| (-2_000.0, false)));
    let results = results(task, &items, &sequences, &scores, |_| true).unwrap();
    let names: Vec<&str> = results.metrics.iter().filter_map(|metric| metric.name.split('/').next()).collect();
    assert_eq!(names, ["byte_perplexity", "bits_per_byte", "token_perplexity"]);
    assert!(results.log_likelihood < -5_000.0);
    let json = serde_json::to_string(&results).unwrap();
    assert_eq!(serde_json::from_str::<Results>(&json).unwrap(), results);
}
