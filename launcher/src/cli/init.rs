//! Arguments of `launcher init`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `launcher init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Texts: files, folders, patterns in quotes, or URLs; .txt, .md, .jsonl and .ndjson (also .gz, .zst, .xz, .bz2), and .parquet.
    #[arg(value_name = "TEXT_OR_FOLDER", required = true)]
    pub texts: Vec<String>,
    /// Config to write.
    #[arg(long, value_name = "FILE", default_value = "run.toml")]
    pub output: PathBuf,
    /// Overwrites that file if it exists.
    #[arg(long)]
    pub force: bool,
    /// `gpt2`, or the path or URL of the files of another tokenizer.
    #[arg(long, value_name = "gpt2|PATH|URL", default_value = "gpt2")]
    pub tokenizer: String,
    /// Field of a JSON line, or column of a Parquet file, that holds the text.
    #[arg(long, value_name = "FIELD", default_value = "text")]
    pub text_field: String,
    /// What becomes of a document that cannot be read, such as a line without that field: it ends the command, or is left out here
    /// and when the text is prepared (prepare.on_bad_document).
    #[arg(long, value_enum, default_value = "fail")]
    pub on_bad_document: OnBadName,
    /// What to train on: GPUs if there are any, or the CPU in any case.
    #[arg(long, value_enum, default_value = "auto")]
    pub device: InitDevice,
}

/// Values of `--on-bad-document`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnBadName {
    /// Ends with an error that names the document.
    Fail,
    /// Leaves it out, and counts it.
    Skip,
}

impl OnBadName {
    /// Returns the name, as the prepare program and the config take it.
    pub fn word(self) -> &'static str {
        match self {
            OnBadName::Fail => "fail",
            OnBadName::Skip => "skip",
        }
    }
}

/// Values of `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InitDevice {
    /// This machine's GPUs, or its CPU where there are none.
    Auto,
    /// The CPU.
    Cpu,
}
