//! Texts cut as Python cuts them: datatrove's measures depend on it.

use memchr::{memchr, memchr_iter};

/// Returns whether Python's `str.isspace` says so: white space, and four separators that Unicode does not count.
pub(crate) fn is_space(c: char) -> bool {
    match c {
        ' ' | '\t'..='\r' | '\x1c'..='\x1f' => true,
        c if c.is_ascii() => false,
        c => c.is_whitespace(),
    }
}

/// Python's `str.strip`.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Number of characters, Python's `len`.
pub(crate) fn characters(text: &str) -> usize {
    text.chars().count()
}

/// Words between white space, Python's `str.split`.
pub(crate) fn between_spaces(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// Python's `str.splitlines`.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (end, next) = line_end(rest);
        let line = &rest[..end];
        rest = &rest[next..];
        Some(line)
    })
}

/// Returns where the first line ends, and where the next begins.
fn line_end(text: &str) -> (usize, usize) {
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\r' if bytes.get(at + 1) == Some(&b'\n') => return (at, at + 2),
            b'\n'..=b'\r' | 0x1c..=0x1e => return (at, at + 1),
            0xc2 if bytes.get(at + 1) == Some(&0x85) => return (at, at + 2),
            0xe2 if matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9])) => return (at, at + 3),
            _ => {}
        }
    }
    (bytes.len(), bytes.len())
}

/// Python's `re.split` at runs of at least `breaks` line feeds.
pub(crate) fn split_at_line_feeds(text: &str, breaks: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut from = 0;
        while let Some(found) = memchr(b'\n', &text.as_bytes()[from..]) {
            let start = from + found;
            let run = text.as_bytes()[start..].iter().take_while(|byte| **byte == b'\n').count();
            from = start + run;
            if run >= breaks {
                rest = Some(&text[from..]);
                return Some(&text[..start]);
            }
        }
        rest = None;
        Some(text)
    })
}

/// Number of line feeds.
pub(crate) fn line_feeds(text: &str) -> usize {
    memchr_iter(b'\n', text.as_bytes()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<&str> {
        lines(text).collect()
    }

    #[test]
    fn lines_end_where_pythons_do() {
        assert_eq!(cut("a\r\nb\rc\n\nd\u{2028}e\u{85}f\x1cg\x0bh\n"), ["a", "b", "c", "", "d", "e", "f", "g", "h"]);
        assert_eq!(cut(""), [""; 0]);
        assert_eq!(cut("\n"), [""]);
        assert_eq!(cut("é\u{2027}â"), ["é\u{2027}â"]);
    }

    #[test]
    fn runs_of_line_feeds_split_and_leave_empty_ends() {
        let split = |text, breaks| split_at_line_feeds(text, breaks).collect::<Vec<_>>();
        assert_eq!(split("a\nb\n\n\nc", 2), ["a\nb", "c"]);
        assert_eq!(split("\na\n\nb\n", 1), ["", "a", "b", ""]);
        assert_eq!(split("", 1), [""]);
    }

    #[test]
    fn separators_that_unicode_does_not_count_are_spaces() {
        assert_eq!(strip("\x1c\u{a0} a b\u{3000}\x1f"), "a b");
        assert_eq!(between_spaces(" a\u{2003}b\x1ec ").collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
