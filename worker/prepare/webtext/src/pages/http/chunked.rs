//! Chunked transfer coding.

/// Content of a chunked message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unchunked {
    pub content: Vec<u8>,
    /// Whether the last chunk is missing, or is shorter than it says.
    pub is_cut: bool,
}

/// Longest line of a chunk's size, with its extensions.
const LINE_BYTES: usize = 4 << 10;

/// Returns the content of the chunks in `body`; `None` if it does not begin with a chunk, and so is not chunked. What cannot be read as
/// a chunk further on ends the content.
pub(super) fn unchunk(body: &[u8]) -> Option<Unchunked> {
    let (mut length, mut rest) = next_size(body)?;
    let mut content = Vec::new();
    while length > 0 {
        let available = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
        let (chunk, after) = rest.split_at_checked(available)?;
        content.extend_from_slice(chunk);
        let is_whole = chunk.len() as u64 == length;
        let after = after.strip_prefix(b"\r\n").or_else(|| after.strip_prefix(b"\n")).unwrap_or(after);
        match next_size(after).filter(|_| is_whole) {
            Some(next) => (length, rest) = next,
            // The first of the chunks shows whether this is one: text may begin with a word such as "bad".
            None if !is_whole || after.is_empty() => return Some(Unchunked { content, is_cut: true }),
            None if content.len() == chunk.len() => return None,
            None => return Some(Unchunked { content, is_cut: true }),
        }
    }
    Some(Unchunked { content, is_cut: false })
}

/// Returns the size on the first line, and what follows the line.
fn next_size(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = memchr::memchr(b'\n', bytes.get(..LINE_BYTES).unwrap_or(bytes))?;
    let (line, rest) = bytes.split_at_checked(end + 1)?;
    let size = line.split(|byte| *byte == b';').next()?.trim_ascii();
    if !matches!(size.len(), 1..=16) || !size.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    Some((u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_and_cut_ones_kept_and_other_content_left_alone() {
        let check = |body: &str, expected: Option<(&str, bool)>| {
            let expected = expected.map(|(text, is_cut)| Unchunked { content: text.as_bytes().to_vec(), is_cut });
            assert_eq!(unchunk(body.as_bytes()), expected, "{body:?}");
        };
        check("3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n", Some(("abcdefg", false)));
        check("3\nabc\n0\n\n", Some(("abc", false)));
        check("A \r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", Some(("0123456789", false)));
        check("0\r\n\r\n", Some(("", false)));
        check("3\r\nabc\r\n", Some(("abc", true)));
        check("8\r\nabc", Some(("abc", true)));
        check("3\r\nabc\r\nzz\r\n", None);
        check("3\r\nabc\r\n3\r\ndef\r\nzz\r\n", Some(("abcdef", true)));
        check("ffffffffffffffff\r\nabc", Some(("abc", true)));
        check("11111111111111111\r\nabc", None);
        check("<p>3\r\nabc", None);
        check("", None);
        check("3", None);
        check(
            "bad\r\nnews travels fast, and is longer than three thousand bytes? no",
            Some(("news travels fast, and is longer than three thousand bytes? no", true)),
        );
    }
}
