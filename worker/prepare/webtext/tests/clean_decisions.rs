//! Decisions on golden texts are datatrove's, given datatrove's words and sentences; scripts/oracles/clean.py made both.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use support::{Comparison, Words, compare, read};
use webtext::clean::split::Split;
use webtext::clean::{Cleaner, Depth, Document, Rule};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/clean.jsonl")
}

fn compare_all(path: &Path, words: Words) -> Comparison {
    let mut comparison = Comparison::default();
    read(path).for_each(|decided| compare(&decided, words, &mut comparison));
    comparison
}

fn tell(comparison: &Comparison) {
    let mut different: BTreeMap<&str, usize> = BTreeMap::new();
    comparison.differences.iter().for_each(|difference| *different.entry(&difference.of).or_default() += 1);
    for (of, compared) in &comparison.compared {
        println!("{of}: {} of {compared} differ", different.get(of.as_str()).unwrap_or(&0));
    }
    for difference in &comparison.differences {
        println!("{}: {}", difference.of, difference.text.chars().take(300).collect::<String>());
    }
}

#[test]
fn with_datatroves_words_all_decisions_are_datatroves() {
    let comparison = compare_all(&golden(), Words::Datatrove);
    tell(&comparison);
    assert!(comparison.differences.is_empty());
    // Of each rule that datatrove has, there are decisions.
    for rule in Rule::ALL.iter().filter(|rule| rule.datatrove_reason().is_some()) {
        assert!(comparison.compared[rule.name()] > 100, "{rule}");
    }
}

#[test]
fn with_own_words_the_golden_decisions_are_datatroves() {
    let comparison = compare_all(&golden(), Words::Own);
    tell(&comparison);
    assert!(comparison.differences.is_empty());
}

#[test]
fn own_words_of_golden_texts_are_spacys() {
    let english = webtext::clean::english::English::new();
    let (mut texts, mut different) = (0, 0);
    for decided in read(&golden()) {
        for (text, theirs) in decided.recorded_words() {
            let mut ours = Vec::new();
            english.words(text, &mut ours);
            texts += 1;
            if ours.join(" ") != theirs {
                different += 1;
                println!("{}: {ours:?}\n{theirs}", decided.id);
            }
        }
    }
    assert!(texts > 140 && different == 0, "{different} of {texts}");
}

/// Time that this thread has had a processor.
fn cpu_seconds() -> f64 {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    times.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// The corpora's decisions take minutes to make, so they are made by hand: `scripts/oracles/clean.py corpora`.
#[test]
fn on_the_corpora_decisions_are_datatroves() {
    let Some(path) = std::env::var_os("CONVOY_CLEAN_ORACLE").map(PathBuf::from).filter(|path| path.is_file()) else {
        println!("skipped: CONVOY_CLEAN_ORACLE does not name a file that scripts/oracles/clean.py corpora has written");
        return;
    };
    let theirs = compare_all(&path, Words::Datatrove);
    tell(&theirs);
    assert!(theirs.differences.is_empty());
    let own = compare_all(&path, Words::Own);
    tell(&own);
    for (of, compared) in &own.compared {
        let different = own.differences.iter().filter(|difference| difference.of == *of).count();
        assert!(different * 100 <= *compared, "{of}: {different} of {compared} differ");
    }
    let cleaner = Cleaner::new(support::fineweb()).unwrap();
    // What scripts/oracles/clean.py speed takes too.
    let web = read(&path).filter(|decided| decided.id.starts_with("openwebtext1000"));
    let texts: Vec<String> = web.map(|decided| decided.text).collect();
    let (began, mut kept) = (cpu_seconds(), 0);
    for text in &texts {
        kept += usize::from(cleaner.judge(Document { text, url: None }, Depth::UntilDropped).kept());
    }
    let seconds = cpu_seconds() - began;
    println!(
        "{} documents, {kept} kept, {seconds:.2} s of CPU time, {:.1} documents/s",
        texts.len(),
        texts.len() as f64 / seconds
    );
}
