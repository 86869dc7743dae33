//! `launcher shards` and its commands.

use clap::{Args, Subcommand};

/// `launcher shards`.
#[derive(Debug, Subcommand)]
pub enum ShardsCommand {
    /// Shows what a data set holds: totals, tokenizer, and an excerpt as text with the bounds of its documents.
    ///
    /// Of the shards only the blocks of the excerpt are read, each verified by its hash. Control characters of the text,
    /// but for line breaks and tabs, are written out; with --json it is as it is.
    #[command(after_help = "Examples:\n  launcher shards show demo/data\n  \
                      launcher shards show s3://bucket/data/train --at 1000000 --tokens 200\n  \
                      launcher shards show s3://bucket/data --tokens 0 --json")]
    Show(ShowShardsArgs),
    /// Reads every shard of a data set and names every fault: hashes of files and blocks, headers, sizes, ids, documents.
    ///
    /// Exit code 3 if there is a fault. Each is a line on standard output, with the object and the byte.
    #[command(after_help = "Examples:\n  launcher shards verify demo/data\n  \
                      launcher shards verify s3://bucket/data/train --json")]
    Verify(VerifyShardsArgs),
}

/// `launcher shards show`.
#[derive(Debug, Args)]
pub struct ShowShardsArgs {
    /// A folder with an index.json, or one with the folders train and validation, as prepare writes them.
    #[arg(value_name = "URL")]
    pub url: String,
    /// Position of the first token of the excerpt, counted over all shards; for training, where there are both.
    #[arg(long, value_name = "TOKEN_POSITION", default_value_t = 0)]
    pub at: u64,
    /// Tokens of the excerpt; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub tokens: u64,
    /// The tokenizer that made the shards; the one that their index names where it is not given.
    #[arg(long, value_name = "gpt2|PATH|URL")]
    pub tokenizer: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// `launcher shards verify`.
#[derive(Debug, Args)]
pub struct VerifyShardsArgs {
    /// A folder with an index.json, or one with the folders train and validation, as prepare writes them.
    #[arg(value_name = "URL")]
    pub url: String,
    /// The tokenizer that made the shards; the one that their index names where it is not given.
    #[arg(long, value_name = "gpt2|PATH|URL")]
    pub tokenizer: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}
