//! Data files as they come: named, read line by line, with errors that say where.

/// A data file.
#[derive(Debug, Clone, Copy)]
pub struct DataFile<'a> {
    /// Name for errors: its path or URL.
    pub name: &'a str,
    /// Contents.
    pub content: &'a [u8],
}

/// Why a data file is not what its task reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// A line, or an entry that begins at it, is malformed.
    #[error("{file}:{line}: expected {expected}, found {found}")]
    Malformed {
        /// Name of the file.
        file: String,
        /// Number of the line, from 1.
        line: usize,
        /// What the format has there.
        expected: String,
        /// What is there, shortened.
        found: String,
    },
    /// The file is not text.
    #[error("{file}: expected UTF-8, but byte {byte} (line {line}) is not")]
    NotText {
        /// Name of the file.
        file: String,
        /// Offset of the first wrong byte.
        byte: usize,
        /// Number of its line, from 1.
        line: usize,
    },
    /// The file has no items.
    #[error("{file} is empty: expected {expected}")]
    Empty {
        /// Name of the file.
        file: String,
        /// What the format has.
        expected: String,
    },
}

/// Characters of a malformed text that an error shows.
const SHOWN: usize = 80;

/// Returns `text` as an error shows it: quoted, with escapes, and shortened.
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?} and more", &text[..end]),
        None => format!("{text:?}"),
    }
}

impl<'a> DataFile<'a> {
    /// Returns the contents as text, without a byte order mark.
    ///
    /// # Errors
    /// Returns the place of the first byte that is not UTF-8.
    pub fn text(&self) -> Result<&'a str, DataError> {
        let text = std::str::from_utf8(self.content).map_err(|error| {
            let byte = error.valid_up_to();
            let line = 1 + self.content[..byte].iter().filter(|byte| **byte == b'\n').count();
            DataError::NotText { file: self.name.to_owned(), byte, line }
        })?;
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    /// Returns the lines, without their ends (LF or CR LF), each with its number. The last line may lack its end.
    pub fn lines(&self) -> Result<impl Iterator<Item = (usize, &'a str)> + use<'a>, DataError> {
        Ok(self.text()?.lines().enumerate().map(|(index, line)| (index + 1, line)))
    }

    /// Reads one item from each line.
    ///
    /// # Errors
    /// Returns the first error of `read`, or that there is no line.
    pub fn read_lines<T>(
        &self,
        expected: &str,
        read: impl Fn(usize, &'a str) -> Result<T, DataError>,
    ) -> Result<Vec<T>, DataError> {
        let items = self.lines()?.map(|(number, line)| read(number, line)).collect::<Result<Vec<T>, _>>()?;
        if items.is_empty() { Err(self.empty(expected)) } else { Ok(items) }
    }

    /// Reads the JSON object on each line, with its number.
    ///
    /// # Errors
    /// Returns the first line that is not such an object. `expected` says which.
    pub fn json_lines<T: serde::de::DeserializeOwned>(&self, expected: &str) -> Result<Vec<(usize, T)>, DataError> {
        self.read_lines(expected, |number, line| match serde_json::from_str(line) {
            Ok(value) => Ok((number, value)),
            Err(error) => Err(self.malformed(number, expected, format!("{} ({error})", shown(line)))),
        })
    }

    /// Returns the error for the entry that begins at `line`.
    pub fn malformed(&self, line: usize, expected: impl Into<String>, found: impl Into<String>) -> DataError {
        DataError::Malformed { file: self.name.to_owned(), line, expected: expected.into(), found: found.into() }
    }

    /// Returns the error for a file without items.
    pub fn empty(&self, expected: &str) -> DataError {
        DataError::Empty { file: self.name.to_owned(), expected: expected.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> DataFile<'_> {
        DataFile { name: "x.txt", content }
    }

    #[test]
    fn bytes_that_are_not_text_are_found_with_their_line() {
        let error = file(b"good\nb\xffd\n").text().unwrap_err();
        assert_eq!(error.to_string(), "x.txt: expected UTF-8, but byte 6 (line 2) is not");
    }

    #[test]
    fn a_malformed_json_line_is_named_and_shortened() {
        let content = format!("{{\"text\": \"a\"}}\n[{}\n", "1,".repeat(200));
        let error =
            file(content.as_bytes()).json_lines::<std::collections::HashMap<String, String>>("an object").unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("x.txt:2: expected an object, found \"[1,1,"), "{message}");
        assert!(message.len() < 300, "{message}");
    }

    #[test]
    fn a_byte_order_mark_carriage_returns_and_the_last_line_end_are_no_text() {
        let lines: Vec<_> = file("\u{feff}a\r\nb\n".as_bytes()).lines().unwrap().collect();
        assert_eq!(lines, [(1, "a"), (2, "b")]);
        assert!(matches!(file(b"").read_lines("lines", |_, line| Ok(line)), Err(DataError::Empty { .. })));
    }
}
