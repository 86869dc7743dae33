//! Tests of the stage `deduplicate` with many duplicates: of bounded memory, whatever shape the clusters have, and found all.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::exit_code::ExitCode;
use serde_json::{Value, json};
use tests::documents::{by_launcher, peak_memory_bytes};
use tests::random::Random;
use tests::staged::made;
use tests::training::run;

use super::corpora::Corpora;

/// Variable that makes the corpora large; `make soak` sets it.
const LARGE_VARIABLE: &str = "CONVOY_TEST_LARGE_CORPUS";
/// Memory that a rank may take beside `prepare.memory_bytes`.
const BESIDE_BYTES: u64 = 200_000_000;
/// Bytes of a signature by default, with the number of its document.
const SIGNATURE_BYTES: u64 = 904;
/// Deadline of a job over a large corpus.
const DEADLINE: Duration = Duration::from_secs(3600);
/// Number of documents in an object.
const OBJECT_DOCUMENTS: u64 = 50_000;
/// Documents of fewer words have too few n-grams that a copy with replaced words would surely be found.
const WORDS_MIN: usize = 200;

fn is_large() -> bool {
    std::env::var_os(LARGE_VARIABLE).is_some()
}

/// A folder with a job's input, for one test.
struct Job {
    dir: tempfile::TempDir,
}

impl Job {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("convoy-test-").tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        Job { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes documents of these texts and URLs.
    fn put(&self, documents: impl Iterator<Item = (String, Option<String>)>) {
        let mut file: Option<BufWriter<File>> = None;
        for (number, (text, url)) in (0..).zip(documents) {
            if number % OBJECT_DOCUMENTS == 0 {
                let path = self.path("in").join(format!("{:04}.jsonl", number / OBJECT_DOCUMENTS));
                file = Some(BufWriter::new(File::create(path).unwrap()));
            }
            let line = json!({"text": text, "url": url});
            writeln!(file.as_mut().unwrap(), "{line}").unwrap();
        }
    }

    fn config(&self, output: &str) -> PathBuf {
        let place = |name: &str| self.path(name).display().to_string();
        let path = self.path(&format!("{output}.toml"));
        let text = format!(
            "[prepare]\ninputs = [{:?}]\noutput = {:?}\nstages = [\"deduplicate\"]\nvalidation_fraction = 0.0\n",
            place("in"),
            place(output)
        );
        fs::write(&path, text).unwrap();
        path
    }

    /// Runs the job over ranks. Returns the sums of the stage.
    fn run(&self, output: &str, ranks: u32, sets: &[&str]) -> Value {
        run(by_launcher(ranks, &self.config(output), sets), ExitCode::Done, &["tokens in "]);
        sums(&self.path(output))
    }
}

/// Returns the sums of the stage of a job that is done.
fn sums(output: &Path) -> Value {
    let record: Value = serde_json::from_slice(&fs::read(output.join("prepare.json")).unwrap()).unwrap();
    record["stages"][0].clone()
}

/// Every second document is a copy of one of the thousand before, with a word replaced.
fn documents(count: u64) -> impl Iterator<Item = (String, Option<String>)> {
    let (mut random, mut last) = (Random::new(23), Vec::<Vec<u64>>::new());
    (0..count).map(move |number| {
        let mut words: Vec<u64> = (0..50).map(|_| random.below(100_000)).collect();
        if number % 2 == 1 {
            words = last[random.below(last.len() as u64) as usize].clone();
            words[random.below(50) as usize] = random.below(100_000);
        }
        let at = (number % 1000) as usize;
        if at < last.len() {
            last[at].clone_from(&words)
        } else {
            last.push(words.clone())
        }
        (words.into_iter().map(word).collect::<Vec<_>>().join(" "), None)
    })
}

/// A word of letters for each number.
fn word(number: u64) -> String {
    let letter = |n: u64| char::from(b'a' + (n % 26) as u8);
    (0..5).map(|place| letter(number / 26_u64.pow(place))).collect()
}

/// With fewer signatures than 20 times the memory, merges have fewer objects than they may read at once.
#[test]
fn a_rank_that_deduplicates_stays_within_its_memory_over_twenty_times_as_many_bytes_of_signatures() {
    let memory_bytes: u64 = if is_large() { 64_000_000 } else { 1 << 20 };
    let peak = |times: u64| -> u64 {
        let job = Job::new();
        let count = times * memory_bytes / SIGNATURE_BYTES;
        job.put(documents(count));
        let memory = format!("prepare.memory_bytes={memory_bytes}");
        let sets = [memory.as_str(), "launch.threads_per_rank=2"];
        let peak = peak_memory_bytes(by_launcher(1, &job.config("out"), &sets), DEADLINE);
        let sums = sums(&job.path("out"));
        let (seen, kept) = (sums["seen"].as_u64().unwrap(), sums["kept"].as_u64().unwrap());
        println!(
            "peak memory of a rank: {} MB, with {} MB to work in, for {} MB of signatures of {seen} documents, of which {kept} stay; \
             {:.1} s of processor time to decide",
            peak / 1_000_000,
            memory_bytes / 1_000_000,
            seen * SIGNATURE_BYTES / 1_000_000,
            sums["cpu_seconds"].as_f64().unwrap()
        );
        assert_eq!(seen, count);
        // Copies of copies are found, except for a few.
        assert!(kept >= count / 2 && kept < count / 2 + count / 10, "{kept} of {count}");
        peak
    };
    let (many, twice) = (peak(20), peak(40));
    assert!(many <= memory_bytes + BESIDE_BYTES, "{many} bytes");
    assert!(twice < many + (32 << 20), "{many} and {twice} bytes");
}

#[test]
fn a_chain_of_documents_each_of_which_is_only_equal_to_its_neighbours_is_one_cluster() {
    let job = Job::new();
    let count: u64 = if is_large() { 1_000_000 } else { 20_000 };
    // One neighbour has the same text, and the other the same URL. Texts have fewer words than a shingle.
    let text = |number: u64| word(number.div_ceil(2));
    job.put((0..count).map(|number| (text(number), Some(format!("http://site.example/{}", number / 2)))));
    let sums = job.run("out", 2, &["prepare.memory_bytes=64000000"]);
    let clusters = &sums["clusters"];
    assert_eq!((&clusters["clusters"], &clusters["documents"]), (&json!(1), &json!(count)), "{sums}");
    assert_eq!((&sums["seen"], &sums["kept"]), (&json!(count), &json!(1)));
}

#[test]
fn many_equal_documents_are_one_cluster() {
    let job = Job::new();
    let count: u64 = if is_large() { 100_000 } else { 5_000 };
    let text = (0..60).map(word).collect::<Vec<_>>().join(" ");
    job.put((0..count).map(|_| (text.clone(), None)));
    let sums = job.run("out", 2, &["prepare.memory_bytes=4000000"]);
    assert_eq!(sums["clusters"]["largest"][0]["documents"], json!(count), "{sums}");
    assert_eq!((&sums["kept"], &sums["dropped"]["duplicate.text"]["count"]), (&json!(1), &json!(count - 1)));
}

#[test]
fn what_an_earlier_deduplication_has_seen_is_dropped_with_equal_bytes_on_any_ranks() {
    let job = Job::new();
    let (mut old, new): (Vec<_>, Vec<_>) = (Vec::new(), documents(6000).collect());
    for name in ["first", "second"] {
        let half = if name == "first" { 0..1500 } else { 1500..3000 };
        job.put(new[half].iter().cloned());
        job.run(name, 2, &[]);
        let stages = fs::read_dir(job.path(name).join("stages")).unwrap();
        old.extend(stages.map(|entry| entry.unwrap().path().display().to_string()));
    }
    job.put(new.iter().cloned());
    let against = format!("webtext.deduplicate.against={old:?}");
    let sums = job.run("one", 1, &[&against]);
    // Half of them are there already.
    assert!(sums["kept"].as_u64().unwrap() < 2000 && sums["seen"] == json!(6000), "{sums}");
    let one = made(&job.path("one"));
    for (name, ranks) in [("two", 2), ("four", 4)] {
        job.run(name, ranks, &[&against]);
        assert!(made(&job.path(name)) == one, "{ranks} ranks");
    }
}

#[test]
fn planted_duplicates_of_real_documents_are_all_found() {
    let Some(corpora) = Corpora::find() else { return };
    let mut real = corpora.texts();
    // Nothing of the corpora themselves is near another.
    let job = Job::new();
    job.put(real.iter().map(|text| (text.clone(), None)));
    let kept = job.run("alone", 1, &[])["kept"].as_u64().unwrap();
    let before = real.len() as u64;
    real.retain(|text| text.split_whitespace().count() >= WORDS_MIN);
    assert!(real.len() > 100, "{}", real.len());
    let other_layout = |text: &String| format!("  {}!\n", text.to_uppercase().replace('\n', "\n\n"));
    let mut planted = real.clone();
    planted.extend(real.iter().map(other_layout));
    planted.extend(real.iter().map(|text| with_replaced_words(text)));
    let all = corpora.texts().into_iter().chain(planted.iter().cloned());
    job.put(all.map(|text| (text, None)));
    let sums = job.run("planted", 2, &[]);
    println!("planted duplicates: {} beside {before} documents, {} stay", planted.len(), sums["kept"]);
    assert_eq!(sums["seen"], json!(before + planted.len() as u64));
    assert_eq!(sums["kept"], json!(kept), "{sums}");
    let near = sums["dropped"]["duplicate.near"]["count"].as_u64().unwrap();
    assert!(near >= real.len() as u64, "{near} of {}", real.len());
}

/// Replaces one of each 200 words.
fn with_replaced_words(text: &str) -> String {
    let words = text.split(' ').enumerate();
    words.map(|(at, word)| if at % WORDS_MIN == 100 { "replaced" } else { word }).collect::<Vec<_>>().join(" ")
}
