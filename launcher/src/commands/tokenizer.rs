//! `launcher tokenizer`: text to ids and back, on standard input and output.

use std::io::{self, BufWriter, ErrorKind};

use common::config::StorageConfig;
use common::tokenizer::Tokenizer;
use common::worker_contract::ExitCode;

use crate::cli::{DecodeArgs, EncodeArgs};
use crate::error::LaunchError;
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

/// A reader that went away has seen enough.
fn ended(result: Result<(), TranscodeError>) -> Result<ExitCode, LaunchError> {
    match result {
        Err(TranscodeError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::Done),
        result => Ok(result.map(|()| ExitCode::Done)?),
    }
}
