//! `launcher checkpoints`.

use std::time::{Duration, Instant};

use common::attempt::{self, Request};
use common::checkpoint_layout::CheckpointName;
use common::checkpoint_store::Found;
use common::checkpoint_store::{self, CheckpointStoreError, folder_of};
use common::config::Retention;
use common::config::StorageConfig;
use common::exit_code::ExitCode;
use common::storage::Folder;
use serde_json::json;

use super::error::CommandError;
use super::run_folder;
use super::target::{self, STORED_CONFIG, Target};
use crate::cli::checkpoints::{CopyArgs, ListArgs, PruneArgs, SaveArgs, VerifyArgs};
use crate::error::LaunchError;
use crate::run_folder::checkpoints::{self, Checkpoint, State};
use crate::view::figures::with_thousands;
use crate::view::terminal::{to_json, to_stderr, to_stdout};

/// Pause between looks for a checkpoint that was asked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Prints the checkpoints of a run. A damaged one is named, and makes the exit code [`ExitCode::Data`].
pub fn list(args: &ListArgs) -> Result<ExitCode, LaunchError> {
    let run = run_folder::open(&args.run)?;
    let counts = |c: &Checkpoint| !matches!(c.state, State::Uncommitted { .. } | State::Void { .. });
    let (mut shown, others): (Vec<_>, Vec<_>) = checkpoints::list(&run)?.into_iter().partition(counts);
    let is_damaged = shown.iter().any(|c| matches!(c.state, State::Damaged { .. }));
    if args.all {
        shown.extend(others);
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

/// Hashes every byte of checkpoints, and reports which are damaged.
pub fn verify(args: &VerifyArgs) -> Result<ExitCode, LaunchError> {
    let run = run_folder::open(&args.run)?;
    let names = match &args.checkpoint {
        Some(name) => vec![parse(name)?],
        None => checkpoint_store::list(&run)?.into_iter().filter(|f| f.committed).map(|f| f.name).collect(),
    };
    if names.is_empty() {
        to_stderr(&format!("no checkpoint is committed in {}", run.url()));
    }
    let mut results = Vec::new();
    for name in &names {
        let damage = match verify_one(&run, name) {
            Ok(bytes) => {
                say(args.json, &format!("{name}: {} bytes are as the manifest says", with_thousands(bytes)));
                None
            }
            Err(CheckpointStoreError::Storage(error)) => return Err(error.into()),
            Err(error) => {
                say(args.json, &format!("{name}: {error}"));
                Some(error.to_string())
            }
        };
        results.push(json!({ "name": name.to_string(), "sound": damage.is_none(), "damage": damage }));
    }
    if args.json {
        to_stdout(&to_json(&results));
    }
    let all_sound = results.iter().all(|result| result["sound"] == true);
    Ok(if all_sound { ExitCode::Done } else { ExitCode::Data })
}

fn verify_one(run: &Folder, name: &CheckpointName) -> Result<u64, CheckpointStoreError> {
    let manifest = checkpoint_store::read_manifest(run, name)?;
    checkpoint_store::verify(&folder_of(run, name), &manifest)?;
    Ok(manifest.objects.iter().map(|object| object.bytes).sum())
}

/// Deletes checkpoints that the retention policy does not keep.
pub fn prune(args: &PruneArgs) -> Result<ExitCode, LaunchError> {
    let run = run_folder::open(&args.run)?;
    let retention = retention(args, &run)?;
    let prune = if args.dry_run { checkpoint_store::pruned } else { checkpoint_store::prune };
    // No attempt is given: this command does not judge what an attempt in progress has just begun.
    let garbage = prune(&run, &retention, None, common::clock::unix_s())?;
    let verb = if args.dry_run { "would delete" } else { "deleted" };
    for name in &garbage.expired {
        say(args.json, &format!("{verb} {name}"));
    }
    for name in &garbage.orphans {
        say(args.json, &format!("{verb} {name}, which does not count"));
    }
    if args.json {
        let names = |names: &[CheckpointName]| names.iter().map(CheckpointName::to_string).collect::<Vec<_>>();
        to_stdout(&to_json(&json!({ "expired": names(&garbage.expired), "orphans": names(&garbage.orphans) })));
    } else if garbage.expired.is_empty() && garbage.orphans.is_empty() {
        to_stderr("nothing to delete");
    }
    Ok(ExitCode::Done)
}

/// Returns the retention policy of the flags; missing ones come from the config, or from the config that the run was last
/// started with.
fn retention(args: &PruneArgs, run: &Folder) -> Result<Retention, LaunchError> {
    let has_config = matches!(Target::of(&args.run)?, Target::Config(_)) || run.exists(STORED_CONFIG)?;
    let config = has_config.then(|| target::config(&args.run)?.run().map_err(LaunchError::from)).transpose()?;
    let config = config.map(|config| config.checkpoint);
    let keep_last = args.keep_last.or(config.as_ref().map(|config| config.keep_last));
    let keep_last = keep_last.ok_or_else(|| CommandError::NoRetention { url: run.url().to_owned() })?;
    let of_config = config.map_or(0, |config| config.keep_every_steps);
    Ok(Retention { keep_last, keep_every_steps: args.keep_every_steps.unwrap_or(of_config) })
}

/// Copies a checkpoint to another run folder.
pub fn copy(args: &CopyArgs) -> Result<ExitCode, LaunchError> {
    let (from, to) = (run_folder::open(&args.run)?, Folder::open(&args.to, &StorageConfig::default())?);
    let name = match &args.checkpoint {
        Some(name) => parse(name)?,
        None => checkpoint_store::newest(&from)?
            .ok_or_else(|| CommandError::NoneCommitted { url: from.url().to_owned() })?,
    };
    let is_new = checkpoint_store::copy(&from, &to, &name)?;
    to_stderr(if is_new { "copied and verified" } else { "it is there already" });
    to_stdout(folder_of(&to, &name).url());
    Ok(ExitCode::Done)
}

/// Asks for a checkpoint, and prints its URL.
pub fn save(args: &SaveArgs) -> Result<ExitCode, LaunchError> {
    let run = run_folder::open(&args.run)?;
    let before = checkpoint_store::newest(&run)?;
    let holder = run_folder::ask(&run, Request::Save)?;
    let until = Instant::now() + Duration::from_secs(args.wait_s);
    if args.wait_s == 0 {
        return Ok(ExitCode::Done);
    }
    loop {
        // The first checkpoint after the request answers it; others may have followed.
        let mut committed = checkpoint_store::list(&run)?.into_iter().filter(Found::counts).map(|found| found.name);
        if let Some(name) = committed.find(|name| Some(name) > before.as_ref()) {
            to_stdout(folder_of(&run, &name).url());
            return Ok(ExitCode::Done);
        }
        if attempt::current(&run)?.is_none() {
            return Err(CommandError::EndedUnsaved { attempt: holder.attempt }.into());
        }
        if Instant::now() >= until {
            return Err(CommandError::NotSaved { wait_s: args.wait_s }.into());
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

fn parse(name: &str) -> Result<CheckpointName, CommandError> {
    CheckpointName::parse(name).ok_or_else(|| CommandError::NotACheckpoint { name: name.to_owned() })
}

/// Prints a line for a person: on standard error where a program reads standard output.
fn say(is_json: bool, line: &str) {
    if is_json { to_stderr(line) } else { to_stdout(line) }
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
            State::Void { bytes } => (String::new(), with_thousands(*bytes), "left behind by a later attempt".into()),
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
