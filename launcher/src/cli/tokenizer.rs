//! `launcher tokenizer` and its commands.

use clap::{Args, Subcommand};

/// `launcher tokenizer`.
#[derive(Debug, Subcommand)]
pub enum TokenizerCommand {
    /// Writes the token ids of the text on standard input, as a JSON array.
    ///
    /// Bytes that are not UTF-8 become U+FFFD. Exit code 3, with the line, for input that is not as it should be.
    #[command(after_help = "Examples:\n  echo -n \"Hello, world\" | launcher tokenizer encode\n  \
                      launcher tokenizer encode --jsonl --tokenizer my-tokenizer/ < texts.jsonl > ids.jsonl")]
    Encode(EncodeArgs),
    /// Writes the text of the JSON array of token ids on standard input: the bytes of the tokens, and nothing else.
    ///
    /// With --jsonl, bytes that are not UTF-8 become U+FFFD. Exit code 3, with the line, for input that is not as it
    /// should be.
    #[command(after_help = "Examples:\n  echo \"[15496, 11, 995]\" | launcher tokenizer decode\n  \
                      launcher tokenizer decode --jsonl < ids.jsonl > texts.jsonl")]
    Decode(DecodeArgs),
    /// Learns a tokenizer from texts and writes its files: vocab.json, merges.txt, tokenizer.json, tokenizer_config.json.
    ///
    /// The same inputs in the same order give the same tokenizer, and, with the same special tokens, one with the merges
    /// that Hugging Face's tokenizers learn. Special tokens have the first ids.
    #[command(after_help = "Example:\n  launcher tokenizer train --vocab-size 32000 --output my-tokenizer/ \
                      s3://bucket/web/*.jsonl.zst books/")]
    Train(TrainTokenizerArgs),
}

/// What encoding and decoding have in common.
#[derive(Debug, Clone, Args)]
pub struct TranscodeArgs {
    /// `gpt2`, or the path or URL of a tokenizer.json, or of a folder with one or with vocab.json and merges.txt.
    #[arg(long, value_name = "gpt2|PATH|URL", default_value = "gpt2")]
    pub tokenizer: String,
    /// Every line of input is a document: a JSON string to encode, or a JSON array of ids to decode. Every line of
    /// output is its result, in the same order.
    #[arg(long)]
    pub jsonl: bool,
}

/// `launcher tokenizer encode`.
#[derive(Debug, Args)]
pub struct EncodeArgs {
    #[command(flatten)]
    pub transcode: TranscodeArgs,
    /// Makes the text of a special token, such as `<|endoftext|>`, that token; it is ordinary text otherwise.
    #[arg(long)]
    pub special: bool,
}

/// `launcher tokenizer decode`.
#[derive(Debug, Args)]
pub struct DecodeArgs {
    #[command(flatten)]
    pub transcode: TranscodeArgs,
}

/// `launcher tokenizer train`. What is not given here, the prepare program chooses.
#[derive(Debug, Args)]
pub struct TrainTokenizerArgs {
    /// Texts: files, folders or patterns, by path or URL, as prepare.inputs has them.
    #[arg(value_name = "INPUT", required = true)]
    pub inputs: Vec<String>,
    /// Tokens of the vocabulary: the 256 bytes, the special tokens, and what is learnt; at most 65,536.
    #[arg(long, value_name = "N")]
    pub vocab_size: u64,
    /// The folder for the tokenizer's files, a storage URL or a path.
    #[arg(long, value_name = "FOLDER_OR_URL")]
    pub output: String,
    /// A special token after `<|endoftext|>`, which is always the first; as often as needed.
    #[arg(long, value_name = "TOKEN")]
    pub special: Vec<String>,
    /// The field of a JSON line, or the column of a Parquet file, that holds the text.
    #[arg(long, value_name = "FIELD")]
    pub text_field: Option<String>,
    /// Whether a document that cannot be read ends the job, or is left out and counted.
    #[arg(long, value_name = "fail|skip")]
    pub on_bad_document: Option<String>,
    /// A longer document counts as one that cannot be read, since memory is bounded.
    #[arg(long, value_name = "N")]
    pub max_document_bytes: Option<u64>,
    /// Distinct words that are held at most, of about 100 bytes each; the rarest of more are dropped, and counted.
    #[arg(long, value_name = "N")]
    pub most_words: Option<u64>,
    /// Threads; all cores where it is not given.
    #[arg(long, value_name = "N")]
    pub threads: Option<u64>,
    /// Prints the result as JSON.
    #[arg(long)]
    pub json: bool,
}
