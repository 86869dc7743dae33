//! Writes to standard error and standard output what a terminal may be given.

use std::io::{self, Write};

use common::untrusted::{json_printable, printable_lines};
use serde::Serialize;

/// Writes text to standard error, with control characters escaped: a terminal shows, and does not obey, what came from files,
/// stores and ranks. Failures to write are ignored.
pub fn to_stderr(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", printable_lines(text));
}

/// Writes text of a command's result to standard output, escaped as [`to_stderr`] does, with failures ignored.
pub fn to_stdout(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{}", printable_lines(text));
}

/// Formats `value` as commands print it with `--json`.
pub fn to_json(value: &impl Serialize) -> String {
    let json = serde_json::to_string_pretty(value);
    json_printable(&json.unwrap_or_else(|e| unreachable!("what commands print is JSON: {e}"))).into_owned()
}
