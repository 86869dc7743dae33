//! Arguments of `launcher init`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `launcher init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Texts: files, folders, patterns in quotes, or URLs; .txt, .md and .jsonl (also .gz, .zst, .xz, .bz2), and .parquet.
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
    /// What to train on: GPUs if there are any, or the CPU in any case.
    #[arg(long, value_enum, default_value = "auto")]
    pub device: InitDevice,
}

/// Values of `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InitDevice {
    /// This machine's GPUs, or its CPU where there are none.
    Auto,
    /// The CPU.
    Cpu,
}
