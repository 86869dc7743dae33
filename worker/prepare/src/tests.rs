//! Tests of the whole job, over memory and temporary folders.

use bytes::Bytes;
use common::config::{OnBadDocument, PrepareConfig, StorageConfig, WebtextConfig};
use common::exit_code::ExitCode;
use common::storage::Folder;
use common::token_shard::{HEADER_BYTES, INDEX_NAME, Index, decode_tokens};
use common::tokenizer::Tokenizer;
use evaluation::overlap::Filter;

use super::*;
use crate::ranks::Ranks;
use crate::stages::StageOptions;
use crate::summary::Summary;

/// A job over `memory://NAME`, with inputs below `in/` and small shards.
struct Job {
    config: PrepareConfig,
    root: Folder,
}

impl Job {
    fn new(name: &str) -> Self {
        let url = format!("memory://{name}");
        let config = PrepareConfig {
            inputs: vec![format!("{url}/in")],
            output: format!("{url}/out"),
            text_field: "text".into(),
            tokenizer: "gpt2".into(),
            tokens_per_shard: 50,
            validation_fraction: 0.2,
            seed: 1,
            max_document_bytes: 1 << 20,
            memory_bytes: 512 << 20,
            on_bad_document: OnBadDocument::Fail,
            overlap_filter: String::new(),
            overlap_share: 0.1,
            stages: Vec::new(),
        };
        Job { config, root: Folder::open(&url, &StorageConfig::default()).unwrap() }
    }

    fn put(&self, name: &str, content: impl Into<Bytes>) {
        self.root.put(name, content.into()).unwrap();
    }

    fn run(&self) -> Result<Summary, PrepareError> {
        let options = StageOptions::read(&self.config, &WebtextConfig::default()).unwrap();
        job::run(&self.config, &options, &StorageConfig::default(), &Ranks::One, 2, &mut ())
    }

    /// Runs the job, and checks that it is refused as data with a message that contains all of `expected`.
    fn refused(&self, expected: &[&str]) {
        let error = self.run().unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Data, "{error}");
        let message = error.to_string();
        assert!(expected.iter().all(|part| message.contains(part)), "{message}");
    }

    /// Puts a filter of `texts` at `name`, and returns its URL.
    fn put_filter(&self, name: &str, texts: &[String]) -> String {
        let mut filter = Filter::new(1000, 1).unwrap();
        texts.iter().for_each(|text| filter.insert_text(text));
        let mut content = Vec::new();
        filter.write_to(&mut content).unwrap();
        self.put(name, content);
        self.root.url_of(name)
    }

    /// Returns all documents of both sides, sorted.
    fn documents(&self) -> Vec<String> {
        let mut all = [TRAIN_FOLDER, VALIDATION_FOLDER].map(|side| read_side(self, side).1).concat();
        all.sort();
        all
    }

    /// Returns all objects below the output, by name.
    fn output(&self) -> Vec<(String, Bytes)> {
        let output = Folder::open(&self.config.output, &StorageConfig::default()).unwrap();
        output.list().unwrap().into_iter().map(|o| (o.name.clone(), output.get(&o.name).unwrap())).collect()
    }
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("Document {i}: {}\n", "naïve words of it, ".repeat(i % 7))).collect()
}

fn json_lines(texts: &[String]) -> String {
    texts.iter().map(|text| serde_json::json!({ "text": text, "id": 1 }).to_string() + "\n").collect()
}

/// Reads a side as any reader would, checks all that its index says, and decodes its documents.
fn read_side(job: &Job, side: &str) -> (Index, Vec<String>) {
    let folder = Folder::open(&job.config.output, &StorageConfig::default()).unwrap().folder(side);
    let index = Index::parse("index", &folder.get(INDEX_NAME).unwrap()).unwrap();
    let tokenizer = Tokenizer::gpt2().unwrap();
    assert_eq!(index.tokenizer_hash, tokenizer.hash());
    let mut tokens = Vec::new();
    for (number, shard) in index.shards.iter().enumerate() {
        assert_eq!(shard.name, format!("shard-{number:06}.bin"));
        let content = folder.get(&shard.name).unwrap();
        assert_eq!(content.len() as u64, shard.bytes);
        shard.verify_header("shard", &content).unwrap();
        shard.verify_block("shard", 0, &content).unwrap();
        tokens.extend(decode_tokens(&content[HEADER_BYTES as usize..]));
        let full = job.config.tokens_per_shard;
        assert!(shard.tokens == full || (shard.tokens < full && number + 1 == index.shards.len()));
    }
    assert_eq!(tokens.len() as u64, index.tokens);
    assert_eq!(tokens.first(), Some(&Tokenizer::GPT2_END_OF_TEXT));
    let decode = |ids: &[u16]| String::from_utf8(tokenizer.decode(ids).unwrap()).unwrap();
    let documents: Vec<String> = tokens.split(|t| *t == Tokenizer::GPT2_END_OF_TEXT).skip(1).map(decode).collect();
    assert_eq!(documents.len() as u64, index.documents);
    (index, documents)
}

#[test]
fn documents_come_back_from_the_shards_in_a_new_order() {
    let job = Job::new("round-trip");
    let texts = texts(60);
    job.put("in/a.jsonl", json_lines(&texts[..40]));
    for (i, text) in texts[40..].iter().enumerate() {
        job.put(&format!("in/deeper/{i:02}.TXT"), text.clone());
    }
    job.put("in/ignored.md", "not a document");
    let summary = job.run().unwrap();

    let (train_index, train) = read_side(&job, TRAIN_FOLDER);
    let (validation_index, validation) = read_side(&job, VALIDATION_FOLDER);
    assert!(train_index.shards.len() > 2, "the documents should cross shards");
    assert!((1..30).contains(&validation.len()), "{}", validation.len());
    let mut all = [train, validation].concat();
    assert_ne!(all, texts);
    all.sort();
    let mut expected = texts.clone();
    expected.sort();
    assert_eq!(all, expected);

    assert_eq!(summary.totals.documents, 60);
    assert_eq!(summary.tokens, train_index.tokens + validation_index.tokens);
    assert_eq!(summary.totals.text_bytes, texts.iter().map(|t| t.len() as u64).sum::<u64>());
    assert_eq!(summary.train_url, "memory://round-trip/out/train");
    assert!(summary.to_string().starts_with("60 documents, "), "{summary}");
}

#[test]
fn the_same_config_gives_the_same_bytes_and_another_seed_others() {
    let [first, mut second, mut other] = ["same-1", "same-2", "same-3"].map(Job::new);
    first.put("in/a.jsonl", json_lines(&texts(50)));
    second.config.inputs = first.config.inputs.clone();
    other.config.inputs = first.config.inputs.clone();
    other.config.seed = 2;
    for job in [&first, &second, &other] {
        job.run().unwrap();
    }
    assert!(first.output() == second.output());
    assert!(first.output() != other.output());
}

#[test]
fn shards_break_exactly_where_they_are_full() {
    let tokens_of = |documents: &[&str]| {
        let tokenizer = Tokenizer::gpt2().unwrap();
        documents.iter().map(|d| tokenizer.encode(d).len() as u64 + 1).sum::<u64>()
    };
    let text = "one two three four five six seven";
    assert_eq!(tokens_of(&[text]), 8);
    for (tokens_per_shard, expected) in [(8, vec![8, 8, 8]), (12, vec![12, 12]), (24, vec![24]), (23, vec![23, 1])] {
        let mut job = Job::new(&format!("boundaries-{tokens_per_shard}"));
        job.config.tokens_per_shard = tokens_per_shard;
        job.config.validation_fraction = 0.0;
        job.put("in/a.jsonl", json_lines(&[text.into(), text.into(), text.into()]));
        job.run().unwrap();
        let (index, documents) = read_side(&job, TRAIN_FOLDER);
        assert_eq!(index.shards.iter().map(|s| s.tokens).collect::<Vec<_>>(), expected);
        assert_eq!(documents, [text; 3]);
        assert!(job.output().iter().all(|(name, _)| !name.starts_with(VALIDATION_FOLDER)));
    }
}

#[test]
fn two_documents_make_two_sides_and_a_lone_one_is_cut() {
    let job = Job::new("two");
    job.put("in/a.txt", "first");
    job.put("in/b.txt", "second");
    assert_eq!(job.run().unwrap().totals.validation.unwrap().documents, 1);
    let job = Job::new("one");
    let text = texts(40).concat();
    job.put("in/a.txt", text.clone());
    let summary = job.run().unwrap();
    let [(_, train), (_, validation)] = [TRAIN_FOLDER, VALIDATION_FOLDER].map(|side| read_side(&job, side));
    assert_eq!([train.concat(), validation.concat()].concat(), text);
    assert!(validation[0].starts_with("Document 3"), "{validation:?}");
    assert!((0.2..0.4).contains(&(validation[0].len() as f64 / text.len() as f64)), "{validation:?}");
    assert_eq!((summary.totals.documents, summary.totals.text_bytes), (1, text.len() as u64));
    assert_eq!((summary.totals.train.documents, summary.totals.validation.unwrap().documents), (1, 1));
    assert!(job.run().unwrap().already_done);
}

#[test]
fn validation_data_that_is_missing_is_said_with_its_remedy() {
    let job = Job::new("one-character");
    job.put("in/a.txt", "漢");
    let summary = job.run().unwrap();
    assert_eq!(summary.totals.validation, None);
    assert!(summary.to_string().contains("validation  none: "), "{summary}");
    let mut job = Job::new("equal");
    job.put("in/a.jsonl", json_lines(&["same".into(), "same".into()]));
    assert!(job.run().unwrap().to_string().contains("all documents have the same text"));
    // It is not missed where nobody has asked for it.
    job.config.output = "memory://equal/other".into();
    job.config.validation_fraction = 0.0;
    assert!(!job.run().unwrap().to_string().contains("validation"));
}

#[test]
fn a_second_run_finds_its_work_done_and_writes_nothing() {
    let mut job = Job::new("again");
    job.put("in/a.jsonl", json_lines(&texts(20)));
    let first = job.run().unwrap();
    let before = job.output();
    job.root.delete("out/train/shard-000000.bin").unwrap();
    let second = job.run().unwrap();
    assert!(!first.already_done && second.already_done);
    assert_eq!(second.totals, first.totals);
    assert_eq!(job.output().len() + 1, before.len());

    job.config.seed = 5;
    job.refused(&["memory://again/out holds prepared data already", "another [prepare] section", "choose another"]);
    job.config.seed = 1;
    job.put("in/b.txt", "one more");
    job.refused(&["the inputs have changed since"]);
}

#[test]
fn an_unfinished_run_is_finished_by_the_next() {
    let job = Job::new("unfinished");
    job.put("in/a.jsonl", json_lines(&texts(20)));
    job.run().unwrap();
    let whole = job.output();
    // A kill leaves a run's writes up to some point; the training index is the last of them.
    for lost in ["out/train/index.json", "out/validation/index.json", "out/prepare.json", "out/train/shard-000000.bin"]
    {
        job.root.delete("out/train/index.json").unwrap();
        job.root.delete(lost).unwrap();
        if lost == "out/prepare.json" {
            job.root.delete("out/validation/index.json").unwrap();
        }
        assert!(!job.run().unwrap().already_done);
        assert!(job.output() == whole);
    }
}

#[test]
fn the_output_of_others_is_left_alone() {
    let job = Job::new("foreign");
    job.put("in/a.txt", "text");
    job.put("out/validation/index.json", "{}");
    job.refused(&["memory://foreign/out", "no prepare.json"]);
    job.put("out/prepare.json", "{}");
    job.refused(&["no prepare.json of this version"]);
}

#[test]
fn bad_documents_are_refused_by_name_and_line() {
    let job = Job::new("bad");
    job.put("in/a.jsonl", "{\"text\": \"good\"}\n\n{\"text\": \n");
    job.refused(&["memory://bad/in/a.jsonl, line 3: not JSON", "prepare.on_bad_document = \"skip\""]);
    job.put("in/a.jsonl", "{\"text\": \"good\"}\r\n{\"body\": \"x\"}\r\n");
    job.refused(&["memory://bad/in/a.jsonl, line 2: no field \"text\" (prepare.text_field names another)"]);
    assert!(job.output().is_empty());
}

#[test]
fn bad_documents_are_skipped_and_counted_when_asked() {
    let mut job = Job::new("skip");
    job.config.on_bad_document = OnBadDocument::Skip;
    job.config.text_field = "body".into();
    job.put(
        "in/a.jsonl",
        "\u{feff}{\"body\": \"one\"}\nnonsense\n{\"text\": \"x\"}\n{\"body\": \"\"}\n{\"body\": \"two\"}",
    );
    let totals = job.run().unwrap().totals;
    assert_eq!((totals.documents, totals.skipped_documents, totals.empty_documents), (2, 2, 1));
    let mut all = [read_side(&job, TRAIN_FOLDER).1, read_side(&job, VALIDATION_FOLDER).1].concat();
    all.sort();
    assert_eq!(all, ["one", "two"]);
}

#[test]
fn nothing_to_read_is_refused() {
    let mut job = Job::new("nothing");
    job.refused(&["prepare.inputs names memory://nothing/in", "nothing to read", ".txt, .jsonl or .ndjson"]);
    job.put("in/a.jsonl", "\n \n");
    job.put("in/b.txt", "");
    job.refused(&["no document to prepare: 2 objects gave 1 empty and 0 unreadable"]);
    job.config.inputs = vec!["memory://nothing/in/c.txt".into()];
    job.refused(&["memory://nothing/in/c.txt does not exist"]);
}

#[test]
fn local_files_with_any_names_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::create_dir(at("in put")).unwrap();
    std::fs::write(at("in put/a é%20.txt"), b"\xef\xbb\xbfcaf\xc3\xa9 <|endoftext|>").unwrap();
    std::fs::write(at("b#1.jsonl"), "{\"text\": \"b\"}").unwrap();
    let mut job = Job::new("unused");
    job.config.inputs = vec![at("in put"), at("b#1.jsonl")];
    job.config.output = at("out");
    job.run().unwrap();
    let mut all = [read_side(&job, TRAIN_FOLDER).1, read_side(&job, VALIDATION_FOLDER).1].concat();
    all.sort();
    assert_eq!(all, ["b", "caf\u{e9} <|endoftext|>"]);
}

#[test]
fn text_that_is_not_utf8_ends_the_job_or_is_left_out_and_counted() {
    let mut job = Job::new("encodings");
    job.put("in/a.txt", "sound");
    job.put("in/b.txt", &b"caf\xe9"[..]);
    job.put("in/c.txt", "wide".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    job.put("in/d.jsonl", &b"{\"text\": \"caf\xe9\"}\n{\"text\": \"\\ud800\", \"score\": NaN}\n"[..]);
    job.refused(&["in/b.txt: not UTF-8 at byte 3", "iconv", "on_bad_document"]);
    job.config.on_bad_document = OnBadDocument::Skip;
    let totals = job.run().unwrap().totals;
    assert_eq!((totals.documents, totals.skipped_documents), (2, 3));
    assert_eq!(totals.skipped, [(crate::inputs::Fault::NotUtf8, 3)].into());
    let record = String::from_utf8(job.root.get("out/prepare.json").unwrap().to_vec()).unwrap();
    assert!(
        record.contains("in/b.txt: not UTF-8 at byte 3") && record.contains("in/d.jsonl, line 1: not UTF-8"),
        "{record}"
    );
    assert!(String::from_utf8_lossy(&job.root.get("out/README.md").unwrap()).contains("| 3 | | left out: not UTF-8 |"));
}

/// Leaves what a job leaves that was killed when it had written its shards, but not their index.
fn kill_before_the_index(job: &Job) {
    let work = job.root.folder("out").folder(WORK_FOLDER);
    assert!(work.list().unwrap().is_empty());
    job.root.folder("out").delete("train/index.json").unwrap();
}

#[test]
fn shards_that_another_job_has_overwritten_are_written_again() {
    let mut job = Job::new("a-b-a");
    job.put("in/a.jsonl", json_lines(&texts(60)));
    job.run().unwrap();
    let whole = job.output();
    // The work folder of a job that has written all but the index has runs, and entries of all shards.
    let keep_work = |job: &Job| -> Vec<(String, Bytes)> {
        let (copy, config) = (Job::new("a-b-a-work"), job.config.clone());
        copy.put("in/a.jsonl", json_lines(&texts(60)));
        let storage = StorageConfig::default();
        let output = Folder::open(&config.output, &storage).unwrap();
        let found = crate::inputs::find(&config.inputs, &storage).unwrap();
        let tokenizer = Tokenizer::gpt2().unwrap();
        let division = crate::sides::Division::of(config.validation_fraction);
        let identity = crate::record::Identity::of(&config, &found, &[], None).of_work(&tokenizer, division);
        let index = Index::parse("x", &output.folder(TRAIN_FOLDER).get(INDEX_NAME).unwrap()).unwrap();
        let entry = |(n, shard): (usize, &common::token_shard::ShardEntry)| {
            let name = format!("{WORK_FOLDER}/{identity}/train-{n:06}.shard.json");
            (name, Bytes::from(serde_json::to_vec(shard).unwrap()))
        };
        index.shards.iter().enumerate().map(entry).collect()
    };
    let entries = keep_work(&job);
    let put_entries =
        || entries.iter().for_each(|(name, content)| job.root.put(&format!("out/{name}"), content.clone()).unwrap());

    // The job was killed with its shards written: they are believed.
    kill_before_the_index(&job);
    job.root.delete("out/validation/index.json").unwrap();
    put_entries();
    assert!(!job.run().unwrap().already_done && job.output() == whole);

    // The job was killed, and then another job on that folder, too: nothing of the first is believed any more.
    kill_before_the_index(&job);
    job.root.delete("out/validation/index.json").unwrap();
    put_entries();
    job.config.seed = 2;
    job.run().unwrap();
    for index in ["out/train/index.json", "out/validation/index.json"] {
        job.root.delete(index).unwrap();
    }
    job.config.seed = 1;
    assert!(!job.run().unwrap().already_done && job.output() == whole);

    // Somebody has removed a shard in between.
    for name in ["out/train/index.json", "out/validation/index.json", "out/train/shard-000000.bin"] {
        job.root.delete(name).unwrap();
    }
    put_entries();
    assert!(!job.run().unwrap().already_done && job.output() == whole);
}

#[test]
fn folders_of_others_in_the_output_are_left_alone() {
    let job = Job::new("thesis");
    job.put("in/a.jsonl", json_lines(&texts(20)));
    for name in ["out/work/thesis.tex", "out/prepare-work/notes.txt"] {
        job.put(name, "years of work");
    }
    job.run().unwrap();
    job.run().unwrap();
    let output = job.output();
    let kept = |name: &str| output.iter().any(|(there, _)| there == name);
    assert!(kept("work/thesis.tex") && kept("prepare-work/notes.txt"));
    assert_eq!(output.iter().filter(|(name, _)| name.starts_with("prepare-work")).count(), 1);
}

#[test]
fn another_tokenizer_under_the_same_name_is_refused_with_both_hashes() {
    let mut job = Job::new("tokenizer-changed");
    job.put("in/a.jsonl", json_lines(&texts(20)));
    let folder = job.root.folder("tokenizer");
    let train = |size: usize| {
        let mut words = common::tokenizer::train::WordCounts::new(1000);
        texts(20).iter().for_each(|text| words.count(text));
        let special = ["<|endoftext|>".to_owned()];
        let vocabulary = common::tokenizer::train::train(words, size, &special, |_| ()).unwrap();
        common::tokenizer::files::write(&folder, &vocabulary).unwrap();
        Tokenizer::new("x", vocabulary).unwrap().hash().to_owned()
    };
    let first = train(270);
    job.config.tokenizer = folder.url().to_owned();
    job.run().unwrap();
    let second = train(280);
    job.refused(&[&first, &second]);
}

/// Returns a document of words that have a name and these numbers.
fn passage(name: &str, words: std::ops::Range<usize>) -> String {
    words.map(|number| format!("{name}{number}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn documents_that_overlap_with_a_filter_are_left_out_and_counted_and_no_others() {
    let mut job = Job::new("overlap");
    let tested = [passage("lambada", 0..40), passage("cloze", 0..40)];
    job.config.overlap_filter = job.put_filter("tests.grams", &tested);
    job.config.overlap_share = 0.5;
    let copied = format!("\"{}\"", tested[0].to_uppercase().replace(' ', ", "));
    // 33 of its 65 grams are of the test set, and of the next one 33 of 67.
    let half = format!("{} {}", tested[1], passage("other", 0..32));
    let less = format!("{} {}", tested[1], passage("another", 0..34));
    let across = format!("{} {}", passage("lambada", 36..40), passage("cloze", 0..4));
    let kept = [texts(40), vec![less, across, passage("cloze", 0..7)]].concat();
    job.put("in/a.jsonl", json_lines(&[&[copied][..], &kept[..20], &[half], &kept[20..]].concat()));
    let summary = job.run().unwrap();
    let mut expected = kept.clone();
    expected.sort();
    assert_eq!(job.documents(), expected);
    assert_eq!((summary.totals.documents, summary.totals.overlapping_documents), (43, Some(2)));
    assert!(summary.to_string().contains("left out    2 documents: overlapping with prepare.overlap_filter"));

    let card = String::from_utf8(job.root.get("out/README.md").unwrap().to_vec()).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&job.root.get("out/prepare.json").unwrap()).unwrap();
    let hash = record["overlap_filter_sha256"].as_str().unwrap();
    assert!(card.contains("| 45 |") && card.contains("| 2 | | left out: overlapping with a filter"), "{card}");
    assert!(card.contains("a share of 0.5 are in the filter `memory://overlap/tests.grams`"), "{card}");
    assert!(hash.len() == 64 && card.contains(hash), "{card}");
    assert_eq!(record["config"]["overlap_filter"], "memory://overlap/tests.grams");

    // The filter's contents decide whether the work is done, and not its place.
    job.config.overlap_filter = job.put_filter("moved.grams", &tested);
    assert!(job.run().unwrap().already_done);
    job.put_filter("moved.grams", &tested[..1]);
    job.refused(&["the filter in prepare.overlap_filter has changed since"]);
    job.config.overlap_share = 0.4;
    job.refused(&["another [prepare] section"]);
}

#[test]
fn a_job_without_a_filter_writes_what_it_wrote_before_there_were_any() {
    let mut job = Job::new("pinned");
    job.put("in/a.jsonl", json_lines(&texts(40)));
    job.run().unwrap();
    let without = job.output();
    let record = String::from_utf8(job.root.get("out/prepare.json").unwrap().to_vec()).unwrap();
    // python3: hashlib.sha256(b'{"inputs":["memory://pinned/in"],"max_document_bytes":1048576,"seed":1,"text_field":"text",'
    // b'"tokenizer":"gpt2","tokens_per_shard":50,"validation_fraction":0.2}').hexdigest()
    assert!(record.contains("a63706f5d26e278842c297a1197c5dd020e3eab5451a54f637bccb3ae8414efd"), "{record}");
    for (name, content) in without.iter().filter(|(name, _)| !name.ends_with(".bin")) {
        assert!(!String::from_utf8_lossy(content).contains("overlap"), "{name}");
    }
    // A filter of foreign texts leaves nothing out, and the shards are the same.
    job.config.output = "memory://pinned/filtered".into();
    job.config.overlap_filter = job.put_filter("foreign.grams", &[passage("lambada", 0..40)]);
    assert_eq!(job.run().unwrap().totals.overlapping_documents, Some(0));
    let shards = |objects: Vec<(String, Bytes)>| -> Vec<(String, Bytes)> {
        objects.into_iter().filter(|(name, _)| name.contains('/')).collect()
    };
    assert!(shards(job.output()) == shards(without));
}

#[test]
fn a_filter_that_cannot_be_read_is_refused_before_anything_is_written() {
    let mut job = Job::new("no-filter");
    job.put("in/a.jsonl", json_lines(&texts(20)));
    job.config.overlap_filter = "memory://no-filter/tests.grams".into();
    job.refused(&["prepare.overlap_filter: memory://no-filter/tests.grams does not exist", "--save-filter"]);
    job.put_filter("tests.grams", &texts(3));
    let whole = job.root.get("tests.grams").unwrap();
    for (at, reason) in [(0, "does not begin with CNVGRAMS"), (8, "version"), (100, "damaged")] {
        let mut changed = whole.to_vec();
        changed[at] ^= 2;
        job.put("tests.grams", changed);
        job.refused(&["prepare.overlap_filter: memory://no-filter/tests.grams: ", reason, "make the filter anew"]);
    }
    job.put("tests.grams", whole.slice(..whole.len() - 1));
    job.refused(&["prepare.overlap_filter: memory://no-filter/tests.grams: not an overlap filter"]);
    assert!(job.output().is_empty());
    // A filter of everything leaves nothing to prepare.
    job.config.overlap_filter = job.put_filter("all.grams", &[passage("word", 0..40)]);
    job.put("in/a.jsonl", json_lines(&[passage("word", 0..40)]));
    job.refused(&["0 unreadable documents, and 1 overlapping with prepare.overlap_filter", "prepare.overlap_share"]);
}
