//! `launcher checkpoints list`.

use common::config::{RawConfig, StorageConfig};
use common::storage::Folder;
use common::worker_contract::ExitCode;

use crate::checkpoints::{self, Checkpoint, State};
use crate::cli::ListArgs;
use crate::error::LaunchError;
use crate::progress::{to_json, to_stderr, to_stdout, with_thousands};

/// Prints the checkpoints of a run. A damaged one is named, and makes the exit code [`ExitCode::Data`].
pub fn list(args: &ListArgs) -> Result<ExitCode, LaunchError> {
    let run = open_run(args)?;
    let (uncommitted, mut shown): (Vec<_>, Vec<_>) =
        checkpoints::list(&run)?.into_iter().partition(|c| matches!(c.state, State::Uncommitted { .. }));
    let is_damaged = shown.iter().any(|c| matches!(c.state, State::Damaged { .. }));
    if args.all {
        shown.extend(uncommitted);
    }
    if args.json {
        to_stdout(&to_json(&shown));
    } else if shown.is_empty() {
        to_stderr(&format!("no checkpoint is committed in {}", run.url()));
    } else {
        table(&shown).iter().for_each(|line| to_stdout(line));
    }
    Ok(if is_damaged { ExitCode::Data } else { ExitCode::Done })
}

fn open_run(args: &ListArgs) -> Result<Folder, LaunchError> {
    if let Some(config) = &args.config {
        let config = RawConfig::load(config, &args.overrides)?.run()?;
        return Ok(Folder::open(&config.run.output, &config.storage)?);
    }
    let url = args.run.as_deref().unwrap_or_else(|| unreachable!("clap asks for one of the two"));
    Ok(Folder::open(url, &StorageConfig::default())?)
}

fn table(checkpoints: &[Checkpoint]) -> Vec<String> {
    let name_width = checkpoints.iter().map(|c| c.name.len()).max().unwrap_or(0);
    let line = |name: &str, step: &str, attempt: &str, ranks: &str, bytes: &str, sequences: &str| {
        format!("{name:name_width$}  {step:>9}  {attempt:>7}  {ranks:>5}  {bytes:>15}  {sequences}")
            .trim_end()
            .to_owned()
    };
    let header = line("checkpoint", "step", "attempt", "ranks", "bytes", "sequences consumed");
    let rows = checkpoints.iter().map(|c| {
        let (ranks, bytes, sequences) = match &c.state {
            State::Committed { world_size, bytes, sequences_consumed } => {
                (world_size.to_string(), with_thousands(*bytes), with_thousands(*sequences_consumed))
            }
            State::Uncommitted { bytes } => (String::new(), with_thousands(*bytes), "not committed".into()),
            State::Damaged { reason } => (String::new(), String::new(), format!("damaged: {reason}")),
        };
        line(&c.name, &c.step.to_string(), &c.attempt.to_string(), &ranks, &bytes, &sequences)
    });
    std::iter::once(header).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_up_and_names_what_is_damaged() {
        let checkpoint =
            |name: &str, state| Checkpoint { name: name.into(), url: String::new(), step: 1200, attempt: 3, state };
        let lines = table(&[
            checkpoint("a-long-name", State::Committed { world_size: 2, bytes: 1_493_000, sequences_consumed: 9600 }),
            checkpoint("short", State::Damaged { reason: "no JSON".into() }),
        ]);
        assert_eq!(
            lines,
            [
                "checkpoint        step  attempt  ranks            bytes  sequences consumed",
                "a-long-name       1200        3      2        1,493,000  9,600",
                "short             1200        3                          damaged: no JSON",
            ]
        );
    }
}
