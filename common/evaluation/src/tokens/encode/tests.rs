//! Each rule of encoding, and each trap that users of other harnesses fell into.

use super::*;
use crate::item::{Length, Units};

const END: u16 = 0;

/// A tokenizer with GPT-2's habits: a word takes the space in front of it; `ab` is a token, so `a` and `b` merge; bytes otherwise.
struct Toy;

impl Encode for Toy {
    fn encode(&self, text: &str) -> Vec<u16> {
        let mut ids = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let pieces = [("<end>", END), (" a", 301), (" the", 302), ("ab", 303), (" ab", 304)];
            let longest =
                pieces.into_iter().filter(|(piece, _)| rest.starts_with(piece)).max_by_key(|(piece, _)| piece.len());
            let (length, id) = longest.map_or((first.len_utf8(), first as u16), |(piece, id)| (piece.len(), id));
            ids.push(id);
            rest = &rest[length..];
        }
        ids
    }

    fn end_of_text(&self) -> u16 {
        END
    }
}

fn item(id: &str, requests: &[(&str, &str)], judgement: Judgement) -> Item {
    let requests =
        requests.iter().map(|(context, continuation)| Request::continuation(*context, *continuation)).collect();
    Item { id: id.to_owned(), requests, judgement }
}

fn one(context: &str, continuation: &str) -> Item {
    item("7", &[(context, continuation)], Judgement::LastWord)
}

fn encode(items: &[Item], context_tokens: usize, on_long: OnLong) -> Result<Sequences, EncodeError> {
    encode_items(items, &Toy, &Limits::of_model(context_tokens, on_long))
}

fn encoded(context: &str, continuation: &str) -> (Vec<u16>, Vec<u16>) {
    let sequences = encode(&[one(context, continuation)], 100, OnLong::Refuse).unwrap().sequences;
    (sequences[0].input()[..sequences[0].first_scored].to_vec(), sequences[0].targets().to_vec())
}

fn byte(character: char) -> u16 {
    character as u16
}

#[test]
fn context_and_continuation_encoded_apart_would_give_other_tokens() {
    // "xa" + "bc" is x, ab, c. Split behind the two tokens of the context, one is left.
    assert_eq!(encoded("xa", "bc"), (vec![byte('x'), 303], vec![byte('c')]));
    assert_ne!(Toy.encode("xabc"), [Toy.encode("xa"), Toy.encode("bc")].concat());
}

#[test]
fn spaces_at_the_end_of_a_context_would_be_tokens_of_their_own() {
    assert_eq!(encoded("x ", "a"), (vec![byte('x')], vec![301]));
    assert_eq!(encoded("x", " a"), encoded("x ", "a"));
    assert_eq!(encoded("x\n ", "a").1, [byte('\n'), 301]);
}

#[test]
fn an_empty_context_would_leave_the_first_token_without_a_prediction() {
    assert_eq!(encoded("", "xy"), (vec![END], vec![byte('x'), byte('y')]));
    assert_eq!(encoded("  ", "x"), (vec![END], vec![byte(' '), byte(' '), byte('x')]));
}

#[test]
fn a_second_end_of_text_would_be_scored() {
    assert_eq!(encoded("", "<end>x"), (vec![END], vec![byte('x')]));
}

#[test]
fn an_empty_continuation_would_be_the_likeliest_of_all() {
    for (context, continuation) in [("x", ""), ("xa", "b"), ("", "<end>"), ("", "")] {
        let error = encode(&[one(context, continuation)], 100, OnLong::Skip).unwrap_err();
        assert!(matches!(&error, EncodeError::EmptyContinuation { item, .. } if item == "7"), "{error}");
    }
}

#[test]
fn a_model_fed_the_last_token_too_would_be_off_by_one() {
    let sequences = encode(&[one("xy", "zw")], 100, OnLong::Refuse).unwrap().sequences;
    assert_eq!(sequences[0].input(), "xyz".chars().map(byte).collect::<Vec<_>>());
    assert_eq!(sequences[0].targets(), "zw".chars().map(byte).collect::<Vec<_>>());
    // Row 1 has read "xy", and predicts z.
    assert_eq!(sequences[0].first_row(), 1);
}

#[test]
fn a_context_cut_in_silence_would_lose_the_question() {
    let items = [one("wxy", "z"), Item { id: "8".to_owned(), ..one("vwxy", "z") }];
    let sequences = encode(&items, 3, OnLong::Truncate).unwrap();
    assert_eq!(sequences.truncated, ["8"]);
    let input: Vec<u16> = "wxy".chars().map(byte).collect();
    assert!(sequences.sequences.iter().all(|s| s.input() == input && s.targets() == [byte('z')]));
    let error = encode(&items, 3, OnLong::Refuse).unwrap_err();
    assert_eq!(error, EncodeError::Long { item: "8".to_owned(), tokens: 4, context_tokens: 3 });
    let sequences = encode(&items, 3, OnLong::Skip).unwrap();
    assert_eq!((sequences.skipped, sequences.sequences.len()), (vec!["8".to_owned()], 1));
}

#[test]
fn a_continuation_cut_in_silence_would_score_higher() {
    let error = encode(&[one("x", "vwxyz")], 4, OnLong::Truncate).unwrap_err();
    assert_eq!(error, EncodeError::LongContinuation { item: "7".to_owned(), scored: 5, context_tokens: 4 });
    let fits = encode(&[one("x", "wxyz")], 4, OnLong::Truncate).unwrap();
    assert!(fits.truncated.is_empty() && fits.sequences[0].first_row() == 0);
}

#[test]
fn one_choice_that_does_not_fit_leaves_out_all_choices() {
    let lengths = vec![Length::of("z"), Length::of("yz")];
    let items = [item("3", &[("x", "z"), ("x", "yz")], Judgement::Choice { gold: 0, lengths })];
    let sequences = encode(&items, 1, OnLong::Skip).unwrap();
    assert_eq!((sequences.skipped, sequences.sequences), (vec!["3".to_owned()], vec![]));
    assert!(sequences.truncated.is_empty());
}

#[test]
fn only_the_last_token_is_scored_where_a_task_says_so() {
    let Request::Continuation(request) = &one("x", " the word").requests[0] else { panic!() };
    let request = Request::Continuation(Continuation { scored: Scored::LastToken, ..request.clone() });
    let items = [Item { requests: vec![request], ..one("", "") }];
    let sequences = encode(&items, 100, OnLong::Refuse).unwrap().sequences;
    assert_eq!(sequences[0].targets(), [byte('d')]);
    assert_eq!(sequences[0].first_row(), 5);
}

#[test]
fn stop_words_are_barred_but_not_the_beginning_of_another_word() {
    let barred = |continuation: &str| {
        let sequences = encode(&[one("x", continuation)], 100, OnLong::Refuse).unwrap().sequences;
        sequences[0].barred.to_vec()
    };
    assert_eq!(barred(" word"), [301, 302]);
    // The target " a" begins "absinthe" here, since the toy has no token for " abs"; but " the" is a stop word itself.
    assert_eq!(barred(" axe"), [302]);
    assert_eq!(barred(" the"), [301, 302]);
    let choices = Judgement::Choice { gold: 0, lengths: vec![Length::of("a")] };
    let sequences = encode(&[item("1", &[("x", " a")], choices)], 100, OnLong::Refuse).unwrap().sequences;
    assert!(sequences[0].barred.is_empty());
}

#[test]
fn texts_have_windows_and_empty_ones_are_listed() {
    let text = |id: &str, text: &str| Item {
        id: id.to_owned(),
        requests: vec![Request::Text(text.to_owned())],
        judgement: Judgement::Text(Units::of(text)),
    };
    let sequences = encode(&[text("1", "vwxyz"), text("2", "")], 2, OnLong::Refuse).unwrap();
    let keys: Vec<_> = sequences.sequences.iter().map(|sequence| (sequence.key.item, sequence.key.window)).collect();
    assert_eq!(keys, [(0, 0), (0, 1), (0, 2)]);
    assert_eq!(sequences.empty, ["2"]);
    assert!(sequences.sequences.iter().all(|sequence| sequence.input().len() == 2));
}

#[test]
fn choices_share_their_context() {
    let lengths = vec![Length::of("xa"), Length::of("xc")];
    let items = [item("1", &[("vw", "xa"), ("vw", "xcc")], Judgement::Choice { gold: 0, lengths })];
    let sequences = encode(&items, 100, OnLong::Refuse).unwrap().sequences;
    assert_eq!(sequences[0].shared_prefix(&sequences[1]), 3);
}

#[test]
fn windows_out_of_range_are_refused() {
    for (window_tokens, stride_tokens) in [(0, 0), (4, 0), (4, 5), (9, 9)] {
        let limits = Limits { context_tokens: 8, window_tokens, stride_tokens, on_long: OnLong::Refuse };
        assert!(matches!(encode_items(&[], &Toy, &limits), Err(EncodeError::Windows { .. })));
    }
}

#[test]
fn a_stride_that_would_fill_the_memory_with_windows_is_refused() {
    let text = "v ".repeat(600_000);
    let texts = |stride_tokens| {
        let limits = Limits { context_tokens: 1_024, window_tokens: 1_024, stride_tokens, on_long: OnLong::Refuse };
        let item = Item {
            id: "book".into(),
            requests: vec![Request::Text(text.clone())],
            judgement: Judgement::Text(Units::default()),
        };
        encode_items(&[item], &Toy, &limits)
    };
    let error = texts(1).unwrap_err();
    assert!(matches!(error, EncodeError::ManyWindows { stride_tokens: 1, .. }), "{error}");
    assert!(error.to_string().contains("a larger --stride"), "{error}");
    assert!(texts(1_024).is_ok());
}
