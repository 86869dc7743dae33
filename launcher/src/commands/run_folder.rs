//! Opens the run folder that a command looks at, and puts requests to the holder of the run into it.

use common::attempt::{self, Attempt, Request};
use common::storage::Folder;

use super::error::CommandError;
use super::target::{self, Target};
use crate::cli::shared::TargetArgs;
use crate::error::LaunchError;
use crate::view::terminal::to_stderr;

/// Opens the run folder that `args` name. One that a config names need not exist.
pub fn open(args: &TargetArgs) -> Result<Folder, LaunchError> {
    match Target::of(args)? {
        Target::Run(url) if args.overrides.is_empty() => target::existing_run(&url),
        _ => {
            let config = target::config(args)?.run()?;
            Ok(Folder::open(&config.run.output, &config.storage)?)
        }
    }
}

/// Puts `request` to the attempt that holds `run`, and returns that attempt.
pub fn ask(run: &Folder, request: Request) -> Result<Attempt, LaunchError> {
    let Some(holding) = attempt::current(run)? else {
        return Err(CommandError::NothingTrains { url: run.url().to_owned() }.into());
    };
    attempt::ask(run, request)?;
    let holder = holding.attempt;
    to_stderr(&format!("asked attempt {} ({})", holder.attempt, holder.claimant()));
    Ok(holder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_does_not_exist_is_named_and_so_is_what_was_expected() {
        let folder = tempfile::tempdir().unwrap();
        let open = |path: &std::path::Path| {
            let target = path.to_str().map(str::to_owned);
            super::open(&TargetArgs { target, config: None, overrides: Vec::new() })
        };
        let error = open(&folder.path().join("typo")).unwrap_err().to_string();
        for words in ["there is no folder file:///", "/typo;", "a run folder, which `launcher train` makes"] {
            assert!(error.contains(words), "{error}");
        }
        assert!(open(folder.path()).is_ok(), "a run may be about to begin there");
        let in_store = TargetArgs { target: Some("memory://no-run/here".into()), ..TargetArgs::default() };
        assert!(super::open(&in_store).is_ok());
    }
}
