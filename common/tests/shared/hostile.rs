//! Tampered files: valid ones in which numbers, strings and parts are replaced, missing, or repeated.
//!
//! The only knowledge of formats is that JSON, TOML and lines of JSON consist of numbers, quoted strings and separators.

use std::ops::Range;

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Numbers near the limits of sizes, counts and their sums, and text that a parser may take for a number.
const NUMBERS: [&str; 22] = [
    "0",
    "1",
    "-1",
    "65535",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "4611686018427387904",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "1e308",
    "1e-320",
    "1e999",
    "NaN",
    "null",
    "\"7\"",
    "[]",
];

/// Strings that lead out of a folder, act on a terminal, or are not strings.
const STRINGS: [&[u8]; 20] = [
    b"\"\"",
    b"\".\"",
    b"\"..\"",
    b"\"../x\"",
    b"\"/etc/x\"",
    b"\"a/../../b\"",
    b"\"aa/../../x\"",
    b"\"a/b\"",
    b"\"a\\\\b\"",
    b"\"file:///etc/x\"",
    b"\"\\u0000\"",
    b"\"\\u001b[31m\\r\\n\"",
    b"\"\\u202e\"",
    b"\"\\ud800\"",
    b"\"\xff\xfe\"",
    b"\"<|endoftext|>\"",
    b"\"18446744073709551615\"",
    b"7",
    b"null",
    b"[]",
];

/// A change of a file.
#[derive(Debug, Clone)]
pub enum Change {
    /// A number becomes another.
    Number(Index, &'static str),
    /// A quoted string becomes another.
    Text(Index, Vec<u8>),
    /// The parts between some separators (keys, elements, lines) are repeated or left out.
    Parts { first: Index, count: usize, times: usize },
    /// The file ends early.
    Cut(Index),
    /// A bit is flipped.
    Flip(Index, u8),
    /// Bytes are inserted.
    Insert(Index, Vec<u8>),
}

/// Some changes, mostly few.
pub fn changes() -> impl Strategy<Value = Vec<Change>> {
    let text = prop_oneof![
        8 => select(&STRINGS[..]).prop_map(<[u8]>::to_vec),
        1 => (1..5000_usize).prop_map(|length| [b"\"", &vec![b'x'; length][..], b"\""].concat()),
    ];
    let parts = (any::<Index>(), 1..5_usize, 0..4_usize);
    let change = prop_oneof![
        6 => (any::<Index>(), select(&NUMBERS[..])).prop_map(|(at, number)| Change::Number(at, number)),
        4 => (any::<Index>(), text).prop_map(|(at, text)| Change::Text(at, text)),
        4 => parts.prop_map(|(first, count, times)| Change::Parts { first, count, times }),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        1 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
    ];
    prop::collection::vec(change, 1..6)
}

/// Returns `content` after all of `changes`.
pub fn changed(content: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut content = content.to_vec();
    for change in changes {
        match change {
            Change::Number(at, number) => replace(&mut content, at, numbers, number.as_bytes()),
            Change::Text(at, text) => replace(&mut content, at, texts, text),
            Change::Parts { first, count, times } => {
                let parts = parts(&content);
                let first = first.index(parts.len());
                let range = parts[first].start..parts[(first + count).min(parts.len()) - 1].end;
                let repeated = content[range.clone()].repeat(*times);
                content.splice(range, repeated);
            }
            Change::Cut(at) => content.truncate(at.index(content.len() + 1)),
            Change::Flip(at, bit) if !content.is_empty() => {
                let at = at.index(content.len());
                content[at] ^= 1 << bit;
            }
            Change::Flip(..) => {}
            Change::Insert(at, bytes) => {
                let at = at.index(content.len() + 1);
                content.splice(at..at, bytes.iter().copied());
            }
        }
    }
    content
}

fn replace(content: &mut Vec<u8>, at: &Index, find: fn(&[u8]) -> Vec<Range<usize>>, with: &[u8]) {
    let found = find(content);
    if !found.is_empty() {
        content.splice(found[at.index(found.len())].clone(), with.iter().copied());
    }
}

/// Returns the runs of digits outside of strings, with sign, point and exponent.
fn numbers(content: &[u8]) -> Vec<Range<usize>> {
    let texts = texts(content);
    let mut numbers: Vec<Range<usize>> = Vec::new();
    for (at, byte) in content.iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit() || b"-+.eE".contains(byte)) {
        match numbers.last_mut() {
            Some(last) if last.end == at => last.end += 1,
            _ if byte.is_ascii_digit() || *byte == b'-' => numbers.push(at..at + 1),
            _ => {}
        }
    }
    numbers.retain(|number| !texts.iter().any(|text| text.contains(&number.start)));
    numbers
}

/// Returns the quoted strings.
fn texts(content: &[u8]) -> Vec<Range<usize>> {
    let (mut texts, mut start, mut is_escaped) = (Vec::new(), None, false);
    for (at, byte) in content.iter().enumerate() {
        match (start, byte) {
            (Some(_), _) if is_escaped => is_escaped = false,
            (Some(_), b'\\') => is_escaped = true,
            (Some(first), b'"') => {
                texts.push(first..at + 1);
                start = None;
            }
            (None, b'"') => start = Some(at),
            _ => {}
        }
    }
    texts
}

/// Returns the parts that end with separators. Together they are the whole.
fn parts(content: &[u8]) -> Vec<Range<usize>> {
    let mut start = 0;
    content
        .split_inclusive(|byte| b",\n{}[]\0".contains(byte))
        .chain([&b""[..]])
        .map(|part| {
            start += part.len();
            start - part.len()..start
        })
        .collect()
}
