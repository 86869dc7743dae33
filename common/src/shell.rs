//! Words of a shell, for commands that people copy from a message.

/// Quotes `text` as one word of a shell.
pub fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    let is_word = !text.is_empty() && text.chars().all(is_plain);
    if is_word { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_read_otherwise_is_quoted() {
        for (text, word) in [
            ("run/a.toml", "run/a.toml"),
            ("", "''"),
            ("it's", r"'it'\''s'"),
            ("a=[\"b\"]", "'a=[\"b\"]'"),
            ("*", "'*'"),
        ] {
            assert_eq!(quoted(text), word);
        }
    }
}
