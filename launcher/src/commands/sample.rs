//! `launcher sample`: runs `worker sample` with these arguments, and with the config on its standard input.

use std::process::Command;

use common::exit_code::ExitCode;

use super::{sibling, target};
use crate::cli::jobs::SampleArgs;
use crate::error::LaunchError;
use crate::programs;

/// Runs `worker sample` to its end.
pub fn run(args: &SampleArgs) -> Result<ExitCode, LaunchError> {
    let config = target::config(&args.config)?.run()?;
    let mut command = Command::new(programs::worker()?);
    command.args(["sample", "--from-launcher"]);
    let options = [
        ("prompt", args.prompt.clone()),
        ("tokens", args.tokens.map(|n| n.to_string())),
        ("temperature", args.temperature.map(|f| f.to_string())),
        ("top-k", args.top_k.map(|n| n.to_string())),
        ("top-p", args.top_p.map(|f| f.to_string())),
        ("seed", args.seed.map(|n| n.to_string())),
        ("checkpoint", args.checkpoint.clone()),
    ];
    for (name, value) in options.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        // Name and value are one word, so that a prompt may begin with a dash.
        command.arg(format!("--{name}={value}"));
    }
    sibling::run_on(command, &config.to_toml())
}
