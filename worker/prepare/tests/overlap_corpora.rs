//! The stage `overlap` on real evaluation sets and real web pages, compared with windows of eight words as texts.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use common::config::{RawConfig, StorageConfig};
use common::storage::Folder;
use evaluation::DataFile;
use evaluation::tasks::{Selection, find};
use prepare::job;
use prepare::ranks::Ranks;
use prepare::stages::StageOptions;
use prepare::stages::lineage::{Line, LineageFile, lineage_of};
use prepare::stages::record::StageRecord;
use serde_json::{Value, json};

const TASKS: [&str; 4] = ["wikitext2", "lambada_harness", "hellaswag_text", "documents"];
const FILES: [&str; 4] = ["wiki.test.raw", "lambada_test.jsonl", "hellaswag_val_full.txt", "wsc273.jsonl"];

/// Returns the folder of the corpora. Returns `None`, and prints the reason, if a file is not there.
fn corpora() -> Option<PathBuf> {
    let folder = match std::env::var_os("CONVOY_CORPORA") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpora")),
    };
    for file in [
        "wikitext2/wiki.test.raw",
        "lambada/lambada_test.jsonl",
        "hellaswag/hellaswag_val_full.txt.bz2",
        "winograd/winograd_wsc.jsonl",
        "openwebtext1000/openwebtext-1000.decoded.jsonl",
    ] {
        if !folder.join(file).is_file() {
            println!("skipped: no {}; CONVOY_CORPORA names another folder", folder.join(file).display());
            return None;
        }
    }
    Some(folder)
}

/// Puts the data files of the tasks into one folder. Those of WSC273 are in a form that no task reads, and become documents.
fn put_sets(corpora: &Path, to: &Path) {
    std::fs::copy(corpora.join("wikitext2/wiki.test.raw"), to.join(FILES[0])).unwrap();
    std::fs::copy(corpora.join("lambada/lambada_test.jsonl"), to.join(FILES[1])).unwrap();
    let packed = std::fs::File::open(corpora.join("hellaswag/hellaswag_val_full.txt.bz2")).unwrap();
    let mut unpacked = Vec::new();
    bzip2::read::MultiBzDecoder::new(packed).read_to_end(&mut unpacked).unwrap();
    std::fs::write(to.join(FILES[2]), unpacked).unwrap();
    let schemas = std::fs::read_to_string(corpora.join("winograd/winograd_wsc.jsonl")).unwrap();
    let document = |line: &str| {
        let schema: Value = serde_json::from_str(line).unwrap();
        let context = schema["context_options"][schema["gold"].as_u64().unwrap() as usize].as_str().unwrap();
        json!({ "text": format!("{context} {}", schema["continuation"].as_str().unwrap()) }).to_string() + "\n"
    };
    std::fs::write(to.join(FILES[3]), schemas.lines().map(document).collect::<String>()).unwrap();
}

/// Returns windows of eight words, as texts.
fn windows(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(|word| word.chars().flat_map(char::to_lowercase).collect()).collect();
    words.windows(8).map(|words| words.join(" ")).collect()
}

/// Runs the job over these documents. Returns its sums and its lines.
fn run(dir: &Path, documents: &[String]) -> (StageRecord, Vec<Line>) {
    let (place, out) = (dir.display(), dir.join("out"));
    let _ = std::fs::remove_dir_all(&out);
    let lines: String = documents.iter().map(|text| json!({ "text": text }).to_string() + "\n").collect();
    std::fs::write(dir.join("in.jsonl"), lines).unwrap();
    let text = format!(
        "[prepare]\ninputs = [\"{place}/in.jsonl\"]\noutput = \"{place}/out\"\nstages = [\"overlap\"]\n[webtext.overlap]\n\
         tasks = [\"{}\", \"{}\", \"{}\", \"documents={place}/{}\"]\ndata = \"{place}\"\n",
        TASKS[0], TASKS[1], TASKS[2], FILES[3]
    );
    let config = RawConfig::parse("of the test", &text, &[]).unwrap().prepare().unwrap();
    let options = StageOptions::read(&config.prepare, &config.webtext).unwrap();
    job::run(&config.prepare, &options, &StorageConfig::default(), &Ranks::One, 2, &mut ()).unwrap();
    let stages = Folder::open(out.join("stages").to_str().unwrap(), &StorageConfig::default()).unwrap();
    let stage = stages.folder(&stages.list_folders().unwrap()[0]);
    let record = serde_json::from_slice(&stage.get("stage.json").unwrap()).unwrap();
    let units = lineage_of(&stage).unwrap();
    let lines = units.iter().flat_map(|unit| LineageFile::open(&stage, unit).unwrap().lines().unwrap());
    (record, lines.collect())
}

/// Returns the texts of the items of each task.
fn items(dir: &Path) -> Vec<Vec<String>> {
    let of = |(task, file): (&&str, &&str)| {
        let content = std::fs::read(dir.join(file)).unwrap();
        let data = DataFile { name: file, content: &content };
        let items = find(task).unwrap().items(&data, &Selection::default()).unwrap();
        items.iter().map(evaluation::Item::text).collect()
    };
    TASKS.iter().zip(&FILES).map(of).collect()
}

fn web_pages(corpora: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(corpora.join("openwebtext1000/openwebtext-1000.decoded.jsonl")).unwrap();
    let document = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    text.lines().map(document).collect()
}

#[test]
fn the_table_of_real_sets_against_web_pages_is_that_of_comparing_windows_of_words() {
    let Some(corpora) = corpora() else { return };
    let dir = tempfile::tempdir().unwrap();
    put_sets(&corpora, dir.path());
    let pages = web_pages(&corpora);
    let (record, _) = run(dir.path(), &pages);
    let sums = record.overlaps.unwrap();
    let corpus: HashSet<String> = pages.iter().flat_map(|text| windows(text)).collect();
    for (task, items) in sums.tasks.iter().zip(items(dir.path())) {
        let of_items: Vec<Vec<String>> = items.iter().map(|text| windows(text)).collect();
        let seen = |item: &Vec<String>| item.iter().filter(|window| corpus.contains(*window)).count() as u64;
        println!("{task:?}");
        assert_eq!((task.items, task.grams), (items.len() as u64, of_items.iter().map(|item| item.len() as u64).sum()));
        assert_eq!(task.seen, of_items.iter().map(seen).sum::<u64>(), "{}", task.task);
        assert_eq!(task.overlapping, of_items.iter().filter(|item| seen(item) > 0).count() as u64, "{}", task.task);
    }
    sums.longest.iter().for_each(|overlap| println!("{overlap:?}"));
}

#[test]
fn items_of_real_sets_that_are_planted_into_web_pages_are_all_found() {
    let Some(corpora) = corpora() else { return };
    let dir = tempfile::tempdir().unwrap();
    put_sets(&corpora, dir.path());
    let mut pages = web_pages(&corpora);
    let items = items(dir.path());
    let mut planted = Vec::new();
    for (number, page) in pages.iter_mut().enumerate().step_by(2) {
        // Sets of many items, in turn. That of one whole text is no item to plant.
        let set = 1 + (number / 2) % 3;
        let item = &items[set][number * 7 % items[set].len()];
        let middle = page.floor_char_boundary(page.len() / 2);
        page.insert_str(middle, &format!(" \n{} ", item.to_uppercase()));
        planted.push((number, windows(item).len()));
    }
    let (record, lines) = run(dir.path(), &pages);
    let mut found = 0;
    for (number, grams) in planted.into_iter().filter(|(_, grams)| *grams > 0) {
        let (line, all) = (&lines[number], windows(&pages[number]).len());
        assert!(line.measure.unwrap() * all as f64 + 0.5 > grams as f64, "{number}: {line:?}");
        let words: usize = line.note.rsplit(' ').nth(1).unwrap().parse().unwrap();
        assert!(words >= grams + 7, "{number}: {line:?}");
        found += 1;
    }
    println!("{found} planted items found");
    assert!(found > 450 && record.overlaps.unwrap().documents >= found);
}
