//! Arguments of commands that look at a run, or ask something of it: status, stop.

use clap::Args;

use super::shared::{TargetArgs, YEAR_S};

/// `launcher status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub run: TargetArgs,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// `launcher stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    #[command(flatten)]
    pub run: TargetArgs,
    /// Seconds to wait for the end; 0 asks without waiting.
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u64).range(..=YEAR_S))]
    pub wait_s: u64,
}
