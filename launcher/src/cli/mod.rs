//! The command line, as clap derives it: commands, and their arguments in a file for each group.
//!
//! - [`init`]: init. [`jobs`]: prepare, train, render, sample, check. [`runs`]: status, metrics, stop.
//! - [`evaluation`]: eval. [`checkpoints`], [`tokenizer`], [`shards`]: commands that have subcommands.
//! - [`manual`]: completions, manual.
//! - [`shared`]: arguments of several commands.
//!
//! Absent on purpose: what commands do with their arguments ([`crate::commands`]).

pub mod checkpoints;
pub mod evaluation;
pub mod init;
pub mod jobs;
pub mod manual;
pub mod runs;
pub mod shards;
pub mod shared;
pub mod tokenizer;

use clap::{Parser, Subcommand};

use checkpoints::CheckpointsCommand;
use evaluation::EvalArgs;
use init::InitArgs;
use jobs::{CheckArgs, PrepareArgs, RenderArgs, SampleArgs, TrainArgs};
use manual::{CompletionsArgs, ManualArgs};
use runs::{MetricsArgs, StatusArgs, StopArgs};
use shards::ShardsCommand;
use tokenizer::TokenizerCommand;

/// Convoy trains GPT-2 on many ranks: prepares data, starts and restarts training, samples from the result.
///
/// Exit codes: 0 done; 2 usage or config; 3 data missing, corrupt or denied, or a disk or store is full; 4 communication
/// failed, a rank was lost, or ranks differ; 5 loss or gradients not finite, or outliers; 6 storage unreachable past its
/// deadline; 70 a bug; 75 stopped on request, and running the command again resumes.
#[derive(Debug, Parser)]
#[command(name = "launcher", version, arg_required_else_help = true)]
pub struct Cli {
    /// Command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands; each has its own module in [`crate::commands`].
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Looks at a text and at this machine, and writes a first config for them, to prepare and to train.
    ///
    /// The config is commented, and its sizes are such that a first run takes minutes. The next commands go to standard output.
    #[command(after_help = "Examples:\n  launcher init book.txt\n  launcher init notes/ --output notes.toml\n  \
                      launcher init 's3://bucket/web/*.jsonl.zst' --device cpu")]
    Init(InitArgs),
    /// Turns documents into shuffled, tokenized shards and their index.
    ///
    /// The shards are identical for any number of ranks. Running the command again continues a job that was killed or
    /// stopped, and does nothing once the data is there. Ctrl-C or SIGTERM stops it, with exit code 75. A job that lost a
    /// rank or its storage is restarted, launch.max_restarts times in a row without progress.
    ///
    /// In a Kubernetes cluster the ranks are those of an MPIJob, and every place that they read or write is the URL of an object
    /// store.
    #[command(after_help = "Examples:\n  launcher prepare configs/prepare-text.toml --ranks 4\n  \
                      launcher prepare k8s/overlays/prepare/prepare.toml --ranks 16\n  \
                      launcher prepare configs/prepare-text.toml --set 'prepare.inputs=s3://bucket/web/*.jsonl.zst'\n  \
                      launcher prepare configs/prepare-webtext.toml --dry-run")]
    Prepare(PrepareArgs),
    /// Starts the run that the config names, or resumes it. A run folder resumes with the config in it.
    ///
    /// Where the training data is not there, and the config has a section `prepare` that makes it, `launcher prepare` is done
    /// first. Where Slurm or Kubernetes would start the ranks, the command is refused instead, and says what to type first.
    ///
    /// Ctrl-C, SIGTERM or a closed terminal (unless under nohup) saves a checkpoint and exits 75; a second Ctrl-C ends at
    /// once and exits 4. A run that lost a rank or its storage, or that no longer advances, is restarted from its newest
    /// checkpoint, launch.max_restarts times in a row without progress. Progress goes to standard error; the last line on
    /// standard output is `validation loss X.XX`.
    ///
    /// A run that is done trains no further: give it more steps (train.max_steps), begin it again with --from-scratch, or go
    /// back to one of its checkpoints with --from. configs/README.md says what may change when a run resumes.
    #[command(after_help = "Examples:\n  launcher train configs/tiny-cpu.toml --ranks 2 --set train.max_steps=500\n  \
                      launcher train runs/first\n  \
                      launcher train run.toml --from 2000 --accept-change optimizer.peak_learning_rate\n  \
                      launcher train run.toml --from-scratch")]
    Train(TrainArgs),
    /// Prints exactly what `launcher train` would start the ranks with, without starting anything.
    ///
    /// The output holds no secret. For Kubernetes it is an MPIJob that claims its attempts itself, with the objects that
    /// belong to it. For a config without a run it is what `launcher prepare` would start. `launcher eval --render` and `launcher
    /// prepare --render` print theirs.
    #[command(after_help = "Examples:\n  launcher render configs/tiny-cpu.toml --ranks 2\n  \
                      launcher render k8s/overlays/cpu/run.toml | kubectl apply -f -")]
    Render(RenderArgs),
    /// Continues a prompt with text from a checkpoint.
    #[command(
        after_help = "Examples:\n  launcher sample configs/tiny-cpu.toml --prompt \"A hacker is\" --tokens 100\n  \
                      launcher sample s3://bucket/runs/first --prompt \"The\""
    )]
    Sample(SampleArgs),
    /// Evaluates a checkpoint by tasks on any number of ranks, and prints the table beside published figures.
    ///
    /// An item's score has the same digits on any number of ranks, with equal threads for each. Scores are kept in the run folder:
    /// running the command again continues a job that was killed or stopped, and only prints the table once all are there.
    /// Ctrl-C or SIGTERM stops it, with exit code 75. docs/evaluation.md has the formula and the data of every task.
    ///
    /// In a Kubernetes cluster the ranks are those of an MPIJob, and every place that they read or write is the URL of an object
    /// store; --samples writes a file of this machine anywhere.
    #[command(after_help = "Examples:\n  launcher eval --list\n  \
                      launcher eval --config run.toml --tasks lambada_openai_last_token,wikitext2 --data eval-data --ranks 2\n  \
                      launcher eval --checkpoint s3://bucket/runs/first/checkpoints/step-00002000-a0001-k3x7 --tasks text=notes.txt\n  \
                      launcher eval s3://bucket/runs/first --backend kubernetes --ranks 8 --tasks all --data s3://bucket/eval-data")]
    Eval(EvalArgs),
    /// Checks everything that a run needs, before it is paid for: config, storage, data, hosts, GPUs, network.
    ///
    /// Prints a line for each check: ok, warning, or failed with what to do. The run is not claimed, and test objects are
    /// removed from the run folder. Exit code 3 if a check failed.
    #[command(after_help = "Examples:\n  launcher check run.toml --ranks 16\n  \
                      launcher check run.toml --output s3://bucket/runs/second")]
    Check(CheckArgs),
    /// Shows the state of a run, from its folder: its holder, its progress, and how it last ended.
    #[command(after_help = "Examples:\n  launcher status s3://bucket/runs/first\n  \
                      launcher status configs/tiny-cpu.toml --json")]
    Status(StatusArgs),
    /// Prints the metrics of a run as CSV or JSON: a row for each step that counts, with its validation loss.
    ///
    /// What an attempt recorded beyond the checkpoint that a later one went on from does not count. A loss or norm that is
    /// not finite is NaN in CSV, and null in JSON; what was not recorded is empty, or null. Damaged lines are named on
    /// standard error and left out. Exit code 3 if nothing can be read.
    #[command(after_help = "Examples:\n  launcher metrics runs/first > first.csv\n  \
                      launcher metrics s3://bucket/runs/first --json --every 100\n  \
                      python3 -c 'import pandas; print(pandas.read_csv(\"first.csv\").loss.min())'")]
    Metrics(MetricsArgs),
    /// Asks a running run, here or elsewhere, to save a checkpoint and end, and waits until it has.
    #[command(after_help = "Example:\n  launcher stop s3://bucket/runs/first")]
    Stop(StopArgs),
    /// Lists, verifies, prunes and copies the checkpoints of a run, and asks for one.
    #[command(subcommand)]
    Checkpoints(CheckpointsCommand),
    /// Converts text to token ids and back; trains tokenizers.
    #[command(subcommand)]
    Tokenizer(TokenizerCommand),
    /// Shows and verifies token shards.
    #[command(subcommand)]
    Shards(ShardsCommand),
    /// Prints what a shell needs to complete commands and options with the Tab key.
    #[command(
        after_help = "Example:\n  launcher completions bash > ~/.local/share/bash-completion/completions/launcher"
    )]
    Completions(CompletionsArgs),
    /// Writes the manual pages, and the completions of every shell.
    #[command(hide = true)]
    Manual(ManualArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::PrepareCommand;

    /// Returns what is asked of `launcher prepare`, or the error.
    fn prepare(words: &[&str]) -> Result<PrepareArgs, clap::Error> {
        match Cli::try_parse_from([&["launcher", "prepare"][..], words].concat())?.command {
            Command::Prepare(args) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn prepare_takes_a_config_in_every_form_that_it_took_before_it_could_explain() {
        for words in [
            &["prepare.toml"][..],
            &["--config", "prepare.toml"],
            &["prepare.toml", "--ranks", "4", "--json"],
            &["--ranks", "4", "prepare.toml", "--set", "prepare.seed=1"],
            &["./explain"],
            &["help"],
        ] {
            let args = prepare(words).unwrap();
            assert!(args.command.is_none() && !args.dry_run, "{words:?}");
            assert!(args.config.target.is_some() != args.config.config.is_some(), "{words:?}");
        }
        assert!(prepare(&["prepare.toml", "--dry-run", "--json"]).unwrap().dry_run);
        assert!(prepare(&[]).unwrap_err().to_string().contains("<CONFIG|RUN>"));
        assert!(prepare(&["--json"]).unwrap_err().to_string().contains("<CONFIG|RUN>"));
    }

    #[test]
    fn a_dry_run_of_prepare_neither_renders_nor_detaches() {
        for other in ["--render", "--detach"] {
            let error = prepare(&["prepare.toml", "--dry-run", other]).unwrap_err().to_string();
            assert!(
                error.contains("--dry-run") && error.contains("cannot be used with") && error.contains(other),
                "{error}"
            );
        }
        assert!(prepare(&["prepare.toml", "--render", "--detach"]).is_ok());
    }

    #[test]
    fn prepare_explains_a_document_with_a_config_in_either_place() {
        for words in [
            &["explain", "example.com", "--config", "prepare.toml", "--json"][..],
            &["explain", "example.com", "prepare.toml"],
            &["explain", "--set", "prepare.seed=1", "example.com", "prepare.toml"],
        ] {
            let Some(PrepareCommand::Explain(args)) = prepare(words).unwrap().command else { panic!("{words:?}") };
            assert_eq!(args.document, "example.com");
            assert!(args.config.target.is_some() != args.config.config.is_some(), "{words:?}");
        }
        for words in [&["explain"][..], &["explain", "example.com"], &["--ranks", "4", "explain", "example.com"]] {
            assert!(prepare(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn a_wait_that_no_clock_can_count_is_refused() {
        for command in [&["stop"][..], &["checkpoints", "save"]] {
            let parse =
                |seconds| Cli::try_parse_from([&["launcher"][..], command, &["x", "--wait-s", seconds]].concat());
            assert!(parse("31622400").is_ok());
            assert!(parse("18446744073709551615").unwrap_err().to_string().contains("--wait-s"));
        }
    }
}
