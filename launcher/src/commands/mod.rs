//! The commands, one module each. Every one ends in an exit code or in a [`LaunchError`] that has one.

mod check;
mod checkpoints;
mod dry_run;
pub mod error;
mod eval;
#[cfg(test)]
mod fake_job;
mod following;
mod init;
mod launching;
mod manual;
mod metrics;
mod overrides;
mod prepare;
mod prepare_cluster;
mod prepare_first;
mod render;
mod run_folder;
mod sample;
mod shards;
mod sibling;
mod status;
mod stop;
mod target;
mod tokenizer;
mod train;

use common::exit_code::ExitCode;

use crate::cli::checkpoints::CheckpointsCommand;
use crate::cli::shards::ShardsCommand;
use crate::cli::tokenizer::TokenizerCommand;
use crate::cli::{Cli, Command};
use crate::error::LaunchError;

/// Runs the given command.
pub fn run(cli: Cli) -> Result<ExitCode, LaunchError> {
    match cli.command {
        Command::Init(args) => init::run(&args),
        Command::Prepare(args) => prepare::run(args),
        Command::Train(args) => train::run(args),
        Command::Render(args) => render::run(args),
        Command::Sample(args) => sample::run(&args),
        Command::Eval(args) => eval::run(args),
        Command::Check(args) => check::run(args),
        Command::Status(args) => status::run(&args),
        Command::Metrics(args) => metrics::run(&args),
        Command::Stop(args) => stop::run(&args),
        Command::Checkpoints(CheckpointsCommand::List(args)) => checkpoints::list(&args),
        Command::Checkpoints(CheckpointsCommand::Verify(args)) => checkpoints::verify(&args),
        Command::Checkpoints(CheckpointsCommand::Prune(args)) => checkpoints::prune(&args),
        Command::Checkpoints(CheckpointsCommand::Copy(args)) => checkpoints::copy(&args),
        Command::Checkpoints(CheckpointsCommand::Save(args)) => checkpoints::save(&args),
        Command::Tokenizer(TokenizerCommand::Encode(args)) => tokenizer::encode(&args),
        Command::Tokenizer(TokenizerCommand::Decode(args)) => tokenizer::decode(&args),
        Command::Tokenizer(TokenizerCommand::Train(args)) => tokenizer::train(&args),
        Command::Shards(ShardsCommand::Show(args)) => shards::show(&args),
        Command::Shards(ShardsCommand::Verify(args)) => shards::verify(&args),
        Command::Completions(args) => manual::completions(&args),
        Command::Manual(args) => manual::manual(&args),
    }
}
