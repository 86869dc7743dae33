//! Archives of pages, and jobs with stages over a folder of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use common::config::{PrepareConfig, PrepareJobConfig, RawConfig, StorageConfig};
use common::storage::Folder;
use common::token_shard::{HEADER_BYTES, INDEX_NAME, Index, decode_tokens};
use common::tokenizer::Tokenizer;
use prepare::ranks::Ranks;
use prepare::stages::StageOptions;
use prepare::stages::document::{Document, DocumentReader};
use prepare::stages::lineage::{Line, LineageFile, lineage_of};
use prepare::stages::names::documents_name;
use prepare::stages::record::StageRecord;
use prepare::summary::Summary;
use prepare::{PrepareError, job};
use tests::documents::files;
use webtext::pages::write::{Packing, Record, WarcWriter};

/// Date of every page.
const DATE: &str = "2026-11-30T12:00:00Z";

/// Returns two paragraphs of English about `number`, which a page has for its text.
pub fn prose(number: usize) -> String {
    let words = ["seven", "eleven", "twenty", "forty", "ninety"];
    let count = words[number % words.len()];
    format!(
        "The ferry number {number} leaves the harbour at dawn, and it carries {count} letters, some bread and whoever has got up in \
         time for the crossing. The captain reads the weather report before she starts the engine.\n\nIn the evening the boat \
         returns with {count} passengers, and most of them talk about the fish that they did not catch on trip {number}."
    )
}

/// Returns a page about `number`.
pub fn article(number: usize) -> String {
    let paragraphs: String = prose(number).split("\n\n").map(|paragraph| format!("<p>{paragraph}</p>")).collect();
    format!(
        "<html><head><title>Article {number}</title></head><body><nav><a href=\"/\">Home</a></nav><article><h1>Article {number}\
         </h1>{paragraphs}</article></body></html>"
    )
}

/// Returns an HTTP response.
pub fn response(status: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Returns pages of these numbers, each with its address.
pub fn articles(numbers: std::ops::Range<usize>) -> Vec<(String, Vec<u8>)> {
    numbers.map(|number| (address(number), response("200 OK", "text/html", article(number).as_bytes()))).collect()
}

/// Returns pages that have much text, each with its address.
pub fn large_articles(numbers: std::ops::Range<usize>) -> Vec<(String, Vec<u8>)> {
    let page = |number: usize| {
        let paragraphs: String = (0..60).map(|part| format!("<p>{}</p>", noisy(number * 100 + part))).collect();
        format!("<html><head><title>Long {number}</title></head><body><article>{paragraphs}</article></body></html>")
    };
    numbers.map(|number| (address(number), response("200 OK", "text/html", page(number).as_bytes()))).collect()
}

/// Returns a paragraph that does not pack well.
fn noisy(number: usize) -> String {
    let mut state = number as u64;
    let mut hex = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        format!("{:x}", mixed ^ (mixed >> 27))
    };
    format!("{} The seals on the letters were {}, {} and {}.", prose(number).replace("\n\n", " "), hex(), hex(), hex())
}

fn address(number: usize) -> String {
    format!("http://site{}.example/{number}", number % 5)
}

/// Packs responses into an archive.
pub fn warc(packing: Packing, pages: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = WarcWriter::new(Vec::new(), packing);
    for (url, message) in pages {
        writer.response(url, DATE, message).unwrap();
    }
    writer.into_inner()
}

/// Returns a WET file of texts.
pub fn wet(texts: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = WarcWriter::new(Vec::new(), Packing::Plain);
    for (url, text) in texts {
        let (content_type, block) = ("text/plain", text.as_bytes());
        writer.record(&Record { record_type: "conversion", url, date: DATE, content_type, fields: "", block }).unwrap();
    }
    writer.into_inner()
}

/// Returns an archive of articles in which the members of the numbers `damaged` are damaged, and where these members begin.
pub fn damaged_archive(count: usize, damaged: &[usize]) -> (Vec<u8>, Vec<u64>) {
    let (mut all, mut places) = (Vec::new(), Vec::new());
    for number in 0..count {
        let mut member = warc(Packing::Gzip, &articles(number..number + 1));
        if damaged.contains(&number) {
            places.push(all.len() as u64);
            let middle = member.len() / 2;
            member[middle..middle + 20].fill(0xff);
        }
        all.extend(member);
    }
    (all, places)
}

/// A job with the stages `extract` and `clean` over a folder, from `in` to `out`.
pub struct Job {
    dir: tempfile::TempDir,
    config: PrepareJobConfig,
}

impl Job {
    /// Creates a job with this section `[webtext]`.
    pub fn new(webtext: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("convoy-test-").tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        let config = config(dir.path(), webtext);
        Job { dir, config }
    }

    /// Changes the section `[webtext]`.
    pub fn webtext(&mut self, webtext: &str) {
        self.config = config(self.dir.path(), webtext);
    }

    /// Returns a path in the job's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file.
    pub fn put(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Runs the job in this process.
    pub fn run(&self) -> Result<Summary, PrepareError> {
        self.run_with(2)
    }

    /// Runs the job in this process, on some threads.
    pub fn run_with(&self, threads: usize) -> Result<Summary, PrepareError> {
        let mut options = StageOptions::read(&self.config.prepare, &self.config.webtext)?;
        options.program = Some(env!("CARGO_BIN_EXE_prepare").into());
        job::run(&self.config.prepare, &options, &StorageConfig::default(), &Ranks::One, threads, &mut ())
    }

    /// Runs the job in a process of its own.
    pub fn succeeds(&self) {
        let output = self.command().output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Removes the output.
    pub fn clear(&self) {
        let _ = std::fs::remove_dir_all(self.path("out"));
    }

    /// Returns the program that runs the job.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prepare"));
        self.shards(&mut command);
        command
    }

    /// Returns the program that runs the job, unable to write files of more than this number of KiB.
    pub fn command_with_file_limit(&self, kib: u64) -> Command {
        let mut command = Command::new("bash");
        let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_prepare")]);
        self.shards(&mut command);
        command
    }

    /// Returns what `prepare dry-run` prints, as JSON.
    pub fn dry_run(&self) -> serde_json::Value {
        std::fs::write(self.path("job.toml"), self.config.to_toml()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_prepare"));
        let output = command.args(["dry-run", "--json", "--config"]).arg(self.path("job.toml")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Changes a key of the section `[prepare]`.
    pub fn prepare(&mut self, change: impl FnOnce(&mut PrepareConfig)) {
        change(&mut self.config.prepare);
    }

    fn shards(&self, command: &mut Command) {
        std::fs::write(self.path("job.toml"), self.config.to_toml()).unwrap();
        command.args(["shards", "--threads", "2", "--config"]).arg(self.path("job.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    }

    /// Returns all files of the output that are functions of inputs and rules, by name: records have processor times.
    pub fn output(&self) -> BTreeMap<String, Vec<u8>> {
        let is_timed = |name: &str| {
            name == "prepare.json" || name == "README.md" || (name.starts_with("stages/") && name.ends_with(".json"))
        };
        let files = files(&self.path("out")).into_iter().filter(|(name, _)| !is_timed(name));
        files.map(|(name, path)| (name, std::fs::read(path).unwrap())).collect()
    }

    /// Returns when each file of the output was written.
    pub fn times(&self) -> BTreeMap<String, SystemTime> {
        let time = |path: PathBuf| std::fs::metadata(path).unwrap().modified().unwrap();
        files(&self.path("out")).into_iter().map(|(name, path)| (name, time(path))).collect()
    }

    fn planned(&self, stage: &str) -> PathBuf {
        let stages = std::fs::read_dir(self.path("out/stages")).unwrap();
        let names = stages.map(|entry| entry.unwrap().path());
        let mut of_stage = names.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(stage));
        of_stage.next().unwrap()
    }

    /// Returns the path of an object of a stage.
    pub fn object(&self, stage: &str, name: &str) -> PathBuf {
        self.planned(stage).join(name)
    }

    /// Removes what was prepared, and all stages but one.
    pub fn remove_all_but(&self, stage: &str) {
        let kept = self.planned(stage);
        for (name, path) in files(&self.path("out")) {
            if !path.starts_with(&kept) {
                std::fs::remove_file(path).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
        for entry in std::fs::read_dir(self.path("out/stages")).unwrap() {
            let _ = std::fs::remove_dir(entry.unwrap().path());
        }
    }

    /// Removes what was prepared, and no stage.
    pub fn remove_prepared(&self) {
        for name in ["train", "validation"] {
            let _ = std::fs::remove_dir_all(self.path("out").join(name));
        }
        std::fs::remove_file(self.path("out/prepare.json")).unwrap();
    }

    fn folder(&self, stage: &str) -> Folder {
        Folder::open(self.planned(stage).to_str().unwrap(), &StorageConfig::default()).unwrap()
    }

    /// Returns the record of a stage.
    pub fn stage(&self, stage: &str) -> StageRecord {
        let content = std::fs::read(self.object(stage, "stage.json")).unwrap();
        serde_json::from_slice(&content).unwrap()
    }

    /// Returns the lineage of a stage.
    pub fn lineage(&self, stage: &str) -> Vec<Line> {
        let folder = self.folder(stage);
        let units = lineage_of(&folder).unwrap();
        units.iter().flat_map(|unit| LineageFile::open(&folder, unit).unwrap().lines().unwrap()).collect()
    }

    /// Returns the documents of a stage.
    pub fn documents(&self, stage: &str) -> Vec<Document> {
        let (folder, mut all) = (self.folder(stage), Vec::new());
        for (number, stored) in (0..).zip(&self.stage(stage).units) {
            let mut reader = DocumentReader::open(&folder, &documents_name(number), stored).unwrap();
            while let Some(group) = reader.next_group().unwrap() {
                all.extend(group);
            }
        }
        all
    }

    /// Returns the documents in the token shards of both sides.
    pub fn tokenized(&self) -> BTreeSet<String> {
        let tokenizer = Tokenizer::gpt2().unwrap();
        let mut all = BTreeSet::new();
        for side in ["train", "validation"] {
            let Ok(index) = std::fs::read(self.path("out").join(side).join(INDEX_NAME)) else { continue };
            for shard in Index::parse("index", &index).unwrap().shards {
                let content = std::fs::read(self.path("out").join(side).join(&shard.name)).unwrap();
                let tokens: Vec<u16> = decode_tokens(&content[HEADER_BYTES as usize..]).collect();
                let documents = tokens.split(|token| *token == Tokenizer::GPT2_END_OF_TEXT).skip(1);
                all.extend(documents.map(|ids| String::from_utf8(tokenizer.decode(ids).unwrap()).unwrap()));
            }
        }
        all
    }
}

fn config(dir: &Path, webtext: &str) -> PrepareJobConfig {
    let (input, output) = (dir.join("in"), dir.join("out"));
    let text = format!(
        "[prepare]\ninputs = [{input:?}]\noutput = {output:?}\nstages = [\"extract\", \"clean\"]\nvalidation_fraction = 0.2\n\
         [webtext]\n{webtext}\n"
    );
    RawConfig::parse("of the test", &text, &[]).unwrap().prepare().unwrap()
}
