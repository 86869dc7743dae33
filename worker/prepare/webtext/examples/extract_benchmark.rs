//! Extracts the pages of the article extraction benchmark and prints how fast, for scripts/oracles/extract.py to score.
//!
//!     extract_benchmark FOLDER OUTPUT [PASSES [CHILD]]
//!
//! FOLDER has html/ID.html.gz; OUTPUT becomes the benchmark's form of predictions, {ID: {"articleBody": text}}. Pages are extracted
//! in this process, or in that of the program CHILD, which is `webtext-extract`. They are timed by the processor time of both: the best
//! of PASSES passes, 3 by default. Start and first page are not counted: a pass of the first page alone is taken off each.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use webtext::extract::{Extractor, Limits, Page, Verdict, extract};

/// What a pass found, and how long it took.
struct Pass {
    predictions: serde_json::Map<String, serde_json::Value>,
    verdicts: BTreeMap<&'static str, usize>,
    seconds: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, output, more @ ..] = arguments.as_slice() else {
        return Err("usage: extract_benchmark FOLDER OUTPUT [PASSES [CHILD]]".into());
    };
    let html = Path::new(folder).join("html");
    let mut stdout = std::io::stdout();
    if !html.is_dir() {
        writeln!(stdout, "skipped: {} is no folder", html.display())?;
        return Ok(());
    }
    let pages = read(&html)?;
    let first: BTreeMap<_, _> = pages.iter().take(1).map(|(id, body)| (id.clone(), body.clone())).collect();
    let (counted, bytes) = (pages.len() - first.len(), pages.values().skip(1).map(Vec::len).sum::<usize>());
    let passes: usize = more.first().map_or(Ok(3), |passes| passes.parse())?;
    let child = more.get(1).map(PathBuf::from);
    let mut best: Option<Pass> = None;
    for _ in 0..passes {
        let start_s = pass(&first, child.as_ref())?.seconds;
        let mut pass = pass(&pages, child.as_ref())?;
        pass.seconds -= start_s;
        best = best.filter(|best| best.seconds <= pass.seconds).or(Some(pass));
    }
    let best = best.ok_or("no pass")?;
    fs::write(output, serde_json::to_vec(&best.predictions)?)?;
    let result = serde_json::json!({
        "pages": pages.len(),
        "mb": bytes as f64 / 1e6,
        "pages_per_s": counted as f64 / best.seconds,
        "mb_per_s": bytes as f64 / best.seconds / 1e6,
        "verdicts": best.verdicts,
    });
    writeln!(stdout, "{result}")?;
    Ok(())
}

fn read(html: &Path) -> Result<BTreeMap<String, Vec<u8>>, Box<dyn Error>> {
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(html)? {
        let path = entry?.path();
        if let Some(id) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".html.gz")) {
            let mut body = Vec::new();
            flate2::read::MultiGzDecoder::new(fs::File::open(&path)?).read_to_end(&mut body)?;
            pages.insert(id.to_owned(), body);
        }
    }
    Ok(pages)
}

fn pass(pages: &BTreeMap<String, Vec<u8>>, child: Option<&PathBuf>) -> Result<Pass, Box<dyn Error>> {
    let began_s = cpu_s()?;
    let limits = Limits::default();
    let start = |child: &PathBuf| {
        let child = child.clone();
        Extractor::new(move || Command::new(&child), limits.clone())
    };
    let mut extractor = child.map(start).transpose()?;
    let (mut predictions, mut verdicts) = (serde_json::Map::new(), BTreeMap::new());
    for (id, body) in pages {
        let page = Page { body, content_type: None };
        let verdict = match &mut extractor {
            Some(extractor) => extractor.extract(&page)?,
            None => extract(&page, &limits),
        };
        *verdicts.entry(verdict.name()).or_insert(0) += 1;
        let text = if let Verdict::Text(article) = verdict { article.text } else { String::new() };
        predictions.insert(id.clone(), serde_json::json!({ "articleBody": text }));
    }
    // The time of a child is known once it has ended.
    drop(extractor);
    Ok(Pass { predictions, verdicts, seconds: cpu_s()? - began_s })
}

/// Processor time of this process and of children that have ended.
fn cpu_s() -> nix::Result<f64> {
    let of = |who| {
        let usage = getrusage(who)?;
        Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
    };
    Ok(of(UsageWho::RUSAGE_SELF)? + of(UsageWho::RUSAGE_CHILDREN)?)
}
