//! Words in the place of config keys, in messages of commands that read no config.

use std::fmt;

/// Keys and values of the config as messages have them, each with the flag of `prepare tokenizer` and `prepare survey`. What is
/// part of another comes after it.
const FLAGS: [(&str, &str); 4] = [
    ("prepare.on_bad_document = \"skip\"", "--on-bad-document skip"),
    ("prepare.text_field", "--text-field"),
    ("prepare.max_document_bytes", "--max-document-bytes"),
    ("prepare.inputs", "INPUT"),
];

/// Returns what is said of inputs, with flags in the place of the config's keys.
pub fn in_flags(said: &impl fmt::Display) -> String {
    in_words_of(&FLAGS, said)
}

/// Returns what is said of inputs, with the words of a command in the place of the config's, by a table of both.
pub fn in_words_of(table: &[(&str, &str)], said: &impl fmt::Display) -> String {
    table.iter().fold(said.to_string(), |text, (key, word)| text.replace(key, word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PrepareError;
    use crate::inputs::{BadDocument, Fault, Place};

    #[test]
    fn a_document_without_its_field_is_answered_with_both_flags_that_help() {
        let (url, place, reason) =
            ("x".into(), Place::Line(2), "no field \"text\" (prepare.text_field names another)".into());
        let bad = BadDocument { source: 0, position: 9, url, place, fault: Fault::NoText, reason };
        let expected = "x, line 2: no field \"text\" (--text-field names another); mend it, or leave such documents out with \
                        --on-bad-document skip";
        assert_eq!(in_flags(&PrepareError::BadDocument(bad)), expected);
    }
}
