//! Tests of the stage on one rank, over memory.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use common::config::{ConfigError, PrepareJobConfig, RawConfig, StorageConfig};
use common::exit_code::ExitCode;
use serde_json::{Value, json};

use super::sums::TaskSums;
use super::*;
use crate::job;
use crate::ranks::Ranks;
use crate::stages::document::DocumentReader;
use crate::stages::lineage::tests::folder;
use crate::stages::lineage::{Line, LineageFile, Verdict, lineage_of};
use crate::stages::names::documents_name;
use crate::stages::options::StageOptions;
use crate::stages::plan::plan;
use crate::stages::record::StageRecord;

/// Numbers by a seed (Knuth's linear congruential generator).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    /// Returns words of a vocabulary of `size`, those from `first` on.
    fn words(&mut self, count: usize, (first, size): (usize, usize)) -> Vec<String> {
        (0..count).map(|_| word(first + self.below(size))).collect()
    }
}

/// A word of letters for each number.
fn word(number: usize) -> String {
    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    [letter(number), letter(number / 26), letter(number / 676), 'q'].iter().collect()
}

fn lines(texts: &[String]) -> Bytes {
    Bytes::from(texts.iter().map(|text| json!({ "text": text }).to_string() + "\n").collect::<String>())
}

/// Writes documents as the objects of a job's input. Another field makes them long enough for several units.
fn put(name: &str, documents: &[String]) {
    let (input, other) = (folder(name).folder("in"), "x".repeat(12_000));
    for (number, some) in documents.chunks(50).enumerate() {
        let line = |text: &String| json!({"text": text, "url": "http://a.example/", "x": other}).to_string() + "\n";
        let lines: String = some.iter().map(line).collect();
        input.put(&format!("{number:04}.jsonl"), Bytes::from(lines)).unwrap();
    }
}

/// Writes evaluation sets: one of documents, and LAMBADA's file of passages.
fn put_sets(name: &str, documents: &[String], passages: &[String]) {
    let eval = folder(name).folder("eval");
    eval.put("own.jsonl", lines(documents)).unwrap();
    eval.put("lambada_test.jsonl", lines(passages)).unwrap();
}

fn config(name: &str, rules: &str) -> PrepareJobConfig {
    let place = folder(name).url().to_owned();
    let text = format!(
        "[prepare]\ninputs = [\"{place}/in\"]\noutput = \"{place}/out\"\nstages = [\"overlap\"]\nvalidation_fraction = 0.0\n\
         [webtext.overlap]\ntasks = [\"documents={place}/eval/own.jsonl\", \"lambada_harness\"]\ndata = \"{place}/eval\"\n{rules}\n"
    );
    RawConfig::parse("of the test", &text, &[]).unwrap().prepare().unwrap()
}

fn run(config: &PrepareJobConfig, threads: usize) -> Result<(), PrepareError> {
    let options = StageOptions::read(&config.prepare, &config.webtext)?;
    job::run(&config.prepare, &options, &StorageConfig::default(), &Ranks::One, threads, &mut ()).map(drop)
}

/// What a job has made.
struct Made {
    folder: Folder,
}

impl Made {
    /// Runs the job over the input of this name.
    fn by(name: &str, rules: &str) -> Self {
        folder(name).folder("out").delete_all().unwrap();
        run(&config(name, rules), 2).unwrap();
        Made::of(name)
    }

    fn of(name: &str) -> Self {
        let stages = folder(name).folder("out/stages");
        let names = stages.list_folders().unwrap();
        let [only] = &names[..] else { panic!("{names:?}") };
        Made { folder: stages.folder(only) }
    }

    /// Returns the lines of all documents, in the order of the input.
    fn lines(&self) -> Vec<Line> {
        let units = lineage_of(&self.folder).unwrap();
        units.iter().flat_map(|unit| LineageFile::open(&self.folder, unit).unwrap().lines().unwrap()).collect()
    }

    fn record(&self) -> StageRecord {
        serde_json::from_slice(&self.folder.get("stage.json").unwrap()).unwrap()
    }

    fn sums(&self) -> OverlapSums {
        self.record().overlaps.unwrap()
    }

    /// Returns the texts that are kept.
    fn texts(&self) -> Vec<String> {
        let units = self.record().units;
        let mut texts = Vec::new();
        for (number, stored) in (0..).zip(&units) {
            let mut reader = DocumentReader::open(&self.folder, &documents_name(number), stored).unwrap();
            while let Some(group) = reader.next_group().unwrap() {
                texts.extend(group.into_iter().map(|document| document.text));
            }
        }
        texts
    }

    /// Returns all objects but those that have processor times.
    fn objects(&self) -> BTreeMap<String, Bytes> {
        let names = self.folder.list().unwrap().into_iter().map(|object| object.name);
        let names = names.filter(|name| !name.ends_with(".json"));
        names.map(|name| (name.clone(), self.folder.get(&name).unwrap())).collect()
    }
}

/// Returns windows of eight words, as texts, in another way than grams are made.
fn windows(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.windows(8).map(|words| words.join(" ")).collect()
}

/// Documents with words of few, items with such words, and some of the items in some of the documents.
fn corpus(seed: u64) -> (Vec<String>, Vec<String>, Vec<String>) {
    let mut random = Random(seed);
    let mut items = |count: usize| -> Vec<String> {
        (0..count)
            .map(|_| {
                let length = 5 + random.below(40);
                random.words(length, (0, 900)).join(" ")
            })
            .collect()
    };
    let (own, passages) = (items(80), items(80));
    let documents = (0..400).map(|_| {
        let length = 3 + random.below(150);
        let mut words = random.words(length, (0, 900));
        for _ in 0..random.below(3) {
            let from = if random.below(2) == 0 { &own } else { &passages };
            let item: Vec<&str> = from[random.below(from.len() / 2)].split(' ').collect();
            let start = random.below(item.len());
            let part = &item[start..start + random.below(item.len() - start + 1)];
            let at = random.below(words.len());
            words.splice(at..at, part.iter().map(|word| word.to_uppercase()));
        }
        words.join(", ")
    });
    (documents.collect(), own, passages)
}

#[test]
fn the_table_and_the_shares_of_documents_are_those_of_comparing_windows_of_words_as_texts() {
    let (documents, own, passages) = corpus(1);
    put("overlap-table", &documents);
    put_sets("overlap-table", &own, &passages);
    let made = Made::by("overlap-table", "");
    let sums = made.sums();
    let corpus: BTreeSet<String> = documents.iter().flat_map(|text| windows(text)).collect();
    for (task, items, expected) in
        [(&sums.tasks[0], &own, "documents=own.jsonl"), (&sums.tasks[1], &passages, "lambada_harness")]
    {
        let of_items: Vec<Vec<String>> = items.iter().map(|text| windows(text)).collect();
        let seen = |item: &Vec<String>| item.iter().filter(|window| corpus.contains(*window)).count() as u64;
        let counted = TaskSums {
            task: expected.to_owned(),
            data: task.data.clone(),
            items: items.len() as u64,
            without_grams: of_items.iter().filter(|item| item.is_empty()).count() as u64,
            overlapping: of_items.iter().filter(|item| seen(item) > 0).count() as u64,
            grams: of_items.iter().map(|item| item.len() as u64).sum(),
            seen: of_items.iter().map(seen).sum(),
            share: Some(
                of_items.iter().map(seen).sum::<u64>() as f64 / of_items.iter().map(Vec::len).sum::<usize>() as f64,
            ),
        };
        assert_eq!(*task, counted);
        assert!(task.seen > 50 && task.without_grams > 0 && task.overlapping < 60, "{task:?}");
    }
    let tests: BTreeSet<String> = own.iter().chain(&passages).flat_map(|text| windows(text)).collect();
    let lines = made.lines();
    assert_eq!(lines.len(), documents.len());
    for (line, text) in lines.iter().zip(&documents) {
        let all = windows(text);
        let seen = all.iter().filter(|window| tests.contains(*window)).count();
        let share = (seen > 0).then(|| seen as f64 / all.len() as f64);
        assert_eq!((line.verdict, line.measure, line.limit), (Verdict::Kept, share, None));
        assert_eq!(line.note.is_empty(), seen == 0);
    }
    assert_eq!(sums.documents, lines.iter().filter(|line| line.measure.is_some()).count() as u64);
    assert_eq!((sums.longest.len(), sums.windows, sums.characters), (10, 0, 0));
    assert_eq!(made.texts(), documents);
}

#[test]
fn planted_overlaps_are_all_found_with_their_items_and_nothing_is_in_unrelated_text() {
    let mut random = Random(2);
    let own: Vec<String> = (0..60).map(|_| random.words(30, (0, 2000)).join(" ")).collect();
    let passages: Vec<String> = (0..60).map(|_| random.words(30, (2000, 2000)).join(" ")).collect();
    let unrelated: Vec<String> = (0..200).map(|_| random.words(120, (4000, 2000)).join(" ")).collect();
    let mut planted = unrelated.clone();
    let mut expected = Vec::new();
    for (number, text) in planted.iter_mut().enumerate().filter(|(number, _)| number.is_multiple_of(3)) {
        let (item, length, start) = (random.below(60), 8 + random.below(12), random.below(10));
        let (task, items) =
            if number.is_multiple_of(2) { ("documents=own.jsonl", &own) } else { ("lambada_harness", &passages) };
        let words: Vec<&str> = items[item].split(' ').collect();
        let mut whole: Vec<&str> = text.split(' ').collect();
        let at = random.below(whole.len());
        whole.splice(at..at, words[start..start + length].iter().copied());
        *text = whole.join(" ");
        expected.push((number, format!("overlaps with {task} item {}: {length} words", item + 1), length));
    }
    put("overlap-planted", &planted);
    put_sets("overlap-planted", &own, &passages);
    let made = Made::by("overlap-planted", "");
    let lines = made.lines();
    for (number, note, _) in &expected {
        assert_eq!(&lines[*number].note, note, "{number}");
    }
    assert_eq!(lines.iter().filter(|line| !line.note.is_empty()).count(), expected.len());
    let mut lengths: Vec<u64> = expected.iter().map(|(_, _, length)| *length as u64).collect();
    lengths.sort_unstable_by(|one, other| other.cmp(one));
    let sums = made.sums();
    assert_eq!(sums.longest.iter().map(|overlap| overlap.words).collect::<Vec<_>>(), lengths[..10]);
    for overlap in &sums.longest {
        let items = if overlap.task == "lambada_harness" { &passages } else { &own };
        let item: usize = overlap.item.parse().unwrap();
        assert!(items[item - 1].contains(&overlap.text), "{overlap:?}");
        assert_eq!(overlap.url.as_deref(), Some("http://a.example/"));
    }
    put("overlap-planted", &unrelated);
    let sums = Made::by("overlap-planted", "remove = \"document\"").sums();
    assert!(sums.tasks.iter().all(|task| task.seen == 0 && task.grams == 60 * 23), "{sums:?}");
    assert_eq!((sums.documents, sums.longest.len()), (0, 0));
}

/// Ten words that evaluation sets of [`removal`] have.
const TESTED: &str = "one two three four five six seven eight nine ten";

/// Puts documents of which one overlaps a little, one wholly, and one not at all.
fn removal(name: &str) -> [String; 3] {
    let documents = [
        format!("Before it. «{TESTED}», a b c d e f g h i j k l m n o p q."),
        TESTED.to_uppercase(),
        "Nothing of it.".into(),
    ];
    put(name, &documents);
    put_sets(name, &[TESTED.to_owned()], &["a passage of no more than eight words".to_owned()]);
    documents
}

#[test]
fn documents_are_removed_from_the_share_on_and_not_below_it() {
    let documents = removal("overlap-document");
    // Of its 22 8-grams, the first has 3.
    let share = 3.0 / 22.0;
    for (limit, dropped) in [(0.1, [true, true]), (share, [true, true]), (0.14, [false, true]), (1.0, [false, true])] {
        let made = Made::by("overlap-document", &format!("remove = \"document\"\nshare = {limit:?}"));
        let lines = made.lines();
        for (line, (dropped, share)) in lines.iter().zip(dropped.into_iter().zip([share, 1.0])) {
            let (rule, limit) = if dropped { ("overlap.document", Some(limit)) } else { ("", None) };
            assert_eq!((line.rule.as_str(), line.measure, line.limit), (rule, Some(share), limit), "{limit:?}");
            assert_eq!(line.note, "overlaps with documents=own.jsonl item 1: 10 words");
        }
        assert_eq!((lines[2].verdict, lines[2].measure, lines[2].note.as_str()), (Verdict::Kept, None, ""));
        let kept: Vec<&String> = documents
            .iter()
            .zip(&lines)
            .filter(|(_, line)| line.verdict == Verdict::Kept)
            .map(|(text, _)| text)
            .collect();
        assert_eq!(made.texts().iter().collect::<Vec<_>>(), kept);
        assert_eq!(made.sums().documents, 2);
        assert_eq!(made.sums().tasks[0].seen, 3, "also of documents that are dropped");
    }
}

#[test]
fn windows_are_removed_with_what_is_around_them_and_are_on_record() {
    removal("overlap-window");
    let made = Made::by("overlap-window", "remove = \"window\"\nwindow_characters = 4");
    let lines = made.lines();
    let overlap = "overlaps with documents=own.jsonl item 1: 10 words";
    assert_eq!(lines[0].note, format!("removed 1 window, 59 characters; {overlap}"));
    assert_eq!((lines[0].verdict, lines[0].rule.as_str()), (Verdict::Kept, ""));
    assert_eq!(made.texts(), ["Before\n\nb c d e f g h i j k l m n o p q.", "Nothing of it."]);
    assert_eq!(lines[0].bytes_out, made.texts()[0].len() as u64);
    assert_eq!((lines[1].rule.as_str(), lines[1].measure, lines[1].limit), ("overlap.window", Some(1.0), None));
    assert_eq!(lines[1].note, format!("removed 1 window, 48 characters; {overlap}"));
    let sums = made.sums();
    assert_eq!((sums.documents, sums.windows, sums.characters), (2, 2, 107));
    // The default takes all of a short document.
    let made = Made::by("overlap-window", "remove = \"window\"");
    assert_eq!(made.lines().iter().filter(|line| line.rule == "overlap.window").count(), 2);
    assert_eq!(made.record().tally.dropped["overlap.window"].count, 2);
}

#[test]
fn threads_and_memory_have_no_influence_on_the_bytes() {
    let (documents, own, passages) = corpus(3);
    put("overlap-threads", &documents);
    put_sets("overlap-threads", &own, &passages);
    let mut all = Vec::new();
    for (memory_bytes, threads) in [(512 << 20, 1), (1 << 20, 4)] {
        folder("overlap-threads").folder("out").delete_all().unwrap();
        let mut config = config("overlap-threads", "remove = \"window\"");
        config.prepare.memory_bytes = memory_bytes;
        run(&config, threads).unwrap();
        let made = Made::of("overlap-threads");
        all.push((made.objects(), made.sums()));
    }
    assert!(all[0].0.keys().filter(|name| name.ends_with(".seen")).count() >= 3, "{:?}", all[0].0.keys());
    assert!(all[0] == all[1]);
}

#[test]
fn what_counts_of_a_job_that_was_killed_is_not_done_again_and_what_is_damaged_is() {
    let (documents, own, passages) = corpus(4);
    put("overlap-killed", &documents);
    put_sets("overlap-killed", &own, &passages);
    let made = Made::by("overlap-killed", "");
    let (objects, sums) = (made.objects(), made.sums());
    // As after a kill before the sums.
    folder("overlap-killed").folder("out").folder("train").delete_all().unwrap();
    folder("overlap-killed").folder("out").delete("prepare.json").unwrap();
    made.folder.delete("stage.json").unwrap();
    made.folder.delete("unit-000000.json").unwrap();
    made.folder.put("unit-000001.seen", Bytes::from_static(b"damaged")).unwrap();
    made.folder.delete("unit-000002.seen").unwrap();
    let sound = made.folder.info("unit-000003.json").unwrap();
    run(&config("overlap-killed", ""), 2).unwrap();
    assert!(made.objects() == objects && made.sums() == sums);
    assert_eq!(made.folder.info("unit-000003.json").unwrap().version, sound.version);
}

#[test]
fn other_evaluation_sets_or_other_options_have_another_folder() {
    removal("overlap-folders");
    let name = |rules: &str| Made::by("overlap-folders", rules).folder.url().rsplit('/').next().unwrap().to_owned();
    let first = name("");
    assert!(first.starts_with("overlap-") && name("") == first);
    let others = [name("remove = \"window\""), name("share = 0.2")];
    put_sets("overlap-folders", &[TESTED.to_uppercase()], &["a passage of no more than eight words".to_owned()]);
    let changed = name("");
    assert!(![&others[0], &others[1], &changed].contains(&&first), "{first} {others:?} {changed}");
}

#[test]
fn the_data_card_has_the_table_and_the_longest_overlaps() {
    removal("overlap-card");
    Made::by("overlap-card", "");
    let out = folder("overlap-card").folder("out");
    let card = String::from_utf8(out.get("README.md").unwrap().to_vec()).unwrap();
    for expected in [
        "Documents that overlap: 2. Removed windows: 0, with 0 characters.\n",
        "\n| `documents=own.jsonl` | 100 % | 3 | 3 | 1 | 1 | 0 |\n| `lambada_harness` | 0 % | 1 | 0 | 1 | 0 | 0 |\n",
        "\n- 10 words of `documents=own.jsonl` item `1` in `",
        &format!("`, `http://a.example/`: `{TESTED}`\n"),
    ] {
        assert!(card.contains(expected), "{expected}\n{card}");
    }
    let json: Value = serde_json::from_slice(&out.get("prepare.json").unwrap()).unwrap();
    assert_eq!(json["stages"][0]["overlaps"]["tasks"][0]["seen"], 3, "{json}");
}

#[test]
fn every_fault_of_the_section_is_named_by_its_key() {
    let faults = |stages: &str, section: &str| {
        let text =
            format!("[prepare]\ninputs = [\"x\"]\noutput = \"y\"\nstages = [{stages}]\n[webtext.overlap]\n{section}\n");
        let config = RawConfig::parse("of the test", &text, &[]).unwrap().prepare().unwrap();
        match StageOptions::read(&config.prepare, &config.webtext) {
            Err(error @ ConfigError::Faults { .. }) => error.to_string(),
            other => panic!("expected faults, got {other:?}"),
        }
    };
    let stage = "\"overlap\"";
    for (section, expected) in [
        ("", "webtext.overlap.tasks = []: names no evaluation set; give some, such as [\"lambada_harness\""),
        ("tasks = [\"lambada\"]", "there is no task \"lambada\"; did you mean lambada_openai_last_token"),
        ("tasks = [\"documents\"]", "webtext.overlap.tasks = [\"documents\"]: documents reads a file of your own"),
        (
            "tasks = [\"ptb\"]",
            "webtext.overlap.data = \"\": names no folder; give the one that has ptb.test.txt, which ptb reads",
        ),
        (
            "tasks = \"ptb\"",
            "webtext.overlap.tasks = \"ptb\": invalid type: string \"ptb\", expected a sequence; its default is []",
        ),
        (
            "tasks = [\"text=x\"]\nshare = 0",
            "webtext.overlap.share = 0: expected a share above 0, and at most 1; write 0.1 for 10 %",
        ),
        ("tasks = [\"text=x\"]\nshare = 10", "webtext.overlap.share = 10: expected a share above 0"),
        ("tasks = [\"text=x\"]\nshare = nan", "webtext.overlap.share = "),
        (
            "tasks = [\"text=x\"]\nremove = \"all\"",
            "webtext.overlap.remove = \"all\": unknown variant `all`, expected one of",
        ),
        ("tasks = [\"text=x\"]\nwindow_characters = 10_001", "window_characters = 10001: must be at most 10000"),
        ("tasks = [\"text=x\"]\nwindow_characters = -1", "window_characters = -1: invalid value"),
        (
            "tasks = [\"text=x\"]\nwords = 1",
            "webtext.overlap.words = 1: unknown key; this table has data, remove, share, tasks",
        ),
    ] {
        let text = faults(stage, section);
        assert!(text.contains(expected), "missing {expected:?} in:\n{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }
    let text = faults("\"clean\"", "share = 0.2");
    assert!(text.contains(
        "webtext.overlap: has no use without the stage overlap; write prepare.stages = [\"clean\", \"overlap\"]"
    ));
    let secret = faults(stage, "tasks = [\"text=s3://key:hunter2@bucket/a\", \"ptb\"]");
    assert!(!secret.contains("hunter2"), "{secret}");
}

#[test]
fn secrets_in_places_of_data_files_are_used_and_neither_stored_nor_hashed() {
    let read = |url: &str| {
        let text = format!(
            "[prepare]\ninputs = [\"x\"]\noutput = \"y\"\nstages = [\"overlap\"]\n[webtext.overlap]\ndata = \"https://{url}/e\"\n\
             tasks = [\"ptb\", \"text=https://{url}/a.txt\"]\n"
        );
        let config = RawConfig::parse("of the test", &text, &[]).unwrap().prepare().unwrap();
        StageOptions::read(&config.prepare, &config.webtext).unwrap()
    };
    let (shown, secret) = (read("host"), read("key:hunter2@host"));
    assert!(secret.overlap.tasks[1].contains("hunter2") && secret.overlap.data.contains("hunter2"));
    let of = |options: &StageOptions| options.of(common::config::StageName::Overlap);
    assert_eq!(of(&secret), of(&shown));
}

#[test]
fn missing_and_hostile_data_files_end_the_job_before_anything_is_written() {
    removal("overlap-hostile");
    let eval = folder("overlap-hostile").folder("eval");
    let refused = |expected: &[&str]| {
        let error = run(&config("overlap-hostile", ""), 2).unwrap_err();
        for part in expected {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        assert_eq!(error.exit_code(), ExitCode::Data, "{error}");
        assert!(folder("overlap-hostile").folder("out").list().unwrap().is_empty());
    };
    let whole = eval.get("own.jsonl").unwrap();
    for (content, expected) in [
        (&b""[..], "own.jsonl is empty: expected"),
        (b"{\"text\": \"a\"}\n{\"text\": 5}\n", "own.jsonl:2: expected a JSON object with \"text\""),
        (b"{\"text\": \"\xff\"}\n", "own.jsonl: expected UTF-8, but byte 10 (line 1) is not"),
        (b"\0\0\0", "own.jsonl:1: expected a JSON object"),
        (&[b'['; 100_000], "own.jsonl:1: expected a JSON object"),
    ] {
        eval.put("own.jsonl", Bytes::copy_from_slice(content)).unwrap();
        refused(&["webtext.overlap.tasks: memory:", expected]);
    }
    eval.put("own.jsonl", whole).unwrap();
    eval.delete("lambada_test.jsonl").unwrap();
    refused(&[
        "webtext.overlap.tasks: lambada_harness reads memory:",
        "lambada_test.jsonl, which does not exist; put it there from",
    ]);
    eval.delete("own.jsonl").unwrap();
    refused(&["documents reads memory:", "own.jsonl, which does not exist; lambada_harness reads memory:"]);
}

#[test]
fn a_rank_that_finds_other_evaluation_sets_than_were_planned_with_ends_the_job() {
    removal("overlap-ranks");
    let (config, storage) = (config("overlap-ranks", ""), StorageConfig::default());
    let options = StageOptions::read(&config.prepare, &config.webtext).unwrap();
    let found = job::find_inputs(&config.prepare, &storage).unwrap();
    let planned = plan(&config.prepare, &options, &found, &storage).unwrap();
    let inputs = Inputs { config: &config.prepare, options: &options, storage: &storage, found: &found };
    let open = || Overlapping::open(inputs, &planned[0], Documents::open(inputs, None).unwrap()).map(drop);
    open().unwrap();
    put_sets("overlap-ranks", &["other words".to_owned()], &["a passage of other words".to_owned()]);
    let error = open().unwrap_err();
    assert!(
        error.to_string().contains("differ from those that rank 0 has planned with; give the same files"),
        "{error}"
    );
    assert_eq!(error.exit_code(), ExitCode::Data);
}

#[test]
fn what_an_item_of_very_many_words_or_none_has_is_counted() {
    let long = Random(9).words(100_000, (0, 5000)).join(" ");
    put("overlap-long", &[long.clone(), "x".repeat(1 << 20)]);
    put_sets("overlap-long", &[long, "x".repeat(1 << 20), "!".into()], &["a passage of a few words".to_owned()]);
    let made = Made::by("overlap-long", "remove = \"window\"");
    let sums = made.sums();
    assert_eq!((sums.tasks[0].seen, sums.tasks[0].without_grams), (99_993, 2));
    assert_eq!(sums.longest[0].words, 100_000);
    assert!(sums.longest[0].text.len() <= 400);
    assert_eq!(made.texts().len(), 1);
}
