//! Arguments of `launcher tokenizer` and its commands.

use clap::{Args, Subcommand};

/// `launcher tokenizer`.
#[derive(Debug, Subcommand)]
pub enum TokenizerCommand {
    /// Encodes the text on standard input as a JSON array of token ids.
    ///
    /// Bytes that are not UTF-8 become U+FFFD. Malformed input gives exit code 3 and its line.
    #[command(after_help = "Examples:\n  echo -n \"Hello, world\" | launcher tokenizer encode\n  \
                      launcher tokenizer encode --jsonl --tokenizer my-tokenizer/ < texts.jsonl > ids.jsonl")]
    Encode(EncodeArgs),
    /// Decodes the JSON array of token ids on standard input to text: the bytes of the tokens, and nothing else.
    ///
    /// With --jsonl, bytes that are not UTF-8 become U+FFFD. Malformed input gives exit code 3 and its line.
    #[command(after_help = "Examples:\n  echo \"[15496, 11, 995]\" | launcher tokenizer decode\n  \
                      launcher tokenizer decode --jsonl < ids.jsonl > texts.jsonl")]
    Decode(DecodeArgs),
    /// Trains a tokenizer on texts and writes its files: vocab.json, merges.txt, tokenizer.json, tokenizer_config.json.
    ///
    /// The tokenizer is a function of the inputs and their order. Its merges equal those that Hugging Face's tokenizers learn
    /// with these special tokens. Special tokens have the first ids.
    #[command(after_help = "Example:\n  launcher tokenizer train --vocab-size 32000 --output my-tokenizer/ \
                      s3://bucket/web/*.jsonl.zst books/")]
    Train(TrainTokenizerArgs),
}

/// Arguments of both encoding and decoding.
#[derive(Debug, Clone, Args)]
pub struct TranscodeArgs {
    /// `gpt2`, or the path or URL of a tokenizer.json, or of a folder with one or with vocab.json and merges.txt.
    #[arg(long, value_name = "gpt2|PATH|URL", default_value = "gpt2")]
    pub tokenizer: String,
    /// Takes every line of input as a document: a JSON string to encode, or a JSON array of ids to decode. Each result is a
    /// line of output, in the order of the input.
    #[arg(long)]
    pub jsonl: bool,
}

/// `launcher tokenizer encode`.
#[derive(Debug, Args)]
pub struct EncodeArgs {
    #[command(flatten)]
    pub transcode: TranscodeArgs,
    /// Encodes the text of a special token, such as `<|endoftext|>`, as that token; by default it is ordinary text.
    #[arg(long)]
    pub special: bool,
}

/// `launcher tokenizer decode`.
#[derive(Debug, Args)]
pub struct DecodeArgs {
    #[command(flatten)]
    pub transcode: TranscodeArgs,
}

/// `launcher tokenizer train`. The prepare program chooses defaults for flags that are not given.
#[derive(Debug, Args)]
pub struct TrainTokenizerArgs {
    /// Texts: files, folders or patterns, by path or URL, as in prepare.inputs.
    #[arg(value_name = "INPUT", required = true)]
    pub inputs: Vec<String>,
    /// Tokens in the vocabulary: the 256 bytes, the special tokens, and what is learned; at most 65,536.
    #[arg(long, value_name = "N")]
    pub vocab_size: u64,
    /// Folder for the tokenizer's files, a storage URL or a path.
    #[arg(long, value_name = "FOLDER_OR_URL")]
    pub output: String,
    /// Special token after `<|endoftext|>`, which is always the first; may be repeated.
    #[arg(long, value_name = "TOKEN")]
    pub special: Vec<String>,
    /// Field of a JSON line, or column of a Parquet file, that holds the text.
    #[arg(long, value_name = "FIELD")]
    pub text_field: Option<String>,
    /// Whether a document that cannot be read ends the job, or is skipped and counted.
    #[arg(long, value_name = "fail|skip")]
    pub on_bad_document: Option<String>,
    /// Longest document in bytes; a longer one counts as one that cannot be read, since memory is bounded.
    #[arg(long, value_name = "N")]
    pub max_document_bytes: Option<u64>,
    /// Maximum number of distinct words in memory, about 100 bytes each; beyond that the rarest are dropped and counted.
    #[arg(long, value_name = "N")]
    pub most_words: Option<u64>,
    /// Threads; by default one for each core.
    #[arg(long, value_name = "N")]
    pub threads: Option<u64>,
    /// Prints the result as JSON.
    #[arg(long)]
    pub json: bool,
}
