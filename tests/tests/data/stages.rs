//! Tests of the stages of a prepare job on real ranks: pages become documents, and the bytes are equal for any number of ranks
//! and after any kill.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use common::exit_code::ExitCode;
use nix::sys::signal::Signal;
use tests::documents::{by_launcher, by_mpirun, files};
use tests::process::{Running, send};
use tests::random::Random;
use tests::training::{DEADLINE, ended, run};

/// A folder with archives of pages, for one test.
struct Archives {
    dir: tempfile::TempDir,
}

impl Archives {
    /// Creates archives, each with `pages` pages, of which some are damaged, in error, or not English.
    fn new(archives: u64, pages: u64) -> Self {
        let dir = tempfile::Builder::new().prefix("convoy-test-").tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        let mut random = Random::new(11);
        for archive in 0..archives {
            let content: Vec<u8> = (0..pages).flat_map(|page| record(archive * pages + page, &mut random)).collect();
            let path = dir.path().join(format!("in/{archive:02}.warc"));
            std::fs::write(&path, content).unwrap();
            if archive % 2 == 1 {
                assert!(Command::new("gzip").arg(&path).status().unwrap().success());
            }
        }
        Archives { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the config of a job that writes to `output`; returns its path.
    fn config(&self, output: &str) -> PathBuf {
        let path = self.path(&format!("{output}.toml"));
        let (input, output) = (self.path("in"), self.path(output));
        let text = format!(
            "[prepare]\ninputs = [{input:?}]\noutput = {output:?}\nstages = [\"extract\", \"clean\"]\nvalidation_fraction = 0.1\n\
             tokens_per_shard = 20_000\n[webtext.clean]\nset = \"paper\"\n[webtext.clean.length]\nmin_words = 50\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Returns all files of an output that are functions of inputs and rules, by name: records have processor times.
    fn output(&self, output: &str) -> BTreeMap<String, Vec<u8>> {
        let has_times = |name: &str| {
            name == "prepare.json" || name == "README.md" || (name.starts_with("stages/") && name.ends_with(".json"))
        };
        let files = files(&self.path(output)).into_iter().filter(|(name, _)| !has_times(name));
        files.map(|(name, path)| (name, std::fs::read(path).unwrap())).collect()
    }

    /// Returns the number of units that are done, of all stages.
    fn units(&self, output: &str) -> usize {
        let is_unit = |name: &String| name.contains("/unit-") && name.ends_with(".json");
        files(&self.path(output)).into_keys().filter(is_unit).count()
    }
}

/// Returns a WARC record of a response.
fn record(number: u64, random: &mut Random) -> Vec<u8> {
    let (status, body) = match number % 11 {
        3 => ("404 Not Found", page(number, random)),
        5 => ("200 OK", "<div>".repeat(20_000)),
        7 => (
            "200 OK",
            format!("<article>{}</article>", "<p>Der Wärter schrieb am Abend einen langen Brief.</p>".repeat(20)),
        ),
        _ => ("200 OK", page(number, random)),
    };
    if number % 13 == 12 {
        return b"no record at all\r\n".repeat(1 + number as usize % 3);
    }
    let message = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    format!(
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:00000000-0000-4000-8000-{number:012x}>\r\n\
         WARC-Target-URI: http://site{}.example/{number}\r\nWARC-Date: 2026-11-30T12:00:00Z\r\n\
         Content-Type: application/http; msgtype=response\r\nContent-Length: {}\r\n\r\n{message}\r\n\r\n",
        number % 7,
        message.len()
    )
    .into_bytes()
}

/// Returns a page with an article of some paragraphs.
fn page(number: u64, random: &mut Random) -> String {
    let paragraphs: String = (0..5 + random.below(60))
        .map(|paragraph| {
            format!(
                "<p>The ferry number {number} leaves the harbour at dawn with {} letters, and its captain reads the weather report \
                 {paragraph} times before she starts the engine. The seal on the first letter was {:x}.</p>",
                random.below(1000),
                random.below(1 << 50)
            )
        })
        .collect();
    format!("<html><head><title>Trip {number}</title></head><body><article>{paragraphs}</article></body></html>")
}

#[test]
fn ranks_have_no_influence_on_the_bytes_of_stages() {
    let archives = Archives::new(8, 40);
    run(by_launcher(1, &archives.config("one"), &[]), ExitCode::Done, &["documents, "]);
    let one = archives.output("one");
    let parquet = one.keys().filter(|name| name.ends_with(".documents.parquet")).count();
    assert!(parquet >= 2 && one.keys().any(|name| name.starts_with("train/shard-")), "{:?}", one.keys());
    for ranks in [2, 4] {
        let name = format!("launcher-{ranks}");
        run(by_launcher(ranks, &archives.config(&name), &[]), ExitCode::Done, &[]);
        assert!(archives.output(&name) == one, "{ranks} ranks");
    }
    run(by_mpirun(3, &archives.config("mpirun"), &[]), ExitCode::Done, &["tokens in "]);
    assert!(archives.output("mpirun") == one);
    run(by_launcher(2, &archives.config("one"), &[]), ExitCode::Done, &["prepared already"]);
    let other = "webtext.clean.length.min_words=51";
    run(
        by_launcher(2, &archives.config("one"), &[other]),
        ExitCode::Data,
        &["the rules of its stages have changed since"],
    );
}

#[test]
fn stages_that_are_killed_at_any_moment_go_on_and_the_bytes_are_the_same() {
    let (archives, mut random) = (Archives::new(12, 60), Random::fresh());
    let started = Instant::now();
    run(by_mpirun(2, &archives.config("whole"), &[]), ExitCode::Done, &[]);
    let duration = started.elapsed();
    let config = archives.config("killed");
    let mut kills = 0;
    loop {
        let mut running = Running::start(by_mpirun(2, &config, &[]));
        let moment = duration.mul_f64((1 + random.below(100)) as f64 / 150.0);
        let until = Instant::now() + moment;
        while Instant::now() < until && running.status().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if running.status().is_some() || kills == 10 {
            ended(running, ExitCode::Done, &["tokens in "]);
            break;
        }
        let before = archives.units("killed");
        for program in ["mpirun", "prepare"] {
            running.processes(program).into_iter().for_each(|pid| send(pid, Signal::SIGKILL));
        }
        running.finish_alone(DEADLINE);
        kills += 1;
        println!("kill {kills}: {before} units are done");
    }
    assert!(archives.output("killed") == archives.output("whole"));
}

#[test]
fn damaged_units_of_a_stage_that_was_not_done_are_found_and_done_again_by_any_ranks() {
    let archives = Archives::new(8, 40);
    let config = archives.config("out");
    run(by_mpirun(2, &config, &[]), ExitCode::Done, &[]);
    let whole = archives.output("out");
    // As after a kill before the sums of the last stage.
    for name in ["out/train", "out/validation"] {
        std::fs::remove_dir_all(archives.path(name)).unwrap();
    }
    std::fs::remove_file(archives.path("out/prepare.json")).unwrap();
    let of_clean = |end: &str| -> Vec<PathBuf> {
        let files = files(&archives.path("out/stages")).into_iter();
        files.filter(|(name, _)| name.starts_with("clean-") && name.ends_with(end)).map(|(_, path)| path).collect()
    };
    std::fs::remove_file(&of_clean("/stage.json")[0]).unwrap();
    let documents = of_clean(".documents.parquet");
    let [first, .., last] = &documents[..] else { panic!("{documents:?}") };
    for path in [first, last] {
        let mut content = std::fs::read(path).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        std::fs::write(path, content).unwrap();
    }
    let last = format!("unit {} of the stage clean is done again", documents.len() - 1);
    run(by_mpirun(3, &config, &[]), ExitCode::Done, &["unit 0 of the stage clean is done again", &last]);
    assert!(archives.output("out") == whole);
}

#[test]
fn memory_of_stages_does_not_grow_with_the_pages() {
    let peak = |pages: u64| -> u64 {
        let archives = Archives::new(1, pages);
        let sets = ["prepare.memory_bytes=32000000", "launch.threads_per_rank=1"];
        let mut running = Running::start(by_launcher(1, &archives.config("out"), &sets));
        let mut peak = 0;
        running.watch(DEADLINE, Duration::from_millis(20), |running| {
            peak = peak.max(running.peak_memory_bytes("prepare"));
        });
        ended(running, ExitCode::Done, &[]);
        peak >> 20
    };
    let (small, large) = (peak(300), peak(4000));
    println!("peak memory of a rank: {small} MiB for 300 pages, {large} MiB for 4,000");
    assert!(large < small + 64, "{small} MiB, {large} MiB");
}

#[test]
fn faulty_rules_are_refused_before_any_work() {
    let archives = Archives::new(1, 5);
    let sets = ["webtext.clean.length.min_word=9", "webtext.clean.set=papers"];
    let words = [
        "webtext.clean.length.min_word = 9: unknown key; this table has min_characters, min_words",
        "webtext.clean.set = \"papers\": is no set of rules",
    ];
    run(by_launcher(2, &archives.config("out"), &sets), ExitCode::Config, &words);
    assert!(!archives.path("out/stages").exists());
}
