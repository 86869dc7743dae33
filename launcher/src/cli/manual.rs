//! Arguments of commands that describe the command line itself: completions, manual.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `launcher completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Shell that is to read them.
    #[arg(value_enum)]
    pub shell: ShellName,
}

/// Shells that can complete Convoy's commands.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ShellName {
    /// Reads them from a file in ~/.local/share/bash-completion/completions.
    Bash,
    /// Reads them from a file `_launcher` in a folder of $fpath.
    Zsh,
    /// Reads them from a file in ~/.config/fish/completions.
    Fish,
}

/// `launcher manual`.
#[derive(Debug, Args)]
pub struct ManualArgs {
    /// Folder for the pages and the completions, laid out as below /usr/share.
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}
