//! The lines `name: value` of a header, of a WARC record or an HTTP message.
//!
//! Line ends may be CR LF or LF; a line that begins with a space continues the one before; lines without a colon are skipped.

use std::borrow::Cow;

/// Lines of a header, without its first line.
#[derive(Clone, Copy)]
pub(in crate::pages) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Reads the header `header`, whose first line is no field.
    pub fn after_first_line(header: &'a [u8]) -> Self {
        let first = memchr::memchr(b'\n', header).map_or(header.len(), |end| end + 1);
        Fields(header.get(first..).unwrap_or_default())
    }

    /// Returns all fields, as name and value.
    fn all(self) -> impl Iterator<Item = (&'a [u8], Cow<'a, [u8]>)> {
        let mut lines = self.0.split(|byte| *byte == b'\n').peekable();
        std::iter::from_fn(move || {
            loop {
                let line = lines.next()?;
                let Some(colon) = memchr::memchr(b':', line) else { continue };
                let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
                let mut value = Cow::Borrowed(value.trim_ascii());
                while let Some(more) = lines.next_if(|line| matches!(line.first(), Some(b' ' | b'\t'))) {
                    let more = more.trim_ascii();
                    if !more.is_empty() {
                        let value = value.to_mut();
                        value.push(b' ');
                        value.extend_from_slice(more);
                    }
                }
                return Some((name.trim_ascii(), value));
            }
        })
    }

    /// Returns the values of all fields of this name.
    pub fn every(self, name: &'static str) -> impl Iterator<Item = Cow<'a, [u8]>> {
        self.all().filter(move |(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Returns the first value that is not empty of the fields of this name.
    pub fn get(self, name: &'static str) -> Option<Cow<'a, [u8]>> {
        self.every(name).find(|value| !value.is_empty())
    }

    /// Returns the first value that is not empty of the fields of this name, as text.
    pub fn text(self, name: &'static str) -> Option<String> {
        self.get(name).map(|value| String::from_utf8_lossy(&value).into_owned())
    }
}

/// Where a header ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pages) struct End {
    /// End of the last field.
    pub header: usize,
    /// Begin of what follows.
    pub next: usize,
    /// Whether a blank line separates them.
    pub has_blank_line: bool,
}

/// Returns the end of the header that `bytes` begin with, at a blank line or before a line of which `is_no_field` holds. That
/// is asked about lines after the first, with the header up to there. Only whole lines are looked at.
pub(in crate::pages) fn end_of_header(bytes: &[u8], is_no_field: impl Fn(&[u8], &[u8]) -> bool) -> Option<End> {
    let mut start = 0;
    for line_end in memchr::memchr_iter(b'\n', bytes) {
        let (header, line) = (bytes.get(..start)?, bytes.get(start..line_end)?);
        if line.is_empty() || line == b"\r" {
            return Some(End { header: start, next: line_end + 1, has_blank_line: true });
        }
        if start > 0 && is_no_field(header, line) {
            return Some(End { header: start, next: start, has_blank_line: false });
        }
        start = line_end + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_whatever_their_case_and_line_ends_and_folds() {
        let header = b"WARC/1.0\r\nno field\r\nA: 1\nEMPTY:\r\nempty: x\r\nb : two\r\n\t words \r\n a: 3\r\nc:d:e";
        let fields = Fields::after_first_line(header);
        let get = |name| fields.text(name);
        assert_eq!(get("a").unwrap(), "1");
        assert_eq!(get("empty").unwrap(), "x");
        // What begins with a space belongs to the line before.
        assert_eq!(get("B").unwrap(), "two words a: 3");
        assert_eq!(get("c").unwrap(), "d:e");
        assert_eq!((get("no field"), get("")), (None, None));
        assert_eq!(fields.every("A").count(), 1);
    }

    #[test]
    fn a_header_ends_at_its_first_blank_line_or_before_what_is_no_field() {
        let check = |bytes: &str, expected: Option<(usize, usize)>| {
            let end = end_of_header(bytes.as_bytes(), |_, line| line.starts_with(b"<"));
            assert_eq!(end.map(|end| (end.header, end.next)), expected, "{bytes:?}");
        };
        check("a\r\nb: c\r\n\r\nx", Some((9, 11)));
        check("a\nb: c\n\nx", Some((7, 8)));
        check("a\nb: c\n<p>\n\n", Some((7, 7)));
        check("<a>\n\nb", Some((4, 5)));
        check("a\r\nb: c\r\n", None);
        check("\r\nx", Some((0, 2)));
        check("", None);
    }
}
