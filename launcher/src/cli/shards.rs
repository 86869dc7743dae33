//! Arguments of `launcher shards` and its commands.

use clap::{Args, Subcommand};

/// `launcher shards`.
#[derive(Debug, Subcommand)]
pub enum ShardsCommand {
    /// Shows a data set: totals, tokenizer, and an excerpt as text with the bounds of its documents.
    ///
    /// Only the blocks of the excerpt are read from the shards, each verified by its hash. Control characters of the text,
    /// except line breaks and tabs, are escaped; --json prints the text unchanged.
    #[command(after_help = "Examples:\n  launcher shards show demo/data\n  \
                      launcher shards show s3://bucket/data/train --at 1000000 --tokens 200\n  \
                      launcher shards show s3://bucket/data --tokens 0 --json")]
    Show(ShowShardsArgs),
    /// Reads every shard of a data set and reports every fault: hashes of files and blocks, headers, sizes, ids, documents.
    ///
    /// Prints each fault as a line on standard output, with the object and the byte. Exit code 3 if there is one.
    #[command(after_help = "Examples:\n  launcher shards verify demo/data\n  \
                      launcher shards verify s3://bucket/data/train --json")]
    Verify(VerifyShardsArgs),
}

/// `launcher shards show`.
#[derive(Debug, Args)]
pub struct ShowShardsArgs {
    /// Folder with an index.json, or with the folders train and validation, as prepare writes them.
    #[arg(value_name = "URL")]
    pub url: String,
    /// Position of the excerpt's first token, counted over all shards; in the training data, where there is validation data,
    /// too.
    #[arg(long, value_name = "TOKEN_POSITION", default_value_t = 0)]
    pub at: u64,
    /// Tokens in the excerpt; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub tokens: u64,
    /// Tokenizer that made the shards; by default the one that their index names.
    #[arg(long, value_name = "gpt2|PATH|URL")]
    pub tokenizer: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// `launcher shards verify`.
#[derive(Debug, Args)]
pub struct VerifyShardsArgs {
    /// Folder with an index.json, or with the folders train and validation, as prepare writes them.
    #[arg(value_name = "URL")]
    pub url: String,
    /// Tokenizer that made the shards; by default the one that their index names.
    #[arg(long, value_name = "gpt2|PATH|URL")]
    pub tokenizer: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}
