//! Tests of the stages, from pages in archives to token shards, with the program itself as what extracts pages.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stages_support;

use std::collections::BTreeSet;

use prepare::PrepareError;
use prepare::stages::lineage::Verdict;
use stages_support::{Job, article, articles, damaged_archive, large_articles, prose, response, warc, wet};
use webtext::extract::Limits;
use webtext::pages::write::Packing;

/// Rules that keep the articles of these tests.
const RULES: &str = "clean = { set = \"paper\", length = { min_words = 20 } }";

#[test]
fn pages_become_documents_and_everything_else_is_on_record() {
    let job = Job::new(RULES);
    let german =
        "<p>Der Wärter des alten Leuchtturms schrieb am Abend einen Brief an seine Schwester im Süden.</p>".repeat(9);
    let pages: Vec<(String, Vec<u8>)> = vec![
        ("http://a.example/1".into(), response("200 OK", "text/html; charset=utf-8", article(1).as_bytes())),
        ("http://b.example/2".into(), response("404 Not Found", "text/html", article(2).as_bytes())),
        ("http://c.example/3".into(), response("200 OK", "image/png", b"\x89PNG")),
        ("http://d.example/4".into(), response("200 OK", "text/html", "<div>".repeat(100_000).as_bytes())),
        ("http://e.example/5".into(), response("200 OK", "text/html", b"<html><body></body></html>")),
        (
            "http://f.example/6".into(),
            response("200 OK", "text/html; charset=utf-8", format!("<article>{german}</article>").as_bytes()),
        ),
        ("http://en.wikipedia.org/7".into(), response("200 OK", "text/html", article(7).as_bytes())),
        ("http://a.example/8".into(), response("200 OK", "text/html", article(8).as_bytes())),
    ];
    job.put("in/pages.warc.gz", &warc(Packing::Gzip, &pages));
    job.put("in/single.html", article(20).as_bytes());
    let line = serde_json::json!({ "html": article(30), "url": "http://j.example/", "date": "2026-11-30T00:00:00Z" });
    job.put("in/lines.jsonl", format!("{line}\nno line\n").as_bytes());
    job.put("in/texts.warc.wet", wet(&[("http://w.example/", &prose(40))]).as_slice());
    let summary = job.run().unwrap();
    assert_eq!(summary.totals.documents, 5, "{summary}");

    let extract = job.lineage("extract");
    let rules: Vec<(String, &str)> =
        extract.iter().map(|line| (line.url.clone().unwrap_or_default(), line.rule.as_str())).collect();
    let rule_of = |url: &str| rules.iter().find(|(found, _)| found == url).unwrap().1;
    assert_eq!(
        ["http://b.example/2", "http://c.example/3", "http://d.example/4", "http://e.example/5"].map(rule_of),
        ["status", "type", "too_deep", "no_text"]
    );
    let damaged: Vec<_> = extract.iter().filter(|line| line.verdict == Verdict::Damaged).collect();
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    assert_eq!((damaged[0].rule.as_str(), damaged[0].at > 0), ("not_json", true));
    assert!(damaged[0].source.ends_with("in/lines.jsonl"), "{}", damaged[0].source);
    let status = extract.iter().find(|line| line.rule == "status").unwrap();
    assert_eq!((status.measure, status.limit, status.bytes_out), (Some(404.0), Some(200.0), 0));
    assert!(extract.iter().all(|line| line.verdict != Verdict::Kept || line.note.starts_with("charset ")));

    let clean = job.lineage("clean");
    let dropped: Vec<(&str, &str)> = clean
        .iter()
        .filter(|line| line.verdict == Verdict::Dropped)
        .map(|line| (line.url.as_deref().unwrap(), line.rule.as_str()))
        .collect();
    assert_eq!(
        dropped,
        [("http://f.example/6", "language.confidence"), ("http://en.wikipedia.org/7", "address.excluded_host")]
    );
    // A document keeps its id, and its place.
    for line in &clean {
        let before = extract.iter().find(|before| before.id == line.id).unwrap();
        assert_eq!(
            (&before.source, before.at, before.within, &before.url),
            (&line.source, line.at, line.within, &line.url)
        );
        assert_eq!((before.verdict, before.bytes_out), (Verdict::Kept, line.bytes_in));
    }
    let documents = job.documents("clean");
    assert_eq!(documents.len(), 5);
    let first = documents.iter().find(|document| document.url.as_deref() == Some("http://a.example/1")).unwrap();
    assert_eq!(first.title.as_deref(), Some("Article 1"));
    assert!(first.text.contains(&prose(1)), "{}", first.text);
    let plain = documents.iter().find(|document| document.url.as_deref() == Some("http://w.example/")).unwrap();
    assert_eq!(plain.text.trim(), prose(40));
    assert_eq!(job.tokenized(), documents.iter().map(|document| document.text.clone()).collect::<BTreeSet<_>>());
    assert!(job.run().unwrap().already_done);
}

#[test]
fn damage_costs_itself_and_is_counted_with_file_and_place() {
    let job = Job::new(RULES);
    let (archive, damaged_at) = damaged_archive(40, &[7, 19, 33]);
    job.put("in/damaged.warc.gz", &archive);
    job.put("in/whole.warc.gz", &warc(Packing::Gzip, &articles(100..110)));
    let summary = job.run().unwrap();
    assert_eq!(summary.totals.documents, 47);
    let lines = job.lineage("extract");
    let damaged: Vec<_> = lines.iter().filter(|line| line.verdict == Verdict::Damaged).collect();
    assert_eq!(damaged.iter().map(|line| line.at).collect::<Vec<_>>(), damaged_at);
    assert!(
        damaged
            .iter()
            .all(|line| line.source.ends_with("damaged.warc.gz") && line.rule == "packing" && !line.note.is_empty())
    );
    let tally = job.stage("extract").tally;
    assert_eq!((tally.seen, tally.kept, tally.dropped["packing"].count), (50, 47, 3));
}

/// Puts archives, each large enough to be a unit of its own.
fn put_large_archives(job: &Job, count: usize) {
    for number in 0..count {
        let from = 40 * number;
        job.put(&format!("in/{number}.warc"), &warc(Packing::Plain, &large_articles(from..from + 8)));
    }
}

#[test]
fn threads_have_no_influence_on_the_bytes() {
    let job = Job::new(RULES);
    put_large_archives(&job, 6);
    let [one, three] = [1, 3].map(|threads| {
        job.clear();
        job.run_with(threads).unwrap();
        job.output()
    });
    assert!(one.len() > 20, "{:?}", one.keys());
    assert!(one.keys().eq(three.keys()), "{:?} {:?}", one.keys(), three.keys());
    let differing: Vec<_> = one.iter().filter(|(name, bytes)| three[*name] != **bytes).map(|(name, _)| name).collect();
    assert!(differing.is_empty(), "{differing:?}");
}

#[test]
fn changed_rules_keep_extraction_and_the_documents_of_the_old_ones() {
    let mut job = Job::new(RULES);
    job.put("in/a.warc.gz", &warc(Packing::Gzip, &articles(0..12)));
    job.run().unwrap();
    let (before, times) = (job.output(), job.times());
    job.webtext("clean = { set = \"paper\", length = { min_words = 21 } }");
    let error = job.run().unwrap_err();
    assert!(matches!(error, PrepareError::OtherRules { .. }), "{error}");
    assert!(error.to_string().contains("the rules of its stages have changed since"), "{error}");
    job.remove_prepared();
    job.run().unwrap();
    let after = job.output();
    let stages = |output: &std::collections::BTreeMap<String, Vec<u8>>| -> BTreeSet<String> {
        output
            .keys()
            .filter_map(|name| name.strip_prefix("stages/")?.split_once('/').map(|(stage, _)| stage.to_owned()))
            .collect()
    };
    assert_eq!((stages(&before).len(), stages(&after).len()), (2, 3));
    let of_before: Vec<_> = before.iter().filter(|(name, _)| name.starts_with("stages/")).collect();
    assert!(of_before.iter().all(|(name, bytes)| after.get(*name) == Some(bytes)));
    // Nothing of it was written again.
    let now = job.times();
    assert!(times.iter().all(|(name, time)| !name.starts_with("stages/") || now[name] == *time));
}

#[test]
fn a_dry_run_finds_what_the_job_itself_would_find_of_its_token_shards() {
    let mut job = Job::new(RULES);
    job.put("in/a.warc.gz", &warc(Packing::Gzip, &articles(0..12)));
    assert_eq!(job.dry_run()["token_shards"], "missing");
    job.run().unwrap();
    let made = job.dry_run();
    assert_eq!((&made["token_shards"], &made["is_done"]), (&"made".into(), &true.into()), "{made}");
    job.webtext("clean = { set = \"paper\", length = { min_words = 21 } }");
    refused(&job, "the rules of its stages have changed since");
    job.webtext(RULES);
    job.prepare(|config| config.seed += 1);
    refused(&job, "it was made from another [prepare] section");
    job.prepare(|config| config.seed -= 1);
    job.put("in/b.warc.gz", &warc(Packing::Gzip, &articles(20..22)));
    refused(&job, "the inputs have changed since");
    std::fs::remove_file(job.path("in/b.warc.gz")).unwrap();
    assert_eq!(job.dry_run()["token_shards"], "made");
}

#[test]
fn a_dry_run_without_stages_finds_changed_inputs_too() {
    let mut job = Job::new("");
    job.prepare(|config| config.stages.clear());
    job.put("in/a.txt", prose(1).as_bytes());
    job.run().unwrap();
    assert_eq!(job.dry_run()["token_shards"], "made");
    job.put("in/b.txt", prose(2).as_bytes());
    refused(&job, "the inputs have changed since");
}

/// Checks that the job and its dry run refuse in equal words.
fn refused(job: &Job, expected: &str) {
    let (refusal, dry) = (job.run().unwrap_err().to_string(), job.dry_run());
    assert!(refusal.contains(expected), "{refusal}");
    assert_eq!((&dry["token_shards"]["refused"], &dry["is_done"]), (&refusal.into(), &false.into()), "{dry}");
}

#[test]
fn a_damaged_object_of_a_stage_is_named_and_without_its_folder_the_stage_is_done_again() {
    let job = Job::new(RULES);
    job.put("in/a.warc.gz", &warc(Packing::Gzip, &articles(0..12)));
    job.run().unwrap();
    let whole = job.output();
    job.remove_all_but("extract");
    let name = job.object("extract", "unit-000000.documents.parquet");
    let mut content = std::fs::read(&name).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&name, &content).unwrap();
    let error = job.run().unwrap_err().to_string();
    assert!(error.contains("unit-000000.documents.parquet") && error.contains("checksum"), "{error}");
    assert!(error.contains("and the job starts over"), "{error}");
    content.truncate(middle);
    std::fs::write(&name, &content).unwrap();
    let error = job.run().unwrap_err().to_string();
    assert!(error.contains("unit-000000.documents.parquet"), "{error}");
    std::fs::write(job.object("extract", "stage.json"), "{}").unwrap();
    let error = job.run().unwrap_err().to_string();
    assert!(error.contains("stage.json"), "{error}");
    std::fs::remove_dir_all(name.parent().unwrap()).unwrap();
    job.run().unwrap();
    assert!(job.output() == whole);
    // Documents that are to be tokenized next are looked at, too.
    job.remove_prepared();
    let name = job.object("clean", "unit-000000.documents.parquet");
    content = std::fs::read(&name).unwrap();
    content[100] ^= 1;
    std::fs::write(&name, &content).unwrap();
    let error = job.run().unwrap_err().to_string();
    assert!(error.contains("stages/clean-") && error.contains("checksum"), "{error}");
    content[100] ^= 1;
    std::fs::write(&name, &content).unwrap();
    job.run().unwrap();
    assert!(job.output() == whole);
}

#[test]
fn a_full_disk_ends_the_job_with_a_clear_error_and_it_goes_on_afterwards() {
    let job = Job::new(RULES);
    job.put("in/a.warc.gz", &warc(Packing::Gzip, &large_articles(0..60)));
    job.run().unwrap();
    let whole = job.output();
    job.clear();
    // A limit on the size of files stands in for a full disk: the kernel refuses writes alike.
    let output = job.command_with_file_limit(64).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(message.contains("the disk is full") && message.contains("stages/extract-"), "{message}");
    job.succeeds();
    assert!(job.output() == whole);
}

#[test]
fn when_rules_keep_nothing_the_job_says_which_did() {
    let job = Job::new("clean = { set = \"paper\", length = { min_words = 100000 } }");
    job.put("in/a.warc.gz", &warc(Packing::Gzip, &articles(0..4)));
    let error = job.run().unwrap_err().to_string();
    assert!(error.contains("the stage clean kept 0 of 4 documents (length.words dropped 4)"), "{error}");
    assert!(error.contains("[webtext.clean]"), "{error}");
}

#[test]
fn with_the_least_memory_of_a_child_ordinary_pages_are_extracted() {
    let job = Job::new(&format!("{RULES}\nextract = {{ memory_bytes = {} }}", Limits::MEMORY_BYTES_MIN));
    job.put("in/a.warc.gz", &warc(Packing::Gzip, &articles(0..12)));
    assert_eq!(job.run().unwrap().totals.documents, 12);
}

#[test]
fn inputs_without_pages_are_refused_with_what_would_be_read() {
    let job = Job::new("");
    job.put("in/a.txt", b"text");
    let error = job.run().unwrap_err().to_string();
    assert!(error.contains("nothing to read") && error.contains(".warc, .wet, .html"), "{error}");
}
