//! Speed of one thread in reading pages, and in cleaning and deduplicating documents: the process's own time, as JSON.
//!
//!     speed read ARCHIVE                     pages of a WARC file, or of any other format of `webtext::pages`
//!     speed clean DOCUMENTS [SET]            documents of JSON lines with a field `text`, by the rules of a set: `fineweb`, `paper`, or
//!                                            `without-language` (the default), which is FineWeb's set without its first rule
//!     speed sign DOCUMENTS FOLDER            MinHash signatures of documents, to a file of sorted keys for each band in the folder
//!     speed cluster FOLDER                   clusters by these files, to a file of decisions there
//!
//! All times include reading and writing the files. `extract_benchmark` is the stage after `read`.

mod deduplicate;

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::Deserialize;
use webtext::clean::{CleanOptions, Cleaner, Depth, Document};
use webtext::pages::{Entry, Format, Limits, Pages};

const USAGE: &str =
    "usage: speed read ARCHIVE | speed clean DOCUMENTS [SET] | speed sign DOCUMENTS FOLDER | speed cluster FOLDER";

/// What was read or judged.
#[derive(Default)]
struct Done {
    documents: usize,
    kept: usize,
    clusters: usize,
    bytes: usize,
}

#[derive(Deserialize)]
struct Line {
    text: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (done, seconds) = match arguments.as_slice() {
        ["read", path] => timed(|| read(path))?,
        ["clean", path, set @ ..] => {
            let cleaner = Cleaner::new(options(set.first().copied())?)?;
            timed(|| clean(path, &cleaner))?
        }
        ["sign", path, folder] => timed(|| deduplicate::sign(path, Path::new(folder)))?,
        ["cluster", folder] => timed(|| deduplicate::cluster(Path::new(folder)))?,
        _ => return Err(USAGE.into()),
    };
    let result = serde_json::json!({
        "documents": done.documents,
        "kept": done.kept,
        "clusters": done.clusters,
        "mb": done.bytes as f64 / 1e6,
        "documents_per_s": done.documents as f64 / seconds,
        "mb_per_s": done.bytes as f64 / 1e6 / seconds,
    });
    writeln!(std::io::stdout(), "{result}")?;
    Ok(())
}

fn options(set: Option<&str>) -> Result<CleanOptions, Box<dyn Error>> {
    let mut options = CleanOptions::fineweb();
    match set.unwrap_or("without-language") {
        "fineweb" => {}
        "paper" => options = CleanOptions::paper(),
        "without-language" => options.language.kept.clear(),
        other => return Err(format!("no set {other:?}: fineweb, paper or without-language").into()),
    }
    Ok(options)
}

fn read(path: &str) -> Result<Done, Box<dyn Error>> {
    let format = Format::of(path).ok_or("no format of pages has this name")?;
    let mut done = Done::default();
    for entry in Pages::new(format, File::open(path)?, Limits::default()) {
        if let Entry::Page(page) = entry? {
            done.documents += 1;
            done.bytes += page.payload.len();
        }
    }
    done.kept = done.documents;
    Ok(done)
}

fn clean(path: &str, cleaner: &Cleaner) -> Result<Done, Box<dyn Error>> {
    let mut done = Done::default();
    for line in BufReader::new(File::open(path)?).lines() {
        let Line { text } = serde_json::from_str(&line?)?;
        done.documents += 1;
        done.bytes += text.len();
        done.kept += usize::from(cleaner.judge(Document { text: &text, url: None }, Depth::UntilDropped).kept());
    }
    Ok(done)
}

/// Returns what was done, and the seconds of this process's own time that it took.
fn timed(work: impl FnOnce() -> Result<Done, Box<dyn Error>>) -> Result<(Done, f64), Box<dyn Error>> {
    let began_s = cpu_s()?;
    let done = work()?;
    Ok((done, cpu_s()? - began_s))
}

fn cpu_s() -> nix::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}
