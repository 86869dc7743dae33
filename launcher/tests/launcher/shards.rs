//! Tests of `launcher shards` as a person would run it, over data that is whole and data that is damaged in every way.

use std::fs;
use std::path::PathBuf;

use common::token_shard::{BLOCK_BYTES, HEADER_BYTES, Index, ShardEntry, encode};
use common::tokenizer::Tokenizer;
use serde_json::Value;

use super::harness::{launcher_in, piped};

const END_OF_TEXT: u16 = Tokenizer::GPT2_END_OF_TEXT;
/// Ids of " world" and "Hello".
const WORDS: [u16; 2] = [995, 15_496];
/// Number of tokens of a shard with two blocks.
const FULL: usize = 600_000;

/// Prepared data in a folder of its own, and ways to damage it.
struct Data {
    dir: tempfile::TempDir,
}

impl Data {
    /// Creates `data/train` of three shards and `data/validation` of one; a document has 1000 tokens.
    fn new() -> Self {
        let data = Data { dir: tempfile::tempdir().unwrap() };
        let token = |i: usize| if i.is_multiple_of(1000) { END_OF_TEXT } else { WORDS[i % 2] };
        let tokens: Vec<u16> = (0..2 * FULL + 1500).map(token).collect();
        data.write("train", &tokens.chunks(FULL).map(<[u16]>::to_vec).collect::<Vec<_>>());
        data.write("validation", &[tokens[..3].to_vec()]);
        data
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("data").join(name)
    }

    /// Writes shards and the index that fits them.
    fn write(&self, side: &str, shards: &[Vec<u16>]) {
        fs::create_dir_all(self.path(side)).unwrap();
        let entry = |(number, tokens): (usize, &Vec<u16>)| {
            let (name, content) = (format!("shard-{number:06}.bin"), encode(tokens));
            fs::write(self.path(side).join(&name), &content).unwrap();
            ShardEntry::describe(&name, &content, END_OF_TEXT)
        };
        let shards: Vec<ShardEntry> = shards.iter().enumerate().map(entry).collect();
        let index = Index {
            version: 1,
            tokenizer: "gpt2".into(),
            tokenizer_hash: Tokenizer::gpt2().unwrap().hash().to_owned(),
            vocabulary: 50_257,
            tokens: shards.iter().map(|s| s.tokens).sum(),
            documents: shards.iter().map(|s| s.documents).sum(),
            block_bytes: BLOCK_BYTES,
            shards,
        };
        self.write_index(side, &index);
    }

    fn write_index(&self, side: &str, index: &Index) {
        fs::write(self.path(side).join("index.json"), index.to_json()).unwrap();
    }

    fn change_index(&self, side: &str, change: impl Fn(&mut Index)) {
        let mut index = Index::parse("index", &fs::read(self.path(side).join("index.json")).unwrap()).unwrap();
        change(&mut index);
        self.write_index(side, &index);
    }

    /// Changes a shard without its index.
    fn damage(&self, name: &str, change: impl Fn(&mut Vec<u8>)) {
        let mut content = fs::read(self.path(name)).unwrap();
        change(&mut content);
        fs::write(self.path(name), content).unwrap();
    }

    /// Runs `launcher shards` with `arguments`; returns exit code, standard output and standard error.
    fn shards(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let (code, stdout, stderr) = piped(launcher_in(self.dir.path()).arg("shards").args(arguments), b"");
        (code, String::from_utf8(stdout).unwrap(), stderr)
    }

    /// Verifies `url`, and expects lines that contain `expected`, one each, and no others.
    fn has_faults(&self, url: &str, expected: &[&str]) {
        let (code, stdout, stderr) = self.shards(&["verify", url]);
        assert_eq!(code, Some(3), "{stdout}{stderr}");
        let lines: Vec<&str> = stdout.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{stdout}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.contains(expected), "no {expected:?} in {line:?}");
        }
        let count = format!(": {} fault", expected.len());
        assert!(stderr.starts_with("error: file:///") && stderr.contains(&count), "{stderr}");
    }

    /// Runs `launcher shards`, and expects an exit code and a message that contains all of `expected`.
    fn refused(&self, arguments: &[&str], code: i32, expected: &[&str]) {
        let (got, stdout, stderr) = self.shards(arguments);
        assert_eq!((got, stdout.as_str()), (Some(code), ""), "{stderr}");
        assert!(stderr.starts_with("error: ") && expected.iter().all(|part| stderr.contains(part)), "{stderr}");
    }
}

#[test]
fn whole_data_verifies_in_one_line() {
    let data = Data::new();
    let (code, stdout, stderr) = data.shards(&["verify", "data"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let expected = "verified 4 shards: 1,201,503 tokens, 1,203 documents, 2,407,102 bytes, ";
    assert!(stdout.starts_with(expected) && stdout.ends_with(" MB/s\n"), "{stdout}");
    let (code, stdout, _) = data.shards(&["verify", "data/train", "--json"]);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, Some(0));
    assert_eq!((&report["shards"], &report["faults"]), (&3.into(), &Value::Array(vec![])));
}

#[test]
fn every_damage_is_found_and_named() {
    let data = Data::new();
    let second_block = BLOCK_BYTES as usize + 7;
    data.damage("train/shard-000000.bin", |content| content[second_block] ^= 1);
    data.damage("train/shard-000001.bin", |content| content[500] = 1);
    data.damage("train/shard-000002.bin", |content| content.truncate(2000));
    fs::remove_file(data.path("validation/shard-000000.bin")).unwrap();
    data.has_faults(
        "data",
        &[
            "train/shard-000000.bin, byte 1048576: block 1 has SHA-256 ",
            "train/shard-000000.bin: the file has SHA-256 ",
            "train/shard-000001.bin, byte 0: block 0 has SHA-256 ",
            "train/shard-000001.bin, byte 500: reserved word is 1, expected 0",
            "train/shard-000001.bin: the file has SHA-256 ",
            "train/shard-000002.bin, byte 0: block 0 has SHA-256 ",
            "train/shard-000002.bin: 2000 bytes, expected 4024",
            "train/shard-000002.bin: the file has SHA-256 ",
            "train/shard-000002.bin: documents that begin in it: 1, expected 2",
            "validation/shard-000000.bin: does not exist",
        ],
    );
    let (code, stdout, _) = data.shards(&["verify", "data/train", "--json"]);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, Some(3));
    let fault = &report["faults"][0];
    assert_eq!(
        (&fault["object"], &fault["offset"], &fault["fault"], &fault["block"]),
        (&"shard-000000.bin".into(), &1_048_576.into(), &"block_hash".into(), &1.into())
    );
    assert_eq!(report["faults"].as_array().unwrap().len(), 9);
}

#[test]
fn what_hashes_cannot_show_is_found() {
    let data = Data::new();
    let full = |first: u16, at: usize, id: u16| {
        let mut tokens = vec![WORDS[0]; 1000];
        (tokens[0], tokens[at]) = (first, id);
        tokens
    };
    data.write("train", &[full(WORDS[1], 500, 50_257), full(END_OF_TEXT, 999, 60_000), vec![END_OF_TEXT; 1001]]);
    data.change_index("train", |index| {
        index.documents += 5;
        index.shards[1].documents += 2;
    });
    data.has_faults(
        "data/train",
        &[
            "index.json: says 1007 documents, its shards have 1004",
            "shard-000002.bin: 1001 tokens, expected 1000: all shards but the last have the same number",
            "shard-000000.bin, byte 1024: the first token is 15496, expected the end-of-text token 50256",
            "shard-000000.bin, byte 2024: ids of block 0 that are not below the vocabulary, 50257: 1, the first, here, is 50257",
            "shard-000001.bin, byte 3022: ids of block 0 that are not below the vocabulary, 50257: 1, the first, here, is 60000",
            "shard-000001.bin: documents that begin in it: 1, expected 3",
        ],
    );
}

#[test]
fn headers_and_indexes_are_held_against_the_format() {
    let data = Data::new();
    // The hashes fit a header that is wrong.
    let path = "validation/shard-000000.bin";
    data.damage(path, |content| (content[0], content[4], content[8]) = (0, 2, 4));
    let content = fs::read(data.path(path)).unwrap();
    data.change_index("validation", |index| {
        index.shards[0] = ShardEntry::describe("shard-000000.bin", &content, END_OF_TEXT);
        index.tokenizer_hash = "00".into();
        index.vocabulary = 50_258;
    });
    data.has_faults(
        "data",
        &[
            "validation/index.json: made with a tokenizer of hash 00, and \"gpt2\" has 3dd825",
            "validation/index.json: made with a tokenizer of vocabulary 50258, and \"gpt2\" has 50257",
            "shard-000000.bin, byte 0: magic is 20240384, expected 20240520",
            "shard-000000.bin, byte 4: version is 2, expected 1",
            "shard-000000.bin, byte 8: token count is 4, expected 3",
        ],
    );
    fs::write(data.path("validation/index.json"), "{}").unwrap();
    data.has_faults("data", &["validation/index.json: not an index of token shards: missing field `version`"]);
    fs::remove_file(data.path("train/index.json")).unwrap();
    data.has_faults("data", &["train/index.json: does not exist", "validation/index.json: not an index"]);
    data.refused(
        &["show", "data"],
        3,
        &["data/train/index.json does not exist", "run the same `launcher prepare` again"],
    );
    fs::remove_file(data.path("validation/index.json")).unwrap();
    data.refused(&["verify", "data"], 3, &["data has no index.json, and no folder train or validation"]);
    data.refused(&["verify", "ftp://host/data"], 2, &["unknown scheme ftp://"]);
}

#[test]
fn totals_and_an_excerpt_across_shards_are_shown() {
    let data = Data::new();
    fs::write(data.path("prepare.json"), r#"{"totals": {"text_bytes": 2403006}}"#).unwrap();
    let (code, stdout, stderr) = data.shards(&["show", "data", "--at", "599998", "--tokens", "4"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for expected in [
        "data/train\n  shards     3\n  tokens     1,201,500\n  documents  1,202\n  bytes      2,406,072\n",
        "  tokenizer  gpt2, vocabulary 50,257, hash 3dd825",
        "data/validation\n  shards     1\n",
        "2.00 bytes of text per token\n",
        "\n--- tokens 599,998 to 599,999: of a document that began before\n worldHello\n\
         --- tokens 600,000 to 600,001: a document begins\nHello\n",
    ] {
        assert!(stdout.contains(expected), "no {expected:?} in {stdout}");
    }
    let (_, stdout, _) = data.shards(&["show", "data/validation", "--json"]);
    let shown: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&shown["sets"][0]["documents"], &shown["bytes_per_token"]), (&1.into(), &Value::Null));
    let part = &shown["excerpt"]["documents"][0];
    assert_eq!((&part["begins"], &part["text"]), (&true.into(), &"Hello world".into()));
    assert_eq!(part["ids"], serde_json::json!([50_256, 15_496, 995]));
    let (code, stdout, _) = data.shards(&["show", "data", "--tokens", "0"]);
    assert!(code == Some(0) && !stdout.contains("---"), "{stdout}");
}

#[test]
fn an_excerpt_reads_only_blocks_that_it_needs_and_trusts_none() {
    let data = Data::new();
    // The first block of the first shard is damaged, and all of the second.
    data.damage("train/shard-000000.bin", |content| content[HEADER_BYTES as usize] ^= 1);
    fs::remove_file(data.path("train/shard-000001.bin")).unwrap();
    let (code, stdout, _) = data.shards(&["show", "data", "--at", "599990", "--tokens", "10"]);
    assert!(code == Some(0) && stdout.contains("Hello world"), "{stdout}");
    data.refused(&["show", "data"], 3, &["shard-000000.bin: block 0", "damaged; copy or prepare it again"]);
    data.refused(&["show", "data", "--at", "600000"], 3, &["shard-000001.bin does not exist"]);
    data.damage("train/shard-000002.bin", |content| content.truncate(1500));
    data.refused(&["show", "data", "--at", "1200000"], 3, &["shard-000002.bin: 1500 bytes, expected 4024"]);
    data.refused(&["show", "data", "--at", "1201500"], 2, &["1201500 is beyond", "from 0 to 1201499"]);
}

#[test]
fn the_tokenizer_must_be_the_one_of_the_shards() {
    let data = Data::new();
    data.change_index("train", |index| {
        index.tokenizer = "my-tokenizer".into();
        index.tokenizer_hash = "0a0b".into();
    });
    for command in ["show", "verify"] {
        let expected = ["the tokenizer \"my-tokenizer\" of hash 0a0b: ", "no tokenizer.json", "with --tokenizer"];
        data.refused(&[command, "data/train"], 2, &expected);
    }
    data.change_index("train", |index| index.tokenizer = "http://127.0.0.1:1/tokenizer".into());
    data.refused(&["show", "data/train"], 2, &["not fetched on the word of an index", "with --tokenizer"]);
    data.change_index("train", |index| index.tokenizer = "my-tokenizer".into());
    let hash = Tokenizer::gpt2().unwrap().hash().to_owned();
    // Only the tokenizer is at fault: with another one, documents cannot be checked.
    let (code, stdout, _) = data.shards(&["verify", "data/train", "--tokenizer", "gpt2"]);
    let expected = format!("index.json: made with a tokenizer of hash 0a0b, and \"gpt2\" has {hash}\n");
    assert_eq!((code, stdout), (Some(3), expected));
    let show = ["show", "data/train", "--tokenizer", "gpt2"];
    data.refused(&show, 3, &["\"my-tokenizer\" of hash 0a0b, and \"gpt2\" has the hash ", &hash]);
    let (code, stdout, _) = data.shards(&["show", "data/train", "--tokens", "0"]);
    assert!(code == Some(0) && stdout.contains("my-tokenizer, vocabulary"), "{stdout}");
    data.change_index("train", |index| index.tokenizer_hash = hash.clone());
    let (code, stdout, _) = data.shards(&show);
    assert!(code == Some(0) && stdout.contains("Hello"), "{stdout}");
}
