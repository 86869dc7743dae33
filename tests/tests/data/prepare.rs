//! Tests of preparing data on real ranks: the bytes are equal for any number of ranks, after any kill, and from any kind of
//! object.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use common::exit_code::ExitCode;
use nix::sys::signal::Signal;
use tests::documents::{by_launcher, by_mpirun, files, peak_memory_bytes};
use tests::killed::killed_until_done;
use tests::process::{Running, send};
use tests::random::Random;
use tests::training::{DEADLINE, ended, run};

/// Setting with little memory, so that even these texts become many runs and partitions.
const LITTLE_MEMORY: &str = "prepare.memory_bytes=4000000";

/// A folder with documents, for one test.
struct Corpus {
    dir: tempfile::TempDir,
}

impl Corpus {
    /// Creates about `megabytes` of text in objects of several kinds.
    fn new(megabytes: usize) -> Self {
        let dir = tempfile::Builder::new().prefix("convoy-test-").tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        let corpus = Corpus { dir };
        let mut random = Random::new(7);
        corpus.write("in/a.jsonl", |file| lines(file, &mut random, megabytes * 700_000));
        corpus.write("in/b.txt", |file| file.write_all(text(&mut random, 3000).as_bytes()).unwrap());
        corpus.write("in/c.jsonl", |file| lines(file, &mut random, megabytes * 150_000));
        corpus.pack("in/d.jsonl", "gzip", &mut random, megabytes * 100_000);
        // This way of packing is slow.
        corpus.pack("in/e.jsonl", "xz", &mut random, megabytes.min(20) * 50_000);
        corpus
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, write: impl FnOnce(&mut std::io::BufWriter<std::fs::File>)) {
        let mut file = std::io::BufWriter::new(std::fs::File::create(self.path(name)).unwrap());
        write(&mut file);
        file.flush().unwrap();
    }

    /// Writes lines, packed by a program of the system.
    fn pack(&self, name: &str, packer: &str, random: &mut Random, bytes: usize) {
        self.write(name, |file| lines(file, random, bytes));
        assert!(Command::new(packer).arg(self.path(name)).status().unwrap().success());
    }

    /// Writes the config of a job that writes to `output`; returns its path.
    fn config(&self, output: &str) -> PathBuf {
        let path = self.path(&format!("{output}.toml"));
        let (input, output) = (self.path("in"), self.path(output));
        let text = format!(
            "[prepare]\ninputs = [{input:?}]\noutput = {output:?}\ntokens_per_shard = 300_000\nvalidation_fraction = 0.05\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Returns all files of an output, by name.
    fn output(&self, output: &str) -> BTreeMap<String, Vec<u8>> {
        files(&self.path(output)).into_iter().map(|(name, path)| (name, std::fs::read(path).unwrap())).collect()
    }
}

/// Returns text of `words` words: common ones, and rare ones that no cache has.
fn text(random: &mut Random, words: u64) -> String {
    let word = |random: &mut Random| match random.below(10) {
        0 => format!("{:x} ", random.below(1 << 40)),
        1 => {
            ["naïve ", "straße, ", "日本語", "don't ", "\n\n", "    ", "1,234.5 "][random.below(7) as usize].to_owned()
        }
        _ => ["the ", "of ", "and ", "to ", "training ", "tokens ", "was ", "in "][random.below(8) as usize].to_owned(),
    };
    (0..words).map(|_| word(random)).collect()
}

fn lines(file: &mut impl Write, random: &mut Random, bytes: usize) {
    let mut written = 0;
    while written < bytes {
        let words = 20 + random.below(600);
        let line = serde_json::json!({ "id": written, "text": text(random, words) }).to_string();
        writeln!(file, "{line}").unwrap();
        written += line.len() + 1;
    }
}

#[test]
fn ranks_memory_and_launcher_have_no_influence_on_the_bytes() {
    let corpus = Corpus::new(6);
    run(by_launcher(1, &corpus.config("one"), &[]), ExitCode::Done, &["documents, ", "bytes per token"]);
    let one = corpus.output("one");
    let shards = one.keys().filter(|name| name.starts_with("train/shard-")).count();
    assert!(
        shards > 4 && one.contains_key("validation/index.json") && one.contains_key("README.md"),
        "{:?}",
        one.keys()
    );
    assert!(!corpus.path("one/prepare-work").exists());
    for ranks in [2, 4] {
        let name = format!("launcher-{ranks}");
        run(by_launcher(ranks, &corpus.config(&name), &[LITTLE_MEMORY]), ExitCode::Done, &[]);
        assert!(corpus.output(&name) == one, "{ranks} ranks");
    }
    run(by_mpirun(3, &corpus.config("mpirun"), &[]), ExitCode::Done, &["tokens in "]);
    assert!(corpus.output("mpirun") == one);
    run(by_launcher(2, &corpus.config("one"), &[]), ExitCode::Done, &["prepared already"]);
    run(by_launcher(2, &corpus.config("one"), &["prepare.seed=5"]), ExitCode::Data, &["another [prepare] section"]);
}

/// Returns the objects of the work folder that count.
fn done(corpus: &Corpus, output: &str) -> BTreeSet<String> {
    files(&corpus.path(output).join("prepare-work")).into_keys().filter(|name| name.ends_with(".json")).collect()
}

#[test]
fn killed_at_any_moment_it_goes_on_and_the_bytes_are_the_same() {
    let corpus = Corpus::new(12);
    run(by_mpirun(2, &corpus.config("whole"), &[LITTLE_MEMORY]), ExitCode::Done, &[]);
    let config = corpus.config("killed");
    killed_until_done(|| by_mpirun(2, &config, &[LITTLE_MEMORY]), &corpus.path("killed"));
    let (killed, whole) = (corpus.output("killed"), corpus.output("whole"));
    assert!(killed.keys().eq(whole.keys()), "{:?} {:?}", killed.keys(), whole.keys());
    assert!(killed == whole);
}

#[test]
fn a_killed_rank_is_restarted_by_the_launcher_and_a_stop_can_be_gone_on_from() {
    let corpus = Corpus::new(12);
    run(by_launcher(1, &corpus.config("whole"), &[]), ExitCode::Done, &[]);
    let config = corpus.config("killed");
    let has_runs = |running: &mut Running, more_than: usize| {
        let ready = |_: &Running| (done(&corpus, "killed").len() > more_than).then_some(());
        running.wait_until("a part was finished", DEADLINE, ready);
    };
    let mut running = Running::start(by_launcher(2, &config, &[LITTLE_MEMORY]));
    has_runs(&mut running, 0);
    running.signal(Signal::SIGINT);
    ended(running, ExitCode::Stopped, &["run the same command to go on"]);
    let kept = done(&corpus, "killed");
    assert!(!kept.is_empty() && !corpus.path("killed/train/index.json").exists());

    let mut running = Running::start(by_launcher(2, &config, &[LITTLE_MEMORY]));
    has_runs(&mut running, kept.len());
    send(running.processes("prepare")[1], Signal::SIGKILL);
    ended(running, ExitCode::Done, &["rank lost", "restarting in", "tokens in "]);
    assert!(corpus.output("killed") == corpus.output("whole"));
}

#[test]
fn one_bad_line_ends_every_rank_and_names_itself() {
    let corpus = Corpus::new(6);
    let name = corpus.path("in/c.jsonl");
    let mut content = std::fs::read_to_string(&name).unwrap();
    let lines = content.lines().count();
    content.push_str("{\"text\": \n");
    std::fs::write(&name, content).unwrap();
    let expected = format!("c.jsonl, line {}: not JSON: EOF", lines + 1);
    let config = corpus.config("out");
    run(by_launcher(2, &config, &[]), ExitCode::Data, &[&expected, "prepare.on_bad_document"]);
    run(by_mpirun(2, &config, &[]), ExitCode::Data, &[&expected]);
    assert!(!corpus.path("out/train/index.json").exists());
    // Earlier work counts, and the bad line is left out, counted and named.
    let skip = ["prepare.on_bad_document=skip"];
    run(by_launcher(2, &config, &skip), ExitCode::Done, &["left out    1 document: not a JSON object"]);
    let card = std::fs::read_to_string(corpus.path("out/README.md")).unwrap();
    assert!(card.contains("c.jsonl, the line at byte") || card.contains("c.jsonl, line"), "{card}");
}

#[test]
fn memory_does_not_grow_with_the_corpus() {
    let peak = |megabytes: usize| -> u64 {
        let corpus = Corpus::new(megabytes);
        let sets = ["prepare.memory_bytes=32000000", "launch.threads_per_rank=2"];
        peak_memory_bytes(by_launcher(1, &corpus.config("out"), &sets), DEADLINE) >> 20
    };
    let (small, large) = (peak(8), peak(120));
    println!("peak memory of a rank: {small} MiB for 8 MB of text, {large} MiB for 120 MB");
    // 15 times the text, 120 MB, takes no more memory than 32 MB of memory_bytes explain.
    assert!(large < small + 64, "{small} MiB, {large} MiB");
}
