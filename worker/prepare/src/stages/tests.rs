//! Tests of documents, options and the stage `clean` by itself, over memory.

use std::collections::BTreeSet;

use bytes::Bytes;
use common::config::{ConfigError, PrepareJobConfig, RawConfig, StageName, StorageConfig, WebtextConfig};
use common::exit_code::ExitCode;
use common::storage::Folder;
use serde_json::Value;
use webtext::clean::CleanOptions;
use webtext::deduplicate::{DeduplicateOptions, Keep, MinHashOptions};
use webtext::extract::Limits;

use super::document::{Document, DocumentReader, DocumentWriter};
use super::lineage::{Line, LineageFile, Verdict, lineage_of};
use super::names::documents_name;
use super::object::{ObjectWriter, Stored};
use super::options::StageOptions;
use super::overlap::options::OverlapOptions;
use super::plan::plan;
use super::record::StageRecord;
use crate::PrepareError;
use crate::job;
use crate::ranks::Ranks;
use crate::summary::Summary;

fn folder(name: &str) -> Folder {
    Folder::open(&format!("memory://stages-{name}"), &StorageConfig::default()).unwrap()
}

/// Both stages before deduplication, as a config has them.
const BOTH: &str = "\"extract\", \"clean\"";
/// All stages before that of overlap.
const ALL: &str = "\"extract\", \"clean\", \"deduplicate\"";
/// Folder of an earlier deduplication.
const EARLIER: &str = "stages/deduplicate-0123456789abcdef";

fn config(name: &str, webtext: &str) -> PrepareJobConfig {
    config_of("\"clean\"", name, webtext)
}

fn config_of(stages: &str, name: &str, webtext: &str) -> PrepareJobConfig {
    let text = format!(
        "[prepare]\ninputs = [\"memory://stages-{name}/in\"]\noutput = \"memory://stages-{name}/out\"\nstages = [{stages}]\n\
         validation_fraction = 0.0\n[webtext]\n{webtext}\n"
    );
    RawConfig::parse("of the test", &text, &[]).unwrap().prepare().unwrap()
}

fn run(config: &PrepareJobConfig, threads: usize) -> Result<Summary, PrepareError> {
    let options = StageOptions::read(&config.prepare, &config.webtext)?;
    job::run(&config.prepare, &options, &StorageConfig::default(), &Ranks::One, threads, &mut ())
}

fn write(folder: &Folder, name: &str, documents: &[Document]) -> Stored {
    let mut object = ObjectWriter::begin(folder, name).unwrap();
    let mut writer = DocumentWriter::new(&mut object).unwrap();
    documents.iter().for_each(|document| writer.push(document.clone()).unwrap());
    writer.finish().unwrap();
    object.finish().unwrap()
}

fn read(folder: &Folder, name: &str, stored: &Stored) -> Vec<Vec<Document>> {
    let mut reader = DocumentReader::open(folder, name, stored).unwrap();
    std::iter::from_fn(|| reader.next_group().unwrap()).collect()
}

fn documents(count: usize, text_bytes: usize) -> Vec<Document> {
    let document = |number: usize| Document {
        id: u128::MAX - number as u128,
        source: format!("s3://crawl/{}.warc.gz", number / 10),
        at: u64::MAX - number as u64,
        within: number as u64,
        url: (!number.is_multiple_of(3)).then(|| format!("http://host/{number}")),
        title: number.is_multiple_of(2).then(|| "naïve 漢字".to_owned()),
        date: None,
        text: format!("{number} ").repeat(text_bytes / 4),
    };
    (0..count).map(document).collect()
}

#[test]
fn documents_come_back_in_row_groups_of_bounded_size() {
    let folder = folder("documents");
    let all = documents(50, 400_000);
    let stored = write(&folder, "a", &all);
    let groups = read(&folder, "a", &stored);
    assert_eq!(groups.concat(), all);
    assert!((3..8).contains(&groups.len()), "{}", groups.len());
    assert_eq!(write(&folder, "b", &all), stored);
    assert_eq!(folder.get("a").unwrap(), folder.get("b").unwrap());
    let none = write(&folder, "none", &[]);
    assert!(read(&folder, "none", &none).is_empty());
    let small = write(&folder, "small", &documents(40_000, 4));
    assert_eq!(read(&folder, "small", &small).iter().map(Vec::len).collect::<Vec<_>>(), [16_384, 16_384, 7232]);
}

#[test]
fn what_lies_where_documents_should_is_refused_by_its_name() {
    let folder = folder("foreign");
    let stored = write(&folder, "a", &documents(20, 100));
    let content = folder.get("a").unwrap();
    for end in [0, 3, 11, content.len() / 2, content.len() - 1] {
        folder.put("a", content.slice(..end)).unwrap();
        let cut = Stored { bytes: end as u64, ..stored.clone() };
        let error = DocumentReader::open(&folder, "a", &cut).and_then(|mut reader| reader.next_group()).unwrap_err();
        assert!(error.to_string().contains("/a: "), "{error}");
        assert_eq!(error.exit_code(), ExitCode::Data);
    }
    let mut state = 7_u64;
    for _ in 0..300 {
        let mut damaged = content.to_vec();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (state >> 33) as usize % damaged.len();
            damaged[at] = (state >> 20) as u8;
        }
        folder.put("a", damaged.into()).unwrap();
        // It is read, or refused.
        let _ = DocumentReader::open(&folder, "a", &stored).and_then(|mut reader| reader.next_group());
    }
}

fn faults(stages: &str, webtext: &str) -> Vec<String> {
    let config = config_of(stages, "options", webtext);
    match StageOptions::read(&config.prepare, &config.webtext) {
        Err(error @ ConfigError::Faults { .. }) => {
            error.to_string().lines().skip(1).map(|l| l.trim().to_owned()).collect()
        }
        other => panic!("expected faults, got {other:?}"),
    }
}

#[test]
fn a_set_comes_first_and_other_keys_replace_its_own() {
    let config = config_of(
        BOTH,
        "options",
        "extract = { cpu_ms = 5000 }\nclean = { length = { min_words = 50 }, set = \"paper\", c4 = { enabled = true } }",
    );
    let options = StageOptions::read(&config.prepare, &config.webtext).unwrap();
    assert_eq!(options.extract, Limits { cpu_ms: 5000, ..Limits::default() });
    let mut expected = CleanOptions::paper();
    expected.length.min_words = 50;
    expected.c4.enabled = true;
    assert_eq!(options.clean, expected);
    let whole = super::tests::config("options", "");
    assert_eq!(StageOptions::read(&whole.prepare, &whole.webtext).unwrap().clean, CleanOptions::fineweb());
}

#[test]
fn every_fault_of_the_rules_is_named_with_what_was_expected() {
    let found = faults(
        BOTH,
        "extract = { cpu_ms = 0, memory_bytes = 167_772_160, pages = 1, depth = \"deep\" }\n\
         clean = { set = \"c5\", length = { words = 1, min_words = 2.5 }, quality = 3, repetition = { duplicate_lines = 30 } }",
    );
    let text = found.join("\n");
    for expected in [
        "webtext.extract.pages = 1: unknown key; this table has ",
        "webtext.extract.depth = \"deep\": invalid type: string \"deep\", expected usize; its default is 512",
        "webtext.extract.cpu_ms = 0: must be from 1 to 3600000; leave it out for 10000",
        "webtext.extract.memory_bytes = 167772160: must be from 268435456 to 1099511627776; leave it out for 1073741824",
        "webtext.clean.set = \"c5\": is no set of rules; give \"fineweb\" or \"paper\"",
        "webtext.clean.length.words = 1: unknown key; this table has min_characters, min_words",
        "webtext.clean.length.min_words = 2.5: invalid type: floating point `2.5`, expected usize; its default is 0",
        "webtext.clean.quality = 3: is a table; write [webtext.clean.quality] and its keys below",
        "webtext.clean.repetition.duplicate_lines = 30: expected a share from 0 to 1; write 0.3 for 30 %",
    ] {
        assert!(text.contains(expected), "missing {expected:?} in:\n{text}");
    }
    assert_eq!(found.len(), 9, "{text}");
}

#[test]
fn every_fault_of_a_deduplication_is_named_with_what_was_expected() {
    let found = faults(
        ALL,
        "deduplicate = { text = false, url = false, near = false, lines = true, keep = { best = \"karma\" }, \
         against = [\"/old/stages/clean-0123456789abcdef\", \"s3://bucket/old\", \"/old/stages/deduplicate-0123456789abcdef/\"], \
         minhash = { bands = 0, rows = 5000, bits = 12, words = 65, seed = -1, hashes = 2 } }",
    );
    let text = found.join("\n");
    let folder = "is no folder of an earlier deduplication; it ends in stages/deduplicate- and 16 hex digits";
    for expected in [
        "webtext.deduplicate.lines = true: unknown key; this table has against, keep, minhash, near, paragraph_bytes, paragraphs, text, url",
        "webtext.deduplicate.minhash.hashes = 2: unknown key; this table has bands, bits, rows, seed, words",
        "webtext.deduplicate.minhash.seed = -1: invalid value: integer `-1`, expected u64; its default is 1",
        "webtext.deduplicate.minhash.bands = 0: expected from 1 to 4096; write 14 bands and 8 rows as FineWeb has them",
        "webtext.deduplicate.minhash.rows = 5000: expected from 1 to 4096; write 14 bands",
        "webtext.deduplicate.minhash.bits = 12: expected 8, 16, 32 or 64; write 64 as FineWeb has it",
        "webtext.deduplicate.minhash.words = 65: expected from 1 to 64; write 5 as FineWeb has it",
        "webtext.deduplicate.near = false: expected at least one of text, url, near and paragraphs to be true; leave one of them out",
        "webtext.deduplicate.keep.best = \"karma\": expected \"date\"; write keep = { best = \"date\" } for the latest",
        &format!("webtext.deduplicate.against = \"/old/stages/clean-0123456789abcdef\": {folder}"),
        &format!("webtext.deduplicate.against = \"s3://bucket/old\": {folder}"),
    ] {
        assert!(text.contains(expected), "missing {expected:?} in:\n{text}");
    }
    assert_eq!(found.len(), 11, "{text}");
    for (webtext, expected) in [
        (
            "keep = \"newest\"",
            "webtext.deduplicate.keep = \"newest\": unknown variant `newest`, expected one of `earliest`, `longest`, `best`; its \
             default is \"earliest\"",
        ),
        (
            "against = \"https://key:hunter2@host/old\"",
            "webtext.deduplicate.against = \"https://host/old\": invalid type: string \"https://host/old\", expected a sequence; its \
             default is []",
        ),
        (
            "minhash = 5",
            "webtext.deduplicate.minhash = 5: is a table; write [webtext.deduplicate.minhash] and its keys below",
        ),
    ] {
        assert_eq!(faults(ALL, &format!("deduplicate = {{ {webtext} }}")), [expected]);
    }
}

#[test]
fn a_deduplication_is_read_from_the_config_and_from_the_config_that_other_ranks_get() {
    let text = format!(
        "deduplicate = {{ url = false, keep = {{ best = \"date\" }}, against = [\"old/{EARLIER}\", \"s3://bucket/{EARLIER}/\"], \
         minhash = {{ bands = 20, rows = 13 }} }}"
    );
    let config = config_of(ALL, "options", &text);
    let options = StageOptions::read(&config.prepare, &config.webtext).unwrap();
    let here = std::env::current_dir().unwrap().join("old").join(EARLIER);
    let expected = DeduplicateOptions {
        url: false,
        keep: Keep::Best("date".into()),
        against: vec![here.display().to_string(), format!("s3://bucket/{EARLIER}/")],
        minhash: MinHashOptions { bands: 20, rows: 13, ..MinHashOptions::default() },
        ..DeduplicateOptions::default()
    };
    assert_eq!(options.deduplicate, expected);
    let shared = PrepareJobConfig { webtext: config.webtext.with_absolute_paths(), ..config };
    let again = RawConfig::parse("from rank 0", &shared.to_toml(), &[]).unwrap().prepare().unwrap();
    assert_eq!(StageOptions::read(&again.prepare, &again.webtext).unwrap(), options);
    let none = config_of(ALL, "options", "");
    let options = StageOptions::read(&none.prepare, &none.webtext).unwrap();
    assert_eq!(options.deduplicate, DeduplicateOptions::default());
}

#[test]
fn secrets_in_urls_of_earlier_deduplications_are_used_and_neither_stored_nor_hashed() {
    let read = |against: String| {
        let config = config_of(ALL, "options", &format!("deduplicate = {{ against = [\"{against}\"] }}"));
        StageOptions::read(&config.prepare, &config.webtext).unwrap()
    };
    let shown = read(format!("https://host/{EARLIER}")).of(StageName::Deduplicate);
    for given in [format!("https://key:hunter2@host/{EARLIER}/"), format!("https://host/{EARLIER}?sig=hunter2")] {
        let options = read(given.clone());
        assert_eq!(options.deduplicate.against, [given]);
        assert_eq!(options.of(StageName::Deduplicate), shown);
        assert!(!options.of(StageName::Deduplicate).to_string().contains("hunter2"));
    }
    assert_ne!(read(format!("https://other/{EARLIER}")).of(StageName::Deduplicate), shown);
}

#[test]
fn a_section_without_its_stage_is_refused_with_the_stages_to_write() {
    let (extract, clean) = ("extract = { cpu_ms = 5 }", "clean = { set = \"paper\" }");
    let both = "write prepare.stages = [\"extract\", \"clean\"], or leave this section out";
    for (stages, webtext, expected) in [
        ("\"clean\"", extract, format!("webtext.extract: has no use without the stage extract; {both}")),
        ("\"extract\"", clean, format!("webtext.clean: has no use without the stage clean; {both}")),
        (
            BOTH,
            "deduplicate = { url = false }",
            "webtext.deduplicate: has no use without the stage deduplicate; write prepare.stages = [\"extract\", \"clean\", \
             \"deduplicate\"], or leave this section out"
                .into(),
        ),
        (
            "",
            clean,
            "webtext.clean: has no use without the stage clean; write prepare.stages = [\"clean\"], or leave this section out".into(),
        ),
    ] {
        assert_eq!(faults(stages, webtext), [expected]);
    }
    assert_eq!(faults("", &format!("{extract}\n{clean}")).len(), 2);
    // A resolved config has all tables.
    let resolved = config_of("", "options", "extract = {}\nclean = {}\ndeduplicate = {}");
    StageOptions::read(&resolved.prepare, &resolved.webtext).unwrap();
}

#[test]
fn rules_that_cannot_be_used_are_named_by_their_keys_wherever_they_come_from() {
    folder("faulty-rules").put("in/a.txt", "a text".into()).unwrap();
    let config = config("faulty-rules", "");
    let mut options = StageOptions::read(&config.prepare, &config.webtext).unwrap();
    options.clean.repetition.duplicate_lines = 30.0;
    let run = job::run(&config.prepare, &options, &StorageConfig::default(), &Ranks::One, 1, &mut ());
    let error = run.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Config);
    let expected = "webtext.clean.repetition.duplicate_lines = 30: expected a share from 0 to 1; write 0.3 for 30 %";
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn the_folder_of_a_stage_follows_from_rules_and_inputs() {
    let plan_of = |webtext: &str, stages: &str, version: &str| {
        let mut config = config("plan", webtext);
        config.prepare.stages = toml_stages(stages);
        let found = vec![crate::inputs::Found {
            input: 0,
            name: "a".into(),
            bytes: 1,
            version: version.into(),
            unreadable: None,
        }];
        let options = StageOptions::read(&config.prepare, &config.webtext).unwrap();
        plan(&config.prepare, &options, &found, &StorageConfig::default()).unwrap()
    };
    let first = plan_of("", "extract clean", "1");
    let names: Vec<String> = first.iter().map(|stage| stage.folder_name()).collect();
    assert!(names[0].starts_with("extract-") && names[1].starts_with("clean-"), "{names:?}");
    assert!(names.iter().all(|name| name.len() == name.find('-').unwrap() + 17), "{names:?}");
    assert_eq!(plan_of("clean = { set = \"fineweb\" }", "extract clean", "1"), first);
    let other_rules = plan_of("clean = { set = \"paper\" }", "extract clean", "1");
    assert_eq!((other_rules[0] == first[0], other_rules[1] == first[1]), (true, false));
    let other_limits = plan_of("extract = { cpu_ms = 1 }", "extract clean", "1");
    assert!(other_limits[0] != first[0] && other_limits[1] != first[1]);
    assert!(plan_of("", "extract clean", "2")[0] != first[0]);
    assert!(plan_of("", "clean", "1")[0] != first[1]);
    let all = plan_of("", "extract clean deduplicate", "1");
    assert!(all[..2] == first && all[2].folder_name().starts_with("deduplicate-"));
    let other = plan_of("deduplicate = { keep = \"longest\" }", "extract clean deduplicate", "1");
    assert!(other[..2] == first && other[2] != all[2]);
    assert!(plan_of("", "deduplicate", "1")[0] != all[2]);
}

fn toml_stages(names: &str) -> Vec<StageName> {
    let all = [StageName::Extract, StageName::Clean, StageName::Deduplicate];
    let named = |name: &str| *all.iter().find(|stage| stage.name() == name).unwrap();
    names.split(' ').map(named).collect()
}

/// Rules for these documents: at least 5 words, nothing else.
const RULES: &str = "clean = { set = \"paper\", length = { min_words = 5 }, language = { kept = [] } }";

fn stage_folder(name: &str) -> Folder {
    let stages = folder(name).folder("out").folder("stages");
    let names = stages.list_folders().unwrap();
    assert_eq!(names.len(), 1, "{names:?}");
    stages.folder(&names[0])
}

fn lineage(folder: &Folder) -> Vec<Line> {
    let units = lineage_of(folder).unwrap();
    units.iter().flat_map(|unit| LineageFile::open(folder, unit).unwrap().lines().unwrap()).collect()
}

fn objects(folder: &Folder) -> Vec<(String, Bytes)> {
    let is_timed = |name: &str| {
        name == "prepare.json" || name == "README.md" || (name.starts_with("stages/") && name.ends_with(".json"))
    };
    let objects = folder.list().unwrap().into_iter().filter(|object| !is_timed(&object.name));
    objects.map(|object| (object.name.clone(), folder.get(&object.name).unwrap())).collect()
}

#[test]
fn documents_that_are_text_are_cleaned_and_keep_what_is_known_of_them() {
    let root = folder("texts");
    let lines = [
        serde_json::json!({ "text": "one two three four five\r\nsix", "url": "http://a.example/x", "title": "T", "date": 5 }),
        serde_json::json!({ "text": "too short", "url": "http://b.example/" }),
        serde_json::json!({ "url": "https://en.wikipedia.org/wiki", "text": "one two three four five six" }),
    ];
    root.put("in/a.jsonl", lines.map(|line| line.to_string() + "\n").concat().into()).unwrap();
    root.put("in/b.txt", "a text of five words or more".into()).unwrap();
    let summary = run(&config("texts", RULES), 2).unwrap();
    assert_eq!((summary.totals.documents, summary.totals.objects), (2, 2));
    let stage = stage_folder("texts");
    let record: StageRecord = serde_json::from_slice(&stage.get("stage.json").unwrap()).unwrap();
    assert_eq!((record.stage.as_str(), record.tally.seen, record.tally.kept), ("clean", 4, 2));
    let kept = read(&stage, &documents_name(0), &record.units[0]).concat();
    let first = &kept[0];
    assert_eq!((first.text.as_str(), first.at), ("one two three four five\nsix", 0));
    assert_eq!(
        (first.url.as_deref(), first.title.as_deref(), first.date.as_deref()),
        (Some("http://a.example/x"), Some("T"), None)
    );
    let lines = lineage(&stage);
    let decided: Vec<_> = lines.iter().map(|line| (line.rule.as_str(), line.measure, line.limit)).collect();
    let expected = [
        ("", None, None),
        ("length.words", Some(2.0), Some(5.0)),
        ("address.excluded_host", Some(1.0), Some(0.0)),
        ("", None, None),
    ];
    assert_eq!(decided, expected);
    assert!(lines[0].note.contains("text changed") && lines[3].note.is_empty(), "{lines:?}");
    assert!(lines[1].source.ends_with("/in/a.jsonl") && lines[1].at > 0);
}

#[test]
fn documents_that_cannot_be_read_end_the_job_or_are_on_record() {
    let root = folder("bad");
    root.put(
        "in/a.jsonl",
        "{\"text\": \"one two three four five\"}\n{\"text\": \n\n{\"text\": \"six seven eight nine ten\"}\n".into(),
    )
    .unwrap();
    let mut config = config("bad", RULES);
    let error = run(&config, 1).unwrap_err();
    assert!(error.to_string().contains("in/a.jsonl, line 2: not JSON"), "{error}");
    config.prepare.on_bad_document = common::config::OnBadDocument::Skip;
    assert_eq!(run(&config, 1).unwrap().totals.documents, 2);
    let lines = lineage(&stage_folder("bad"));
    let bad: Vec<_> = lines.iter().filter(|line| line.verdict == Verdict::Damaged).collect();
    assert_eq!((bad.len(), bad[0].rule.as_str(), bad[0].at), (1, "not_json", 36));
}

#[test]
fn threads_have_no_influence_on_what_is_kept() {
    let root = folder("threads");
    for number in 0..40 {
        let lines: String = (0..200)
            .map(|line| {
                serde_json::json!({ "text": format!("{line} words of {number} ").repeat(line % 40) }).to_string() + "\n"
            })
            .collect();
        root.put(&format!("in/{number:02}.jsonl"), lines.into()).unwrap();
    }
    let mut outputs = [1, 4].map(|threads| {
        let out = root.folder("out");
        out.delete_all().unwrap();
        run(&config("threads", RULES), threads).unwrap();
        objects(&out)
    });
    let four = outputs[1].split_off(0);
    assert!(outputs[0].len() > 4 && outputs[0] == four);
}

#[test]
fn units_that_are_done_are_not_done_again() {
    let root = folder("units");
    for number in 0..3 {
        let text = format!("{{\"text\": \"{}\"}}\n", "several words of it ".repeat(40_000 + number));
        root.put(&format!("in/{number}.jsonl"), text.into()).unwrap();
    }
    let config = config("units", RULES);
    run(&config, 1).unwrap();
    let whole = objects(&root.folder("out"));
    let stage = stage_folder("units");
    let units = lineage_of(&stage).unwrap().len();
    assert!(units >= 3, "{units}");
    // As after a kill: a unit's last object is missing, and what another has is not looked at.
    root.folder("out").folder("train").delete_all().unwrap();
    root.folder("out").delete("prepare.json").unwrap();
    stage.delete("stage.json").unwrap();
    stage.delete("unit-000001.json").unwrap();
    stage.delete(&documents_name(1)).unwrap();
    let before = stage.info("unit-000000.json").unwrap();
    run(&config, 2).unwrap();
    assert_eq!(stage.info("unit-000000.json").unwrap().version, before.version);
    assert!(objects(&root.folder("out")) == whole);
}

#[test]
fn damaged_units_of_a_stage_that_was_not_done_are_done_again_and_reach_no_shard() {
    let root = folder("damaged-units");
    for number in 0..6 {
        let text = format!("{{\"text\": \"{}\"}}\n", "several words of it ".repeat(40_000 + number));
        root.put(&format!("in/{number}.jsonl"), text.into()).unwrap();
    }
    let config = config("damaged-units", RULES);
    run(&config, 1).unwrap();
    let whole = objects(&root.folder("out"));
    let stage = stage_folder("damaged-units");
    assert!(lineage_of(&stage).unwrap().len() >= 6);
    // As after a kill before the last unit.
    root.folder("out").folder("train").delete_all().unwrap();
    root.folder("out").delete("prepare.json").unwrap();
    stage.delete("stage.json").unwrap();
    stage.delete("unit-000005.json").unwrap();
    for name in [&*documents_name(0), "unit-000001.lineage.parquet", "unit-000002.json"] {
        let mut content = stage.get(name).unwrap().to_vec();
        // Of a record, the first brace; of the others, a byte among those that were packed.
        let at = if name.ends_with(".json") { 0 } else { content.len() / 2 };
        content[at] ^= 1;
        stage.put(name, content.into()).unwrap();
    }
    stage.delete(&documents_name(3)).unwrap();
    let sound = stage.info("unit-000004.json").unwrap();
    run(&config, 2).unwrap();
    assert_eq!(stage.info("unit-000004.json").unwrap().version, sound.version);
    assert!(objects(&root.folder("out")) == whole);
}

#[test]
fn a_program_that_extracts_nothing_is_a_fault_of_its_surroundings_and_another_protocol_is_a_bug() {
    folder("no-child").put("in/a.html", "<p>A page.</p>".into()).unwrap();
    let config = config_of("\"extract\"", "no-child", "");
    let mut options = StageOptions::read(&config.prepare, &config.webtext).unwrap();
    for (program, code, expected) in [
        ("/nowhere/prepare", ExitCode::Config, "could not start the extracting process /nowhere/prepare"),
        ("false", ExitCode::Config, "webtext.extract.memory_bytes"),
        ("echo", ExitCode::Bug, "please report it"),
    ] {
        options.program = Some(program.into());
        let run = job::run(&config.prepare, &options, &StorageConfig::default(), &Ranks::One, 1, &mut ());
        let error = run.unwrap_err();
        assert_eq!(error.exit_code(), code, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn an_id_stays_from_release_to_release() {
    // Ids are in lineage files, by which people look for documents.
    let id = super::pages::document_id(1, "a", 2, 3);
    assert_eq!(super::lineage::line::id_in_words(id), "6b368025ee9f96048f8b41fe6ca6d3c8");
}

/// Returns the keys of all values in a table of tables, with those of the tables that they are in.
fn keys(table: &Value) -> BTreeSet<String> {
    let of = |(key, value): (&String, &Value)| match value {
        Value::Object(_) => keys(value).into_iter().map(|below| format!("{key}.{below}")).collect(),
        _ => vec![key.clone()],
    };
    table.as_object().unwrap().iter().flat_map(of).collect()
}

#[test]
fn the_config_that_comes_with_convoy_has_every_key_of_the_stages_and_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/prepare-webtext.toml");
    let config = RawConfig::load(path.as_ref(), &[]).unwrap().prepare().unwrap();
    let options = StageOptions::read(&config.prepare, &config.webtext).unwrap();
    let WebtextConfig { extract, clean, deduplicate, overlap } = &config.webtext;
    assert!(overlap.is_empty(), "the stage is left out, since it needs data files");
    for (stage, table) in
        [(StageName::Extract, extract), (StageName::Clean, clean), (StageName::Deduplicate, deduplicate)]
    {
        let mut given = keys(&serde_json::to_value(table).unwrap());
        assert_eq!(given.remove("set"), stage == StageName::Clean);
        assert_eq!(given, keys(&options.of(stage)), "of {}", stage.name());
    }
    assert_eq!((options.clean, options.extract), (CleanOptions::fineweb(), Limits::default()));
    assert_eq!(options.deduplicate, DeduplicateOptions::default());
}

#[test]
fn the_lines_for_overlap_in_the_config_that_comes_with_convoy_have_every_key_and_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/prepare-webtext.toml");
    let text = std::fs::read_to_string(path).unwrap();
    // Lines to take the # from have no space behind it.
    let is_code = |rest: &&str| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase());
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix('#').filter(is_code)).collect();
    let section = lines.join("\n");
    let text = format!("[prepare]\ninputs = [\"x\"]\noutput = \"y\"\nstages = [\"overlap\"]\n{section}\n");
    let config = RawConfig::parse("of the test", &text, &[]).unwrap().prepare().unwrap();
    let options = StageOptions::read(&config.prepare, &config.webtext).unwrap();
    let given = serde_json::to_value(&config.webtext.overlap).unwrap();
    assert_eq!(keys(&given), keys(&options.of(StageName::Overlap)), "{section}");
    let OverlapOptions { tasks, data, remove, share, window_characters } = &options.overlap;
    assert!(!tasks.is_empty() && !data.is_empty());
    let defaults = OverlapOptions::default();
    assert_eq!((remove, share, window_characters), (&defaults.remove, &defaults.share, &defaults.window_characters));
}
