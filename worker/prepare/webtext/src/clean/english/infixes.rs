//! Marks that split a word. spaCy: `TOKENIZER_INFIXES` of `lang/en/punctuation.py`.

use super::affixes::{is_letter, is_lower, is_quote, is_upper};
use crate::clean::unicode::OTHER_SYMBOL;

/// Returns the bytes of the mark at byte `at` of a word, 0 for none.
pub(super) fn infix(word: &str, at: usize) -> usize {
    let (behind, ahead) = word.split_at(at);
    let mut characters = ahead.chars();
    let Some(c) = characters.next() else { return 0 };
    if c.is_ascii_alphanumeric() {
        return 0;
    }
    let next = characters.next();
    let before = behind.chars().next_back();
    let is = |c: Option<char>, what: fn(char) -> bool| c.is_some_and(what);
    let after_digit = is(before, |c| c.is_ascii_digit());
    let after_letter = is(before, is_letter);
    match c {
        '…' => c.len_utf8(),
        '.' if next == Some('.') => ahead.len() - ahead.trim_start_matches('.').len(),
        '.' => {
            let (lower, upper) = (|c| is_lower(c) || is_quote(c), |c| is_upper(c) || is_quote(c));
            usize::from(is(before, lower) && is(next, upper))
        }
        '+' | '-' | '*' | '^' if after_digit && is(next, |c| c.is_ascii_digit() || c == '-') => 1,
        ',' => usize::from(after_letter && is(next, is_letter)),
        '-' | '–' | '—' | '~' if after_letter || after_digit => hyphen(ahead),
        ':' | '<' | '>' | '=' | '/' => usize::from((after_letter || after_digit) && is(next, is_letter)),
        c if !c.is_ascii() && OTHER_SYMBOL.contains(c) => c.len_utf8(),
        _ => 0,
    }
}

/// Returns the bytes of a hyphen in front of a letter: `- – — -- --- —— ~`.
fn hyphen(ahead: &str) -> usize {
    let in_front_of_letter =
        |hyphen: &&str| ahead.strip_prefix(*hyphen).is_some_and(|rest| rest.chars().next().is_some_and(is_letter));
    ["-", "–", "—", "--", "---", "——", "~"].into_iter().find(in_front_of_letter).map_or(0, str::len)
}
