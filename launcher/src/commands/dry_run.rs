//! What a prepare job would read, or why it would be refused: the answer of `prepare dry-run`, for commands that only look.

use std::path::Path;
use std::process::{Output, Stdio};

use serde::Deserialize;

use super::prepare;
use crate::error::LaunchError;

/// What a prepare job would read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Inputs {
    /// Number of objects.
    pub objects: u64,
    /// Size of these objects in bytes, as they are stored.
    pub bytes: u64,
}

/// The part of the answer that is read here.
#[derive(Deserialize)]
struct DryRun {
    inputs: Inputs,
}

/// Asks the prepare program what the job of the config at `path` would read. The error is why there is no answer, which is why the
/// job would be refused.
pub fn inputs(path: &Path, overrides: &[String]) -> Result<Inputs, String> {
    let mut command = prepare::question("dry-run", path, overrides, true).map_err(|error| error.to_string())?;
    // What it passes over on its way is no news here.
    let output = command.env("RUST_LOG", "error").stdin(Stdio::null()).output();
    let start = |source| LaunchError::Start { program: command.get_program().into(), source };
    output.map_err(|error| start(error).to_string()).and_then(|output| read(&output))
}

/// Reads the answer of a prepare program that has ended.
fn read(output: &Output) -> Result<Inputs, String> {
    if output.status.success() {
        let answer = serde_json::from_slice::<DryRun>(&output.stdout);
        return answer.map(|answer| answer.inputs).map_err(|error| {
            format!("the prepare program printed no dry run: {error}; build launcher and prepare from one version")
        });
    }
    let said = format!("\n{}", String::from_utf8_lossy(&output.stderr).trim());
    Err(match said.split_once("\nerror: ") {
        Some((_, reason)) => reason.to_owned(),
        None => format!("the prepare program ended ({}): {}", output.status, said.trim()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    fn read_of(status: i32, stdout: &str, stderr: &str) -> Result<Inputs, String> {
        read(&Output { status: ExitStatus::from_raw(status), stdout: stdout.into(), stderr: stderr.into() })
    }

    #[test]
    fn an_answer_has_what_would_be_read_and_a_refusal_its_reason() {
        let answer = r#"{ "inputs": { "objects": 2, "bytes": 3000 }, "token_shards": "missing" }"#;
        assert_eq!(read_of(0, answer, ""), Ok(Inputs { objects: 2, bytes: 3000 }));
        let told = read_of(0, "[]", "").unwrap_err();
        assert!(told.contains("printed no dry run") && told.ends_with("from one version"), "{told}");
        let said = "2026-01-01T00:00:00Z ERROR x\nerror: nothing to read,\nhere or there\n";
        assert_eq!(read_of(3 << 8, "", said).unwrap_err(), "nothing to read,\nhere or there");
        assert_eq!(read_of(2 << 8, "", "error: run.toml: error: line 3\n").unwrap_err(), "run.toml: error: line 3");
        let told = read_of(9, "", "thread 'main' failed\n").unwrap_err();
        assert!(told.contains("signal: 9") && told.ends_with(": thread 'main' failed"), "{told}");
    }
}
