//! `launcher prepare`: the prepare program with the same arguments.

use std::process::Command;

use common::worker_contract::ExitCode;

use super::sibling;
use crate::cli::PrepareArgs;
use crate::error::LaunchError;
use crate::programs;

/// Runs the prepare program to its end.
pub fn run(args: &PrepareArgs) -> Result<ExitCode, LaunchError> {
    let mut command = Command::new(programs::prepare()?);
    sibling::pass_config(&mut command, &args.config);
    if args.json {
        command.arg("--json");
    }
    sibling::run(command)
}
