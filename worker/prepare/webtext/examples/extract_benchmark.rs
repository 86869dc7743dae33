//! Extracts the pages of the article extraction benchmark and prints how fast, for scripts/oracles/extract.py to score.
//!
//!     extract_benchmark FOLDER OUTPUT [PASSES]
//!
//! FOLDER has html/ID.html.gz; OUTPUT becomes the benchmark's form of predictions, {ID: {"articleBody": text}}. Pages are extracted
//! in this process, and timed by its processor time: the best of PASSES passes, 3 by default.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::{Read, Write},
    path::Path,
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use webtext::extract::{Limits, Page, Verdict, extract};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, output, passes @ ..] = arguments.as_slice() else {
        return Err("usage: extract_benchmark FOLDER OUTPUT [PASSES]".into());
    };
    let html = Path::new(folder).join("html");
    let mut stdout = std::io::stdout();
    if !html.is_dir() {
        writeln!(stdout, "skipped: {} is no folder", html.display())?;
        return Ok(());
    }
    let pages = read(&html)?;
    let bytes: usize = pages.values().map(Vec::len).sum();
    let passes = passes.first().map_or(Ok(3), |passes| passes.parse())?;
    let mut best_s = f64::INFINITY;
    let (mut predictions, mut counts) = (serde_json::Map::new(), BTreeMap::new());
    for _ in 0..passes {
        counts.clear();
        let started = cpu_s()?;
        for (id, body) in &pages {
            let verdict = extract(&Page { body, content_type: None }, &Limits::default());
            *counts.entry(verdict.name()).or_insert(0) += 1;
            let text = if let Verdict::Text(article) = verdict { article.text } else { String::new() };
            predictions.insert(id.clone(), serde_json::json!({ "articleBody": text }));
        }
        best_s = best_s.min(cpu_s()? - started);
    }
    fs::write(output, serde_json::to_vec(&predictions)?)?;
    let result = serde_json::json!({
        "pages": pages.len(),
        "pages_per_s": pages.len() as f64 / best_s,
        "mb_per_s": bytes as f64 / best_s / 1e6,
        "verdicts": counts,
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

fn cpu_s() -> nix::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}
