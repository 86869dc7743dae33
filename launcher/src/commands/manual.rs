//! `launcher completions` and `launcher manual`: shell completions and manual pages, generated from the arguments that clap
//! knows.
//!
//! `launcher/share` holds what `launcher manual` writes. A release installs it.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use clap::builder::StyledStr;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use common::exit_code::ExitCode;

use super::error::CommandError;
use crate::cli::Cli;
use crate::cli::manual::{CompletionsArgs, ManualArgs, ShellName};
use crate::error::LaunchError;

const PROGRAM: &str = "launcher";
/// Folder of the manual pages.
const PAGES: &str = "man/man1";
/// Shells, each with the file in which it looks for completions of the program.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/launcher"),
    (Shell::Zsh, "zsh/site-functions/_launcher"),
    (Shell::Fish, "fish/vendor_completions.d/launcher.fish"),
];

/// Prints the completions of one shell.
pub fn completions(args: &CompletionsArgs) -> Result<ExitCode, LaunchError> {
    let shell = match args.shell {
        ShellName::Bash => Shell::Bash,
        ShellName::Zsh => Shell::Zsh,
        ShellName::Fish => Shell::Fish,
    };
    match io::stdout().lock().write_all(&completions_of(shell)) {
        // A reader that has closed the output is no error.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(LaunchError::system("write to standard output")(error))
        }
        _ => Ok(ExitCode::Done),
    }
}

/// Writes the manual pages, and the completions of every shell.
pub fn manual(args: &ManualArgs) -> Result<ExitCode, LaunchError> {
    let folder = args.folder.display().to_string();
    write(&args.folder).map_err(|source| CommandError::Manual { folder, source })?;
    Ok(ExitCode::Done)
}

fn write(folder: &Path) -> io::Result<()> {
    let pages = folder.join(PAGES);
    fs::create_dir_all(&pages)?;
    clap_mangen::generate_to(Cli::command(), &pages)?;
    for (shell, name) in COMPLETIONS {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().unwrap_or(folder))?;
        fs::write(file, completions_of(shell))?;
    }
    Ok(())
}

fn completions_of(shell: Shell) -> Vec<u8> {
    let mut completions = Vec::new();
    clap_complete::generate(shell, &mut without_hidden(&Cli::command()), PROGRAM, &mut completions);
    completions
}

/// Returns the command line without its hidden commands, which shells would complete as well.
fn without_hidden(all: &Command) -> Command {
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let program = Command::new(PROGRAM).version(env!("CARGO_PKG_VERSION"));
    let about = |text: Option<&StyledStr>| text.cloned().unwrap_or_default();
    let program = program.about(about(all.get_about())).long_about(about(all.get_long_about()));
    program.subcommand_required(true).arg_required_else_help(true).subcommands(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Returns the files below `folder`, by their paths in it.
    fn files(folder: &Path) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if entry.path().is_dir() {
                found.extend(files(&entry.path()).into_iter().map(|(path, text)| (format!("{name}/{path}"), text)));
            } else {
                found.insert(name, fs::read_to_string(entry.path()).unwrap());
            }
        }
        found
    }

    /// Returns the names of a command's pages and of its subcommands'.
    fn pages(command: &Command, name: &str) -> Vec<String> {
        let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
        let below = shown.flat_map(|command| pages(command, &format!("{name}-{}", command.get_name())));
        [format!("{PAGES}/{name}.1")].into_iter().chain(below).collect()
    }

    fn written() -> BTreeMap<String, String> {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        files(folder.path())
    }

    #[test]
    fn manual_pages_and_completions_in_the_repository_are_those_of_this_command_line() {
        let (committed, written) = (files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("share")), written());
        let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&committed), names(&written), "`make manual` writes launcher/share anew");
        let old: Vec<_> =
            written.iter().filter(|(name, text)| committed[*name] != **text).map(|(name, _)| name).collect();
        assert!(old.is_empty(), "out of date in launcher/share: {old:?}; `make manual` writes them anew");
    }

    #[test]
    fn every_command_has_a_page_and_is_completed_by_every_shell() {
        let written = written();
        let pages = pages(&Cli::command(), PROGRAM);
        assert!(pages.len() > 20, "{pages:?}");
        for page in &pages {
            assert!(written[page].contains(".SH SYNOPSIS"), "{page}");
        }
        assert_eq!(written.len(), pages.len() + COMPLETIONS.len(), "a page of no command");
        for (_, file) in COMPLETIONS {
            for command in ["train", "sample", "checkpoints", "verify", "--accept-change", "kubernetes"] {
                // fish has options without their dashes.
                assert!(written[file].contains(command.trim_start_matches('-')), "no {command} in {file}");
            }
            assert!(!written[file].contains("manual"), "a hidden command in {file}");
        }
    }
}
