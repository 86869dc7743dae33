//! Confusion table of the language detector, on the labelled pages that scripts/oracles/languages.py has written:
//! `cargo run --release -p webtext --example languages FILE [CONFIDENCE]`.

#![allow(clippy::print_stdout, reason = "its table")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

use serde::Deserialize;
use webtext::clean::language::{Detect, Whatlang};

#[derive(Deserialize)]
struct Page {
    language: String,
    text: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let content = std::fs::read_to_string(arguments.next().ok_or("usage: languages FILE [CONFIDENCE]")?)?;
    let least: f64 = arguments.next().map_or(Ok(0.65), |number| number.parse())?;
    let pages = content.lines().map(serde_json::from_str).collect::<Result<Vec<Page>, _>>()?;
    let mut table: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    let (mut right, mut kept, mut kept_wrongly, mut english) = (0, 0, 0, 0);
    let began = Instant::now();
    for page in &pages {
        let found = Whatlang.detect(&page.text);
        let language = found.as_ref().map_or("none".to_owned(), |found| found.language.to_string());
        right += usize::from(language == page.language);
        let is_kept = found.is_some_and(|found| found.language == "eng" && found.confidence > least);
        english += usize::from(page.language == "eng");
        kept += usize::from(is_kept && page.language == "eng");
        kept_wrongly += usize::from(is_kept && page.language != "eng");
        *table.entry(&page.language).or_default().entry(language).or_default() += 1;
    }
    let seconds = began.elapsed().as_secs_f64();
    for (language, found) in &table {
        let mut others: Vec<String> = found
            .iter()
            .filter(|(other, _)| other != language)
            .map(|(other, count)| format!("{other} {count}"))
            .collect();
        others.sort();
        let all: usize = found.values().sum();
        println!("| {language} | {all} | {} | {} |", found.get(*language).unwrap_or(&0), others.join(", "));
    }
    println!("{} pages, {right} right, {:.0} pages/s", pages.len(), pages.len() as f64 / seconds);
    println!(
        "above {least}: {kept} of {english} English pages kept, {kept_wrongly} of {} others",
        pages.len() - english
    );
    Ok(())
}
