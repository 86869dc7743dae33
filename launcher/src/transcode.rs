//! Converts documents to JSON arrays of token ids and back, over any reader and writer, as docs/tokenizer.md specifies.
//!
//! The whole input is one document (or one array), or every line is one, as JSON. Lines that have arrived are read at once
//! and shared out over the cores: memory is bounded, and a program that waits for the answer to a line before it writes the
//! next one gets it.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};

use common::exit_code::ExitCode;
use common::threads;
use common::tokenizer::Tokenizer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Unexpected, Visitor};

/// Bytes that are read at once, and about the size of all lines in memory.
const BATCH_BYTES: usize = 8 << 20;

/// Why a part of the input was not transcoded.
#[derive(Debug, thiserror::Error)]
pub enum TranscodeError {
    /// Reading the input failed.
    #[error("cannot read standard input: {0}")]
    Input(io::Error),
    /// Writing the output failed.
    #[error("cannot write standard output: {0}")]
    Output(io::Error),
    /// The input is malformed.
    #[error("standard input, line {line}, column {column}: {reason}; give {expected}")]
    Malformed {
        /// Line of the fault, counted from 1.
        line: u64,
        /// Byte in the line at which the parser saw the fault, counted from 1.
        column: usize,
        /// What is wrong.
        reason: String,
        /// What the input should have there.
        expected: &'static str,
    },
}

impl TranscodeError {
    /// Returns the exit code of a process that ends because of this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            TranscodeError::Input(_) | TranscodeError::Malformed { .. } => ExitCode::Data,
            TranscodeError::Output(_) => ExitCode::Storage,
        }
    }

    fn malformed(line: u64, expected: &'static str, error: &serde_json::Error) -> Self {
        let message = error.to_string();
        // The parser counts lines from where it began, so its own position is cut off.
        let reason = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason).to_owned();
        TranscodeError::Malformed { line, column: error.column().max(1), reason, expected }
    }
}

type Result<T> = std::result::Result<T, TranscodeError>;

/// Encodes text to ids.
#[derive(Clone, Copy)]
pub struct Encoder<'t> {
    /// Tokenizer that encodes.
    pub tokenizer: &'t Tokenizer,
    /// Whether the text of a special token becomes that token.
    pub special: bool,
}

impl Encoder<'_> {
    fn ids(self, text: &str) -> Vec<u16> {
        if self.special { self.tokenizer.encode_with_special(text) } else { self.tokenizer.encode(text) }
    }

    /// Encodes all of `input` as one document, and writes one line with its ids.
    pub fn document(self, mut input: impl Read, mut output: impl Write) -> Result<()> {
        let mut content = Vec::new();
        input.read_to_end(&mut content).map_err(TranscodeError::Input)?;
        let ids = self.ids(&String::from_utf8_lossy(&content));
        serde_json::to_writer(&mut output, &ids).map_err(|e| TranscodeError::Output(e.into()))?;
        output.write_all(b"\n").and_then(|()| output.flush()).map_err(TranscodeError::Output)
    }

    /// Encodes every line of `input`, a JSON string, and writes a line with its ids.
    pub fn lines(self, input: impl Read, output: impl Write) -> Result<()> {
        let expected = "a JSON string on every line, such as \"some text\"";
        each_line(input, output, expected, |line| {
            let text: String = serde_json::from_str(&String::from_utf8_lossy(line))?;
            serde_json::to_vec(&self.ids(&text))
        })
    }
}

/// Decodes ids to text.
#[derive(Clone, Copy)]
pub struct Decoder<'t> {
    /// Tokenizer that decodes.
    pub tokenizer: &'t Tokenizer,
}

impl Decoder<'_> {
    /// Decodes all of `input`, one JSON array of ids, and writes the bytes of each id as it is read.
    pub fn document(self, input: impl Read, mut output: impl Write) -> Result<()> {
        let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 16, input));
        let mut failed = None;
        let ids = Ids { tokenizer: self.tokenizer, output: &mut output, failed: &mut failed };
        let done = ids.deserialize(&mut json).and_then(|()| json.end());
        // What came before a fault is written, too.
        let flushed = output.flush();
        match (failed, done) {
            (Some(error), _) => Err(TranscodeError::Output(error)),
            (None, Ok(())) => flushed.map_err(TranscodeError::Output),
            (None, Err(error)) if error.is_io() => Err(TranscodeError::Input(error.into())),
            (None, Err(error)) => {
                let expected = "one JSON array of ids, such as [15496, 11]";
                Err(TranscodeError::malformed(error.line() as u64, expected, &error))
            }
        }
    }

    /// Decodes every line of `input`, a JSON array of ids, and writes a line with its text as a JSON string.
    pub fn lines(self, input: impl Read, output: impl Write) -> Result<()> {
        let expected = "a JSON array of ids on every line, such as [15496, 11]";
        each_line(input, output, expected, |line| {
            let (mut bytes, mut failed) = (Vec::new(), None);
            let mut json = serde_json::Deserializer::from_slice(line);
            Ids { tokenizer: self.tokenizer, output: &mut bytes, failed: &mut failed }.deserialize(&mut json)?;
            json.end()?;
            serde_json::to_vec(&String::from_utf8_lossy(&bytes))
        })
    }
}

/// Writes the result of `transcode` for each line of `input`, in order, on all cores.
fn each_line(
    input: impl Read,
    mut output: impl Write,
    expected: &'static str,
    transcode: impl Fn(&[u8]) -> serde_json::Result<Vec<u8>> + Sync,
) -> Result<()> {
    let mut input = BufReader::with_capacity(BATCH_BYTES, input);
    let mut batch = Vec::new();
    let mut number = 0;
    loop {
        read_lines(&mut input, &mut batch).map_err(TranscodeError::Input)?;
        if batch.is_empty() {
            return Ok(());
        }
        let lines: Vec<&[u8]> = batch.split_inclusive(|byte| *byte == b'\n').collect();
        for result in threads::map(&lines, threads::cores(), |line| transcode(line.trim_ascii_end())) {
            number += 1;
            match result {
                Ok(line) => output.write_all(&line).and_then(|()| output.write_all(b"\n")),
                Err(error) => {
                    output.flush().map_err(TranscodeError::Output)?;
                    return Err(TranscodeError::malformed(number, expected, &error));
                }
            }
            .map_err(TranscodeError::Output)?;
        }
        output.flush().map_err(TranscodeError::Output)?;
    }
}

/// Fills `batch` with the whole lines that have arrived, at least one; with none at the end of the input.
fn read_lines(input: &mut BufReader<impl Read>, batch: &mut Vec<u8>) -> io::Result<()> {
    batch.clear();
    input.read_until(b'\n', batch)?;
    let arrived = input.buffer();
    let whole = arrived.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    batch.extend_from_slice(&arrived[..whole]);
    input.consume(whole);
    Ok(())
}

/// Reads a JSON array of ids and writes the bytes of each.
struct Ids<'a, W> {
    tokenizer: &'a Tokenizer,
    output: &'a mut W,
    /// Error of writing to `output`, if there was one.
    failed: &'a mut Option<io::Error>,
}

impl<'de, W: Write> DeserializeSeed<'de> for Ids<'_, W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, W: Write> Visitor<'de> for Ids<'_, W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of token ids")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut ids: A) -> std::result::Result<(), A::Error> {
        while let Some(bytes) = ids.next_element_seed(Id(self.tokenizer))? {
            if let Err(error) = self.output.write_all(bytes) {
                *self.failed = Some(error);
                return Err(A::Error::custom("the output takes no more"));
            }
        }
        Ok(())
    }
}

/// Reads an id and returns the bytes of its token.
struct Id<'t>(&'t Tokenizer);

impl<'de, 't> DeserializeSeed<'de> for Id<'t> {
    type Value = &'t [u8];

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<&'t [u8], D::Error> {
        json.deserialize_u64(self)
    }
}

impl<'t> Visitor<'_> for Id<'t> {
    type Value = &'t [u8];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a token id from 0 to {}", self.0.size() - 1)
    }

    fn visit_u64<E: serde::de::Error>(self, id: u64) -> std::result::Result<&'t [u8], E> {
        let token = u16::try_from(id).ok().and_then(|id| self.0.token(id));
        token.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(id), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        Tokenizer::gpt2().unwrap()
    }

    #[test]
    fn lines_keep_their_order_over_many_batches() {
        let tokenizer = tokenizer();
        let texts: Vec<String> = (0..40_000).map(|n| format!("line {n} \"é\"\n{}", "x".repeat(n % 700))).collect();
        let input: String = texts.iter().map(|text| serde_json::json!(text).to_string() + "\n").collect();
        assert!(input.len() > BATCH_BYTES);
        let (mut ids, mut back) = (Vec::new(), Vec::new());
        Encoder { tokenizer: &tokenizer, special: false }.lines(input.as_bytes(), &mut ids).unwrap();
        Decoder { tokenizer: &tokenizer }.lines(ids.as_slice(), &mut back).unwrap();
        assert!(back == input.as_bytes());
    }

    /// A reader that returns one line, and the next one only when the first is answered.
    #[test]
    fn a_line_is_answered_before_the_next_one_is_read() {
        use std::cell::RefCell;
        struct Peer<'a>(std::slice::Iter<'a, &'a str>, &'a RefCell<Vec<u8>>, usize);
        impl Read for Peer<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let answers = self.1.borrow().iter().filter(|byte| **byte == b'\n').count();
                assert_eq!(answers, self.2);
                self.2 += 1;
                self.0.next().unwrap_or(&"").as_bytes().read(buffer)
            }
        }
        struct Answers<'a>(&'a RefCell<Vec<u8>>);
        impl Write for Answers<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.borrow_mut().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (tokenizer, answers) = (tokenizer(), RefCell::new(Vec::new()));
        let peer = Peer(["\"Hello\"\n", "\"\"\n"].iter(), &answers, 0);
        Encoder { tokenizer: &tokenizer, special: false }.lines(peer, Answers(&answers)).unwrap();
        assert_eq!(answers.into_inner(), b"[15496]\n[]\n");
    }

    #[test]
    fn faults_are_named_by_place_and_what_is_expected() {
        let tokenizer = tokenizer();
        let check = |input: &str, line: u64, expected: &str| {
            let error = Decoder { tokenizer: &tokenizer }.document(input.as_bytes(), Vec::new()).unwrap_err();
            assert_eq!(error.exit_code(), ExitCode::Data);
            let message = error.to_string();
            assert!(message.starts_with(&format!("standard input, line {line}, column ")), "{message}");
            assert!(
                message.ends_with(&format!(": {expected}; give one JSON array of ids, such as [15496, 11]")),
                "{message}"
            );
        };
        check("", 1, "EOF while parsing a value");
        check("[1,\n50257]", 2, "invalid value: integer `50257`, expected a token id from 0 to 50256");
        check("[-1]", 1, "invalid type: integer `-1`, expected a token id from 0 to 50256");
        check("[1.5]", 1, "invalid type: floating point `1.5`, expected a token id from 0 to 50256");
        check("[1, 2", 1, "EOF while parsing a list");
        check("[1]\n[2]", 2, "trailing characters");
        check("\"a\"", 1, "invalid type: string \"a\", expected an array of token ids");
    }
}
