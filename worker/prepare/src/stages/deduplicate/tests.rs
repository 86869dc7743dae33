//! Tests of the stage on one rank, over memory. Those over ranks and processes are in the package `tests`.

use std::collections::BTreeMap;

use bytes::Bytes;
use common::config::{PrepareJobConfig, RawConfig};
use common::exit_code::ExitCode;
use serde_json::{Value, json};
use webtext::deduplicate::exact::{text_key, url_key};
use webtext::deduplicate::{Normaliser, Scratch};

use super::*;
use crate::job;
use crate::stages::lineage::tests::folder;
use crate::stages::lineage::{Line, LineageFile, Verdict, lineage_of};
use crate::stages::options::StageOptions;
use crate::stages::record::StageRecord;

/// A document as an input has it.
#[derive(Clone)]
struct Given {
    text: String,
    url: Option<String>,
    date: Option<String>,
}

fn given(text: impl Into<String>) -> Given {
    Given { text: text.into(), url: None, date: None }
}

/// Numbers by a seed (Knuth's linear congruential generator).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn words(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| word(self.below(3000))).collect()
    }
}

/// A word of letters for each number.
fn word(number: usize) -> String {
    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    [letter(number), letter(number / 26), letter(number / 676), 'q'].iter().collect()
}

/// Documents of which some are copies of others, with a few words replaced, or have their URL.
fn documents(count: usize, seed: u64) -> Vec<Given> {
    let (mut random, mut all) = (Random(seed), Vec::<(Vec<String>, Option<usize>)>::new());
    while all.len() < count {
        let length = 3 + random.below(120);
        let mut words = random.words(length);
        if !all.is_empty() && random.below(2) == 0 {
            words = all[random.below(all.len())].0.clone();
            for _ in 0..random.below(4) {
                let at = random.below(words.len());
                words[at] = word(random.below(3000));
            }
        }
        let url = (random.below(3) == 0).then(|| random.below(3 * count));
        all.push((words, url));
    }
    let document = |(words, url): (Vec<String>, Option<usize>)| Given {
        text: words.join(" "),
        url: url.map(|number| format!("http://site.example/{number}")),
        date: None,
    };
    all.into_iter().map(document).collect()
}

/// Writes `documents` as the objects of a job's input. Another field makes them long enough for several units.
fn put(name: &str, documents: &[Given]) {
    let (input, other) = (folder(name).folder("in"), "x".repeat(12_000));
    for (number, some) in documents.chunks(50).enumerate() {
        let line = |Given { text, url, date }: &Given| {
            json!({"text": text, "url": url, "date": date, "x": other}).to_string() + "\n"
        };
        let lines: String = some.iter().map(line).collect();
        input.put(&format!("{number:04}.jsonl"), Bytes::from(lines)).unwrap();
    }
}

fn config(name: &str, rules: &str) -> PrepareJobConfig {
    let place = folder(name).url().to_owned();
    let text = format!(
        "[prepare]\ninputs = [\"{place}/in\"]\noutput = \"{place}/out\"\nstages = [\"deduplicate\"]\nvalidation_fraction = 0.0\n\
         [webtext.deduplicate]\n{rules}\n"
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

    /// Returns for each document whether it is kept, by its rule.
    fn rules(&self) -> Vec<String> {
        self.lines().into_iter().map(|line| line.rule).collect()
    }

    fn record(&self) -> StageRecord {
        serde_json::from_slice(&self.folder.get("stage.json").unwrap()).unwrap()
    }

    /// Returns all objects but those that have processor times.
    fn objects(&self) -> BTreeMap<String, Bytes> {
        let names = self.folder.list().unwrap().into_iter().map(|object| object.name);
        let names = names.filter(|name| !name.ends_with(".json"));
        names.map(|name| (name.clone(), self.folder.get(&name).unwrap())).collect()
    }
}

/// Returns for each document the first of its cluster, by comparing all with all.
fn firsts(documents: &[Given], options: &DeduplicateOptions) -> Vec<usize> {
    let signer = Signer::new(options.minhash).unwrap();
    let (mut scratch, mut normaliser) = (Scratch::default(), Normaliser::default());
    let mut keys = |document: &Given| {
        let mut keys: Vec<(usize, u128)> = Vec::new();
        let signature = signer.sign(&document.text, &mut scratch).filter(|_| options.near);
        keys.extend(signature.iter().flat_map(|signature| signature.band_keys(&options.minhash)).enumerate());
        let text = text_key(&document.text, &mut normaliser).filter(|_| options.text);
        let url = document.url.as_deref().and_then(url_key).filter(|_| options.url);
        keys.extend(text.map(|key| (100, key)));
        keys.extend(url.map(|key| (101, key)));
        keys
    };
    let keys: Vec<_> = documents.iter().map(&mut keys).collect();
    let mut first: Vec<usize> = (0..documents.len()).collect();
    for one in 0..keys.len() {
        for other in one + 1..keys.len() {
            if first[one] != first[other] && keys[one].iter().any(|key| keys[other].contains(key)) {
                let (least, most) = (first[one].min(first[other]), first[one].max(first[other]));
                first.iter_mut().filter(|first| **first == most).for_each(|first| *first = least);
            }
        }
    }
    first
}

#[test]
fn of_each_cluster_the_earliest_document_stays_as_comparing_all_with_all_says() {
    let documents = documents(600, 5);
    put("dedup-clusters", &documents);
    let made = Made::by("dedup-clusters", "");
    let firsts = firsts(&documents, &DeduplicateOptions::default());
    let (lines, mut sizes) = (made.lines(), BTreeMap::<usize, u64>::new());
    firsts.iter().for_each(|first| *sizes.entry(*first).or_default() += 1);
    assert_eq!(lines.len(), documents.len());
    for (at, (line, first)) in lines.iter().zip(&firsts).enumerate() {
        let size = sizes[first];
        let expected = match (at == *first, size) {
            (true, 1) => String::new(),
            (true, _) => format!("stays of a cluster of {size} documents"),
            (false, _) => format!("cluster of {size} documents, of which {} stays", id_in_words(lines[*first].id)),
        };
        assert_eq!((line.verdict == Verdict::Kept, line.note.as_str()), (at == *first, expected.as_str()), "{at}");
    }
    let clusters: Vec<u64> = sizes.values().copied().filter(|size| *size > 1).collect();
    let sums = made.record().clusters.unwrap();
    assert_eq!((sums.clusters, sums.documents), (clusters.len() as u64, clusters.iter().sum()));
    assert_eq!(sums.sizes.values().sum::<u64>(), sums.clusters);
    let named: Vec<u64> = sums.largest.iter().map(|large| large.documents).collect();
    let mut largest = clusters;
    largest.sort_by(|one, other| other.cmp(one));
    assert_eq!(named, largest[..10]);
    let starts = sums.largest.iter().all(|large| documents.iter().any(|given| given.text.starts_with(&large.start)));
    assert!(starts && sums.largest.iter().all(|large| !large.start.is_empty()));
    for rule in ["duplicate.text", "duplicate.url", "duplicate.near"] {
        assert!(lines.iter().any(|line| line.rule == rule), "{rule}");
    }
    assert!(!made.folder.list().unwrap().iter().any(|object| object.name.starts_with("work/")));
}

#[test]
fn threads_and_memory_have_no_influence_on_the_bytes() {
    let documents = documents(500, 6);
    let mut all = Vec::new();
    for (name, memory_bytes, threads) in
        [("dedup-much", 512 << 20, 1), ("dedup-some", 1 << 20, 4), ("dedup-little", 20_000, 2)]
    {
        put("dedup-memory", &documents);
        let mut config = config("dedup-memory", "");
        config.prepare.memory_bytes = memory_bytes;
        run(&config, threads).unwrap();
        all.push((name, Made::of("dedup-memory").objects()));
        folder("dedup-memory").folder("out").delete_all().unwrap();
    }
    assert!(all[0].1.keys().any(|name| name.ends_with(".signatures")));
    assert!(all[0].1.len() >= 20 && all[1].1 == all[0].1 && all[2].1 == all[0].1, "{:?}", all[0].1.keys());
}

#[test]
fn the_document_that_stays_is_the_earliest_the_longest_or_the_latest_as_the_config_says() {
    let words = Random(3).words(80);
    let text = words.join(" ");
    let dated = |text: &str, date: &str| Given { date: Some(date.to_owned()), ..given(text) };
    put(
        "dedup-keep",
        &[
            dated(&text, "2017-05-01"),
            dated(&format!("{text} and the end"), "2016"),
            dated(&text, "2018-01-01T00:00:00Z"),
        ],
    );
    for (rules, kept) in [("", 0), ("keep = \"longest\"", 1), ("keep = { best = \"date\" }", 2)] {
        let made = Made::by("dedup-keep", rules);
        let stays: Vec<bool> = made.lines().iter().map(|line| line.verdict == Verdict::Kept).collect();
        assert_eq!(stays, [0, 1, 2].map(|at| at == kept), "{rules}");
        folder("dedup-keep").folder("out").delete_all().unwrap();
    }
}

#[test]
fn what_counts_as_a_duplicate_is_as_the_config_says() {
    let mut random = Random(4);
    let [one, other] = [random.words(100), random.words(100)];
    let (text, mut near) = (one.join(" "), one.clone());
    near[50] = "changed".to_owned();
    let with_url = |text: String, url: &str| Given { url: Some(url.to_owned()), ..given(text) };
    put(
        "dedup-rules",
        &[
            with_url(text.clone(), "http://www.a.example/x"),
            given(text.to_uppercase()),
            given(near.join(" ")),
            with_url(other.join(" "), "https://A.example/x/"),
            given("few"),
            given("Few!"),
            given("!"),
            given("?"),
        ],
    );
    let check = |rules: &str, expected: [&str; 8]| {
        assert_eq!(Made::by("dedup-rules", rules).rules(), expected, "{rules}");
        folder("dedup-rules").folder("out").delete_all().unwrap();
    };
    let [text, url, near] = ["duplicate.text", "duplicate.url", "duplicate.near"];
    check("", ["", text, near, url, "", text, "", ""]);
    check("near = false", ["", text, "", url, "", text, "", ""]);
    check("url = false\nnear = false", ["", text, "", "", "", text, "", ""]);
    check("url = false\ntext = false", ["", text, near, "", "", "", "", ""]);
    check("text = false\nnear = false", ["", "", "", url, "", "", "", ""]);
}

#[test]
fn a_new_crawl_is_compared_with_an_old_one_as_if_both_were_one() {
    let all = documents(600, 8);
    let (old, new) = all.split_at(300);
    put("dedup-old", old);
    put("dedup-new", new);
    let against = Made::by("dedup-old", "");
    let url = against.folder.url();
    let made = Made::by("dedup-new", &format!("against = [\"{url}\"]"));
    let firsts = firsts(&all, &DeduplicateOptions::default());
    let lines = made.lines();
    for (line, at) in lines.iter().zip(300..) {
        // One that is in a cluster with an old document is dropped.
        assert_eq!(line.verdict == Verdict::Kept, firsts[at] == at, "{at}: {}", line.note);
        assert_eq!(line.note.contains(" of an earlier corpus stays"), firsts[at] < 300, "{at}: {}", line.note);
    }
    let dropped: Vec<&Line> = lines.iter().filter(|line| line.note.contains("earlier corpus")).collect();
    assert!(dropped.len() > 50, "{}", dropped.len());
    let old_lines = against.lines();
    for (line, first) in lines.iter().zip(&firsts[300..]).filter(|(_, first)| **first < 300) {
        let id = id_in_words(old_lines[*first].id);
        assert!(line.note.ends_with(&format!("of which {id} of an earlier corpus stays")), "{}", line.note);
    }
}

#[test]
fn signatures_that_cannot_be_compared_with_are_refused_and_say_why() {
    put("dedup-refused", &documents(150, 9));
    put("dedup-refused-new", &documents(60, 10));
    let old = Made::by("dedup-refused", "");
    let url = old.folder.url().to_owned();
    let refused = |rules: &str, expected: &[&str]| {
        let error = run(&config("dedup-refused-new", &format!("against = [\"{url}\"]\n{rules}")), 2).unwrap_err();
        for part in expected {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        assert_eq!(error.exit_code(), ExitCode::Data, "{error}");
        folder("dedup-refused-new").folder("out").delete_all().unwrap();
    };
    let seed = ["webtext.deduplicate.against: ", ".signatures: seed 1: expected 7; use the parameters"];
    refused("minhash = { seed = 7 }", &seed);
    refused("minhash = { bits = 32 }", &[".signatures: bits 64: expected 32; use the parameters"]);
    let renamed = folder("dedup-refused").folder("out/stages/deduplicate-0123456789abcdef");
    renamed.put("stage.json", old.folder.get("stage.json").unwrap()).unwrap();
    let error = run(&config("dedup-refused-new", &format!("against = [\"{}\"]", renamed.url())), 2).unwrap_err();
    assert!(error.to_string().contains("stage.json there is of another folder, whose name ends in "), "{error}");
    let signatures = old.folder.get("unit-000000.signatures").unwrap();
    for name in ["unit-000000.signatures", "unit-000000.keys"] {
        let content = old.folder.get(name).unwrap();
        let mut damaged = content.to_vec();
        let last = damaged.len() - 100;
        damaged[last] ^= 1;
        old.folder.put(name, damaged.into()).unwrap();
        refused("", &[name, "; copy it anew, or make it anew from its documents"]);
        old.folder.put(name, content.slice(..content.len() - 1)).unwrap();
        refused("", &[name, "bytes: expected"]);
        old.folder.put(name, Bytes::from_static(b"no signatures")).unwrap();
        refused("", &[name]);
        old.folder.put(name, content).unwrap();
    }
    // Objects that are whole, but of other documents.
    for (name, end) in [("keys", "is not of unit 0"), ("signatures", "has no keys")] {
        let [first, second] = [0, 1].map(|unit| format!("unit-00000{unit}.{name}"));
        let content = old.folder.get(&first).unwrap();
        old.folder.put(&first, old.folder.get(&second).unwrap()).unwrap();
        refused("", &[&first, end, "; copy the folder anew, or make it anew from its documents"]);
        old.folder.put(&first, content).unwrap();
    }
    old.folder.delete("unit-000000.signatures").unwrap();
    refused("", &["it lacks unit-000000.signatures; copy", "write webtext.deduplicate.near = false"]);
    old.folder.put("unit-000000.signatures", signatures).unwrap();
    let stage = old.folder.get("stage.json").unwrap();
    old.folder.delete("stage.json").unwrap();
    refused("", &["it has no deduplication that is done"]);
    old.folder.put("stage.json", stage).unwrap();
    run(&config("dedup-refused-new", &format!("against = [\"{url}\"]")), 2).unwrap();
}

#[test]
fn what_counts_of_a_job_that_was_killed_is_not_done_again_and_the_bytes_are_the_same() {
    put("dedup-killed", &documents(400, 11));
    let whole = Made::by("dedup-killed", "");
    let (objects, record) = (whole.objects(), whole.record());
    // As after a kill before the sums: without work, all is compared again, and the units are found to be there.
    folder("dedup-killed").folder("out").folder("train").delete_all().unwrap();
    folder("dedup-killed").folder("out").delete("prepare.json").unwrap();
    whole.folder.delete("stage.json").unwrap();
    whole.folder.delete("unit-000001.json").unwrap();
    run(&config("dedup-killed", ""), 2).unwrap();
    assert!(whole.objects() == objects);
    let cluster_sums = |record: StageRecord| record.clusters.unwrap();
    assert_eq!(cluster_sums(whole.record()), cluster_sums(record));
}

/// Does the first step of a job alone, on one thread, and returns the versions of what it has written.
fn make_keys(name: &str, memory_bytes: u64) -> BTreeMap<String, String> {
    let mut config = config(name, "");
    config.prepare.memory_bytes = memory_bytes;
    let options = StageOptions::read(&config.prepare, &config.webtext).unwrap();
    let (storage, found) = (StorageConfig::default(), job::find_inputs(&config.prepare, &config.storage).unwrap());
    let inputs = Inputs { config: &config.prepare, options: &options, storage: &storage, found: &found };
    let deduplication = Deduplication::open(inputs, Documents::open(inputs, None).unwrap());
    let planned = &crate::stages::plan::plan(&config.prepare, &options, &found, &storage).unwrap()[0];
    let folder = planned.folder(&Folder::open(&config.prepare.output, &storage).unwrap());
    let sources = Sources::new((&[], deduplication.options), &storage, (&folder, deduplication.bytes())).unwrap();
    let (groups, spaces, work) = (sources.groups(), Space::all(deduplication.options), folder.folder(WORK_FOLDER));
    let comparison = Comparison { of: &deduplication, sources, groups, spaces, work, threads: 1 };
    let state = comparison.state().unwrap();
    comparison.keys(&state, &Ranks::One, &mut ()).unwrap();
    folder.list().unwrap().into_iter().map(|object| (object.name, object.version)).collect()
}

#[test]
fn keys_that_are_there_are_not_made_again_with_other_memory() {
    let documents = documents(400, 14);
    put("dedup-resumed", &documents);
    let whole = Made::by("dedup-resumed", "").objects();
    folder("dedup-resumed").folder("out").delete_all().unwrap();
    let keys = make_keys("dedup-resumed", 20_000);
    assert!(keys.keys().any(|name| name.starts_with("work/group-000001.band-")), "{keys:?}");
    let again = make_keys("dedup-resumed", 512 << 20);
    assert_eq!(again, keys);
    run(&config("dedup-resumed", ""), 2).unwrap();
    let made = Made::of("dedup-resumed");
    assert!(made.objects() == whole);
    for object in made.folder.list().unwrap().iter().filter(|object| object.name.ends_with(".signatures")) {
        assert_eq!(object.version, keys[&object.name], "{}", object.name);
    }
}

#[test]
fn work_with_other_units_is_refused() {
    put("dedup-changed", &documents(100, 15));
    make_keys("dedup-changed", 1 << 20);
    let stages = folder("dedup-changed").folder("out/stages");
    let name = stages.list_folders().unwrap()[0].clone();
    stages.folder(&name).folder("work").put("sources.json", Bytes::from_static(b"0123")).unwrap();
    let error = run(&config("dedup-changed", ""), 2).unwrap_err().to_string();
    let expected =
        "sources.json: a folder of webtext.deduplicate.against has changed since this job began; remove memory://";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_job_without_duplicates_keeps_all() {
    let mut random = Random(12);
    let all: Vec<Given> = (0..120).map(|_| given(random.words(60).join(" "))).collect();
    put("dedup-none", &all);
    let made = Made::by("dedup-none", "");
    assert!(made.lines().iter().all(|line| line.verdict == Verdict::Kept && line.note.is_empty()));
    let record = serde_json::to_value(made.record()).unwrap();
    assert_eq!(record["clusters"], json!({"clusters": 0, "documents": 0, "sizes": {}, "largest": []}));
    assert_eq!(record["tally"]["kept"], Value::from(120));
}

#[test]
fn paragraphs_that_are_there_before_go_where_the_config_asks_for_it() {
    let mut random = Random(13);
    let shared: Vec<String> = (0..40).map(|_| random.words(12).join(" ")).collect();
    let all: Vec<Vec<String>> = (0..300)
        .map(|number| {
            let some = (0..2 + random.below(5)).map(|_| match random.below(3) {
                0 => shared[random.below(40)].clone(),
                1 => "!".to_owned(),
                _ => random.words(30).join(" "),
            });
            // Some documents are copies of others, and of some nothing is new.
            let some: Vec<String> = some.collect();
            if number % 50 == 49 { shared[..3].to_vec() } else { some }
        })
        .collect();
    let given: Vec<Given> = all.iter().map(|paragraphs| given(paragraphs.join("\n"))).collect();
    put("dedup-paragraphs", &given);
    let made = Made::by("dedup-paragraphs", "paragraphs = true");
    let options = DeduplicateOptions { paragraphs: true, ..DeduplicateOptions::default() };
    let firsts = firsts(&given, &options);
    let mut seen = std::collections::HashSet::new();
    let (mut texts, mut emptied) = (Vec::new(), 0);
    for (at, paragraphs) in all.iter().enumerate().filter(|(at, _)| firsts[*at] == *at) {
        let left: Vec<&str> = paragraphs.iter().map(String::as_str).filter(|p| *p == "!" || seen.insert(*p)).collect();
        let text = left.join("\n");
        let has_lost = left.len() < paragraphs.len();
        emptied += usize::from(has_lost && text.trim().is_empty());
        assert_eq!(made.lines()[at].note.contains("paragraphs that are there before"), has_lost, "{at}");
        texts.extend(Some(text).filter(|text| !has_lost || !text.trim().is_empty()));
    }
    let units = made.record().units;
    let documents = (0..).zip(&units).flat_map(|(number, unit)| {
        let name = crate::stages::names::documents_name(number);
        let mut reader = crate::stages::document::DocumentReader::open(&made.folder, &name, unit).unwrap();
        std::iter::from_fn(move || reader.next_group().unwrap()).flatten().collect::<Vec<_>>()
    });
    // A last paragraph that goes leaves the line feed before it.
    let found: Vec<String> = documents.map(|document| document.text.trim_end_matches('\n').to_owned()).collect();
    assert_eq!(found, texts);
    let dropped = made.record().tally.dropped["duplicate.paragraphs"].count;
    assert_eq!(dropped, emptied as u64);
    assert!(emptied > 0);
    folder("dedup-paragraphs").folder("out").delete_all().unwrap();
    let made = Made::by("dedup-paragraphs", "paragraphs = true\nparagraph_bytes = 1000");
    assert!(made.lines().iter().all(|line| !line.note.contains("paragraphs")));
}
