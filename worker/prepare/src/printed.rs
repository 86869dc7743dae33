//! Answers of the commands in the form for programs.

use common::untrusted::json_printable;
use serde::Serialize;

/// Returns `answer` as JSON of several lines. A terminal obeys nothing in it, whatever pages say about themselves.
pub fn json(answer: &impl Serialize) -> String {
    let json = serde_json::to_string_pretty(answer).unwrap_or_else(|e| unreachable!("an answer is JSON: {e}"));
    json_printable(&json).into_owned() + "\n"
}
