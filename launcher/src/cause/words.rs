//! Reads the lines that ranks and mpirun print for what they say about an end.

use common::topology::Rank;

/// Returns whether to show this line of a rank to a person who watches: warnings, errors and panics.
pub fn is_worth_showing(line: &str) -> bool {
    has_level(line, "WARN") || is_error(line)
}

/// Returns whether a line of a rank reports an error.
pub fn is_error(line: &str) -> bool {
    has_level(line, "ERROR")
        || line.contains("panicked at")
        || line.to_ascii_lowercase().starts_with("error")
        || missing_library(line).is_some()
}

/// Returns the shared library that a program lacks, where the system's loader says so with `line`.
pub(super) fn missing_library(line: &str) -> Option<&str> {
    let (_, said) = line.split_once(": error while loading shared libraries: ")?;
    said.split_once(": ").map(|(library, _)| library)
}

/// Returns whether `line` has this level. Lines of tracing have it second; other programs begin with it.
fn has_level(line: &str, level: &str) -> bool {
    line.split_whitespace().take(2).any(|word| word == level)
}

/// Returns whether `line` begins a message: further lines of one have neither time nor level.
pub fn begins_message(line: &str) -> bool {
    ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].iter().any(|level| has_level(line, level))
}

/// Returns a rank's line without its time, its level and the rank.
pub fn words_of(line: &str) -> &str {
    let said = line.strip_prefix("error: ").unwrap_or(line);
    let said = said.split_once("ERROR ").map_or(said, |(_, said)| said);
    let of_rank = said.strip_prefix("rank ").and_then(|rest| rest.split_once(": "));
    of_rank.filter(|(rank, _)| rank.bytes().all(|byte| byte.is_ascii_digit())).map_or(said, |(_, said)| said)
}

/// Returns whether a rank says with `line` that MPI_Init has failed. mpirun may then wait for the others for ever.
pub fn says_that_mpi_failed(line: &str) -> bool {
    line.contains("An error occurred in MPI_Init")
}

/// Returns mpirun's lines without its rulers and its routine phrases.
pub(super) fn said(lines: &[String]) -> impl Iterator<Item = &str> {
    let routine = ["Primary job", "a non-zero exit code. Per user-direction", "mpirun: Forwarding signal"];
    let is_said =
        move |line: &&str| !line.trim_matches('-').is_empty() && !routine.iter().any(|phrase| line.starts_with(phrase));
    lines.iter().map(|line| line.trim()).filter(is_said)
}

/// Reads the rank from mpirun's `... process rank 1 with PID ...` or `Process name: [[11317,1],1]`.
pub(super) fn rank_in(line: &str) -> Option<Rank> {
    let digits = match (line.split_once("process rank "), line.strip_prefix("Process name: ")) {
        (Some((_, rest)), _) => rest.split_whitespace().next()?,
        (None, Some(name)) => name.rsplit_once(',')?.1.trim_end_matches(']'),
        (None, None) => return None,
    };
    digits.parse().ok().map(Rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_and_errors_are_shown_and_the_rest_is_not() {
        for line in [
            "2026-01-01T00:00:00Z  WARN slow",
            "2026-01-01T00:00:00Z ERROR gone",
            "error: no",
            "thread 'main' panicked at x",
        ] {
            assert!(is_worth_showing(line), "{line}");
        }
        for line in ["2026-01-01T00:00:00Z  INFO step 1", "no ERROR here", ""] {
            assert!(is_worth_showing(line) == line.starts_with("no ERROR"), "{line}");
        }
    }
}
