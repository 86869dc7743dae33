//! Standard error and standard output, as a terminal may be given them.

use std::io::{self, Write};

use common::untrusted::{json_printable, printable_lines};
use serde::Serialize;

/// Writes text to standard error, such that a terminal shows and does not obey what came from files, stores and ranks. Nobody is told
/// if there is nobody to read it.
pub fn to_stderr(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", printable_lines(text));
}

/// Writes text of the command's result to standard output, likewise.
pub fn to_stdout(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{}", printable_lines(text));
}

/// `value` as a command prints it with `--json`.
pub fn to_json(value: &impl Serialize) -> String {
    let json = serde_json::to_string_pretty(value);
    json_printable(&json.unwrap_or_else(|e| unreachable!("what commands print is JSON: {e}"))).into_owned()
}
