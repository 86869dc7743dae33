//! Bounds on texts that are stored: whoever writes a page chooses its address and its words, and none of them may be endless.

/// Longest URL that is stored, in bytes.
pub const URL_BYTES_MAX: usize = 2048;

/// Cuts `text` to at most `bytes_max` bytes, at the end of a character.
pub fn cut(text: &mut String, bytes_max: usize) {
    let end = beginning(text, bytes_max).len();
    text.truncate(end);
}

/// Returns the beginning of `text` of at most `bytes_max` bytes, which ends where a character does.
pub fn beginning(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_a_character_ends() {
        for (bytes_max, expected) in
            [(0, ""), (1, "a"), (2, "a"), (3, "aé"), (4, "aé"), (5, "aé"), (6, "aé€"), (99, "aé€")]
        {
            let mut text = "aé€".to_owned();
            assert_eq!(beginning(&text, bytes_max), expected);
            cut(&mut text, bytes_max);
            assert_eq!(text, expected);
        }
    }
}
