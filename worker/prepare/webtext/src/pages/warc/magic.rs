//! Finds the beginning of a record among bytes that may be anything.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Most bytes by which the beginning of a record is recognized, the line end before it included.
pub(super) const MAGIC_BYTES: usize = 64;
/// Most bytes of a version line.
const VERSION_BYTES: usize = 32;
/// What a record begins with.
pub(super) const WARC: &[u8] = b"WARC/";

/// Returns where in `bytes`, from byte `from` on, a record begins: after a line end, with a version line and a field whose name
/// begins with `WARC-` or `Content-`. A page about WARC files may quote `WARC/1.0`, but rarely a header.
pub(super) fn find(bytes: &[u8], from: usize) -> Option<usize> {
    static LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\nWARC/"));
    let from = from.saturating_sub(1);
    let found = LINE.find_iter(bytes.get(from..)?).map(|at| from + at + 1);
    found.into_iter().find(|at| bytes.get(*at..).is_some_and(is_record))
}

/// Returns whether a record begins with `bytes`.
pub(super) fn is_record(bytes: &[u8]) -> bool {
    let begin = bytes.get(..VERSION_BYTES).unwrap_or(bytes);
    let Some(line_end) = memchr::memchr(b'\n', begin) else { return false };
    let (line, rest) = bytes.split_at(line_end + 1);
    let Some(version) = line.strip_prefix(WARC) else { return false };
    let is_version = version.trim_ascii().iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let begins = |name: &[u8]| rest.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name));
    is_version && !version.trim_ascii().is_empty() && (begins(b"WARC-") || begins(b"Content-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_where_a_header_begins_and_not_where_one_is_written_about() {
        let bytes = b"WARC/1.0\nWARC-\n WARC/1.0\r\nWARC-Type\nWARC/1.0 is\nWARC/1.1\r\ncontent-type: a\r\n";
        assert_eq!(find(bytes, 0), Some(48));
        assert_eq!((find(bytes, 48), find(bytes, 49)), (Some(48), None));
        assert_eq!((find(b"", 0), find(b"\nWARC/1.0\r\n", 0), find(b"\nWARC/", 9)), (None, None, None));
        assert!(is_record(b"WARC/0.18\nWARC-Type") && !is_record(b"WARC/\nWARC-Type") && !is_record(b"WARC/1.0"));
    }
}
