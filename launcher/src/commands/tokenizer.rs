//! `launcher tokenizer`: converts text to token ids and back on standard input and output, and trains tokenizers by the
//! prepare program, which reads the inputs.

use std::io::{self, BufWriter, ErrorKind};
use std::process::Command;

use common::config::StorageConfig;
use common::exit_code::ExitCode;
use common::tokenizer::Tokenizer;

use super::sibling;
use crate::cli::tokenizer::{DecodeArgs, EncodeArgs, TrainTokenizerArgs};
use crate::error::LaunchError;
use crate::programs;
use crate::transcode::{Decoder, Encoder, TranscodeError};

/// Writes the ids of the text on standard input.
pub fn encode(args: &EncodeArgs) -> Result<ExitCode, LaunchError> {
    let tokenizer = Tokenizer::open(&args.transcode.tokenizer, &StorageConfig::default())?;
    let encoder = Encoder { tokenizer: &tokenizer, special: args.special };
    let (input, output) = (io::stdin().lock(), BufWriter::new(io::stdout().lock()));
    ended(if args.transcode.jsonl { encoder.lines(input, output) } else { encoder.document(input, output) })
}

/// Writes the text of the ids on standard input.
pub fn decode(args: &DecodeArgs) -> Result<ExitCode, LaunchError> {
    let tokenizer = Tokenizer::open(&args.transcode.tokenizer, &StorageConfig::default())?;
    let decoder = Decoder { tokenizer: &tokenizer };
    let (input, output) = (io::stdin().lock(), BufWriter::new(io::stdout().lock()));
    ended(if args.transcode.jsonl { decoder.lines(input, output) } else { decoder.document(input, output) })
}

/// Turns the result into an exit code. A reader that has closed the output is no error.
fn ended(result: Result<(), TranscodeError>) -> Result<ExitCode, LaunchError> {
    match result {
        Err(TranscodeError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::Done),
        result => Ok(result.map(|()| ExitCode::Done)?),
    }
}

/// Runs `prepare tokenizer` to its end.
pub fn train(args: &TrainTokenizerArgs) -> Result<ExitCode, LaunchError> {
    let mut command = Command::new(programs::prepare()?);
    command.arg("tokenizer");
    let options = [
        ("vocab-size", Some(args.vocab_size.to_string())),
        ("output", Some(args.output.clone())),
        ("text-field", args.text_field.clone()),
        ("on-bad-document", args.on_bad_document.clone()),
        ("max-document-bytes", args.max_document_bytes.map(|n| n.to_string())),
        ("most-words", args.most_words.map(|n| n.to_string())),
        ("threads", args.threads.map(|n| n.to_string())),
    ];
    let special = args.special.iter().map(|token| ("special", Some(token.clone())));
    for (name, value) in options.into_iter().chain(special).filter_map(|(name, value)| Some((name, value?))) {
        // Name and value are one word, so that a value may begin with a dash.
        command.arg(format!("--{name}={value}"));
    }
    if args.json {
        command.arg("--json");
    }
    command.arg("--").args(&args.inputs);
    sibling::run(command)
}
