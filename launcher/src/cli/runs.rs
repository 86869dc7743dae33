//! Arguments of commands that look at a run, or ask something of it: status, metrics, stop.

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

/// `launcher metrics`.
#[derive(Debug, Args)]
pub struct MetricsArgs {
    #[command(flatten)]
    pub run: TargetArgs,
    /// Prints CSV: a header, and a line for each step. The default.
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Prints a JSON array with an object for each step.
    #[arg(long)]
    pub json: bool,
    /// Only prints every Nth step, and steps with a validation loss or tasks.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub every: u64,
    /// Begins with this step.
    #[arg(long, value_name = "STEP", default_value_t = 0, hide_default_value = true)]
    pub from: u64,
    /// Ends with this step.
    #[arg(long, value_name = "STEP", default_value_t = u64::MAX, hide_default_value = true)]
    pub to: u64,
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
