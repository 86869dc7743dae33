//! What the stages make of fixed pages and texts, pinned by hashes: whoever changes it raises the version of the stages.
//!
//! Rows are hashed, not the bytes of their Parquet files, which may change with a library without any change of a row. Measures
//! are rounded, since the last digits of a logarithm may differ between machines.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use common::config::{RawConfig, StorageConfig};
use common::sha256::Sha256Sum;
use common::storage::Folder;
use prepare::job;
use prepare::ranks::Ranks;
use prepare::stages::StageOptions;
use prepare::stages::document::DocumentReader;
use prepare::stages::lineage::{Line, LineageFile, lineage_of};
use prepare::stages::names::documents_name;
use prepare::stages::record::StageRecord;
use webtext::pages::write::{Packing, Record, WarcWriter};

/// SHA-256 of the rows of each unit. A change here needs a higher `VERSION` in `src/stages/plan.rs`: with the old one, a job takes
/// what an older Convoy has made for what this one makes.
const MADE: &str = "\
pages extract 0 documents c1b190c2906cb661dd753da9795c6914a6d2a697f3d24451d26469b523925002
pages extract 0 lineage 33111a41f500f96c165278795c8c236b5b65e19074a44479dab5ca3222d7248d
pages clean 0 documents 813f6c3ab0548dc0ac291e8902946a23077d019296e0bc7a0d4e47689ef3b6ea
pages clean 0 lineage e3cc8b9bbc2b789667080d0d621f6e86bf594dfa6f288a2ab0c9ad787018f1bf
pages deduplicate 0 documents 1072182d426f8a38588a79b3d99dbc53f750efea6e22b56d31cd5c6b0314aadc
pages deduplicate 0 lineage 5349603bfb8566d7d4dd7081f60a2bf7d2205be2c0400b2dfe782ca6118f2b50
texts clean 0 documents ca60fa1b5937152e5170bf4b6c5ec51ea4ed0d53a1475a41321ee4692e3f3ade
texts clean 0 lineage 86f0887f607f1b788816011ec48b3376552e39e8662a622369582e14f5f2347e
texts deduplicate 0 documents 73fa5f808352756fdeef1a01da907f5ddebc69af710e5cce7d6454fb4e1d4aeb
texts deduplicate 0 lineage 4a7021b95f4e7b874e8c6887515f65334757821ca135e6aac0374d24c8894899
tested overlap 0 documents 4e5ef1d6e16e3b7de7257f482fea2adfa09567aee2c924ca24da84153855b0b0
tested overlap 0 lineage 0aaa575e7fd7927cfc7dd6fcf94077a2f8f893d6b3a84090daa41ba0be910509
";

/// Paragraphs that all rules keep.
const PROSE: [&str; 3] = [
    "The keeper of the old lighthouse wrote a long letter to her sister before the storm. She said that the lamp had been cleaned, \
     and that two barrels of oil were left in the cellar.",
    "In the morning a small boat came from the village with bread, newspapers and a new rope. Its captain asked whether anybody had \
     seen the grey whale near the rocks.",
    "Nobody had, but the children wanted to look for it from the gallery. They stayed there until the fog hid the harbour. Then \
     everyone went down to the kitchen to have some soup with the visitors.",
];
/// Date of all pages and texts.
const DATE: &str = "2026-11-30T12:00:00Z";

/// Returns a page with this title that all stages keep.
fn page(title: &str) -> String {
    let paragraphs = PROSE.map(|paragraph| format!("<p>{paragraph}</p>")).concat();
    format!(
        "<html><head><title>{title}</title><meta name=\"author\" content=\"A\"></head><body><nav><a href=\"/\">Home</a></nav>\
         <article><h1>{title}</h1>{paragraphs}<ul><li>The letter was posted on Monday.</li></ul></article>\
         <footer>Terms of use</footer></body></html>"
    )
}

/// Returns an archive of pages, of which the last is cut.
fn archive() -> Vec<u8> {
    let mut writer = WarcWriter::new(Vec::new(), Packing::Plain);
    let text = PROSE.join("\n");
    let (url, block) = ("http://wet.example/", text.as_bytes());
    let record = Record { record_type: "conversion", url, date: DATE, content_type: "text/plain", fields: "", block };
    writer.record(&record).unwrap();
    for (path, status, content_type, body) in [
        ("kept", "200 OK", "text/html; charset=utf-8", page("Letters &amp; storms")),
        ("missing", "404 Not Found", "text/html", page("Not found")),
        ("picture", "200 OK", "image/png", "PNG".to_owned()),
        ("empty", "200 OK", "text/html", "<html><body></body></html>".to_owned()),
        (
            "short",
            "200 OK",
            "text/html",
            "<article><p>The letter was posted on Monday, as always.</p></article>".to_owned(),
        ),
        ("cut", "200 OK", "text/html", page("Cut")),
    ] {
        let length = body.len();
        let message =
            format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}");
        writer.response(&format!("http://www.example.com/{path}"), DATE, message.as_bytes()).unwrap();
    }
    let mut archive = writer.into_inner();
    archive.truncate(archive.len() - 100);
    archive
}

/// Returns JSON lines with these values, and one that is none.
fn json_lines(values: &[serde_json::Value]) -> String {
    let mut lines: Vec<String> = values.iter().map(ToString::to_string).collect();
    lines.push("no JSON\n".to_owned());
    lines.join("\n")
}

/// Runs `stages` by these `rules` over the objects `inputs`, in memory, and returns the hashes of what they make, and all rows.
fn made(name: &str, (stages, rules): (&[&str], &str), inputs: &[(&str, Vec<u8>)]) -> (String, String) {
    let root = Folder::open(&format!("memory://version-{name}"), &StorageConfig::default()).unwrap();
    inputs.iter().for_each(|(object, content)| root.put(&format!("in/{object}"), content.clone().into()).unwrap());
    let config = format!(
        "[prepare]\ninputs = [\"memory://version-{name}/in\"]\noutput = \"memory://version-{name}/out\"\nstages = {stages:?}\n\
         validation_fraction = 0.0\non_bad_document = \"skip\"\n[webtext]\n{rules}\n"
    );
    let config = RawConfig::parse("of the test", &config, &[]).unwrap().prepare().unwrap();
    let mut options = StageOptions::read(&config.prepare, &config.webtext).unwrap();
    options.program = Some(env!("CARGO_BIN_EXE_prepare").into());
    job::run(&config.prepare, &options, &config.storage, &Ranks::One, 1, &mut ()).unwrap();

    let folders = root.folder("out").folder("stages");
    let names = folders.list_folders().unwrap();
    let (mut hashes, mut all) = (String::new(), String::new());
    for stage in stages {
        let folder = names.iter().find(|folder| folder.starts_with(stage)).unwrap();
        for (what, rows) in rows(&folders.folder(folder)) {
            writeln!(hashes, "{name} {stage} {what} {}", Sha256Sum::of(rows.as_bytes())).unwrap();
            writeln!(all, "{name} {stage} {what}\n{rows}").unwrap();
        }
    }
    (hashes, all)
}

/// Returns the rows of each unit's documents and lineage, a line for each.
fn rows(stage: &Folder) -> Vec<(String, String)> {
    let record: StageRecord = serde_json::from_slice(&stage.get("stage.json").unwrap()).unwrap();
    let mut rows = Vec::new();
    for (unit, stored) in lineage_of(stage).unwrap().iter().zip(&record.units) {
        let number = unit.number;
        let mut reader = DocumentReader::open(stage, &documents_name(number), stored).unwrap();
        let mut documents = String::new();
        while let Some(group) = reader.next_group().unwrap() {
            group.iter().for_each(|document| writeln!(documents, "{document:?}").unwrap());
        }
        let lines = LineageFile::open(stage, unit).unwrap().lines().unwrap();
        let rounded = |measure: Option<f64>| measure.map(|measure| (measure * 1e3).round() / 1e3);
        let lines = lines.into_iter().map(|line| Line { measure: rounded(line.measure), ..line });
        let lines: Vec<String> = lines.map(|line| format!("{line:?}\n")).collect();
        rows.push((format!("{number} documents"), documents));
        rows.push((format!("{number} lineage"), lines.concat()));
    }
    rows
}

/// Returns what becomes of texts that overlap with an evaluation set in part, wholly, and not at all.
fn made_with_tests() -> (String, String) {
    let eval = Folder::open("memory://version-tested/eval", &StorageConfig::default()).unwrap();
    eval.put("own.jsonl", json_lines(&[serde_json::json!({ "text": PROSE[1] })]).replace("no JSON\n", "").into())
        .unwrap();
    let text = |text: &str| serde_json::json!({ "text": text, "url": "http://text.example/", "date": DATE });
    let texts = json_lines(&[text(&PROSE.join("\n")), text(PROSE[1]), text(PROSE[2])]);
    let rules = "overlap = { tasks = [\"documents=memory://version-tested/eval/own.jsonl\"], remove = \"window\", \
                 window_characters = 20 }";
    made("tested", (&["overlap"], rules), &[("a.jsonl", texts.into_bytes())])
}

#[test]
fn what_stages_make_of_fixed_inputs_changes_with_their_version_alone() {
    let text = PROSE.join("\r\n\r\n");
    let pages = json_lines(&[
        serde_json::json!({ "html": page("A line"), "url": "https://line.example/?a=b", "date": DATE }),
        serde_json::json!({ "html": page("Without an address") }),
        serde_json::json!({ "url": "https://line.example/no-html" }),
    ]);
    let texts = json_lines(&[
        serde_json::json!({ "text": text, "url": "http://text.example/", "title": "A text", "date": DATE }),
        serde_json::json!({ "text": format!("{text}\nlorem ipsum dolor sit amet"), "title": "Filler" }),
        serde_json::json!({ "text": "Too short to be kept.", "url": "http://text.example/short", "date": DATE }),
        serde_json::json!({ "title": "Without a text" }),
        serde_json::json!({ "text": text.to_uppercase(), "url": "http://copy.example/" }),
        serde_json::json!({ "text": format!("{text} And so it was."), "url": "http://near.example/" }),
    ]);
    let pages = [("a.warc", archive()), ("b.jsonl", pages.into_bytes()), ("c.html", page("A file").into_bytes())];
    let (of_pages, page_rows) = made("pages", (&["extract", "clean", "deduplicate"], ""), &pages);
    let (of_texts, text_rows) = made("texts", (&["clean", "deduplicate"], ""), &[("a.jsonl", texts.into_bytes())]);
    let (of_tested, tested_rows) = made_with_tests();
    let (hashes, rows) = (of_pages + &of_texts + &of_tested, page_rows + &text_rows + &tested_rows);
    for verdict in ["Kept", "Dropped", "Damaged"] {
        assert!(rows.contains(&format!("verdict: {verdict}")), "the inputs show no row {verdict}:\n{rows}");
    }
    assert!(
        hashes == MADE,
        "the stages make other rows than at their version; if that is meant, raise VERSION in src/stages/plan.rs, and pin these:\n\
         {hashes}\nThe rows are:\n{rows}"
    );
}
