//! `launcher shards show` and `launcher shards verify`.

use common::exit_code::ExitCode;

use crate::cli::shards::{ShowShardsArgs, VerifyShardsArgs};
use crate::error::LaunchError;
use crate::shards::Found;
use crate::shards::show::{Shown, Wanted};
use crate::shards::verify::{Report, verify as verify_all};
use crate::view::byte_bar::ByteBar;
use crate::view::figures::counted;
use crate::view::terminal::{to_json, to_stderr, to_stdout};

/// Prints the contents of a data set.
pub fn show(args: &ShowShardsArgs) -> Result<ExitCode, LaunchError> {
    let wanted = Wanted { at: args.at, tokens: args.tokens, tokenizer: args.tokenizer.as_deref() };
    let shown = Shown::read(&Found::open(&args.url)?, &wanted)?;
    if args.json {
        to_stdout(&to_json(&shown));
    } else {
        shown.lines().iter().for_each(|line| to_stdout(line));
    }
    Ok(ExitCode::Done)
}

/// Prints every fault of a data set, or that it has none. A fault makes the exit code [`ExitCode::Data`].
pub fn verify(args: &VerifyShardsArgs) -> Result<ExitCode, LaunchError> {
    let found = Found::open(&args.url)?;
    let bar = ByteBar::new();
    let report = verify_all(&found, args.tokenizer.as_deref(), &|done, all| bar.add(done, all))?;
    bar.end();
    if args.json {
        to_stdout(&to_json(&report));
    } else {
        report.faults.iter().for_each(|fault| to_stdout(&fault.to_string()));
    }
    let url = found.root.url();
    if !report.faults.is_empty() {
        let faults = counted(report.faults.len() as u64, "fault");
        to_stderr(&format!("error: {url}: {faults}; copy the objects again, or prepare the data again"));
        return Ok(ExitCode::Data);
    }
    if !args.json {
        to_stdout(&summary(&report));
    }
    Ok(ExitCode::Done)
}

/// Formats a report as `verified 4 shards: 405,162 tokens, 2,307 documents, 815,444 bytes, 512 MB/s`.
fn summary(report: &Report) -> String {
    let shards = counted(report.shards, "shard");
    let [tokens, documents, bytes] = [(report.tokens, "token"), (report.documents, "document"), (report.bytes, "byte")]
        .map(|(n, of)| counted(n, of));
    let rate = report.bytes as f64 / 1e6 / report.seconds.max(1e-9);
    format!("verified {shards}: {tokens}, {documents}, {bytes}, {rate:.0} MB/s")
}
