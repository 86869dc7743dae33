//! The tokenizer's ids equal OpenAI's tiktoken's, on picked texts and on whole corpora.
//!
//! `scripts/golden/tokenizer.py` made the golden files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::tokenizer::Tokenizer;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u16>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Corpus {
    name: String,
    documents: usize,
    tokens: usize,
    sha256: String,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn golden<T: DeserializeOwned>(name: &str) -> T {
    let path = repository().join("tests/golden").join(name);
    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
}

#[test]
fn ids_of_picked_texts_equal_tiktokens() {
    let tokenizer = Tokenizer::gpt2().unwrap();
    let texts: Vec<Text> = golden("tokenizer.json");
    assert!(texts.len() > 200, "{}", texts.len());
    for Text { text, ids } in texts {
        assert_eq!(tokenizer.encode(&text), ids, "{text:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), text.as_bytes());
    }
}

#[test]
fn ids_of_corpora_equal_tiktokens() {
    let folder = match std::env::var_os("CONVOY_CORPORA") {
        Some(folder) => PathBuf::from(folder),
        None => repository().join("../shared/corpora"),
    };
    if !folder.is_dir() {
        println!("skipped: no corpora in {}; CONVOY_CORPORA names another folder", folder.display());
        return;
    }
    let golden: HashMap<String, Corpus> =
        golden::<Vec<Corpus>>("corpora_tokens.json").into_iter().map(|c| (c.name.clone(), c)).collect();
    let tokenizer = Tokenizer::gpt2().unwrap();
    let mut script = Command::new("python3")
        .arg(repository().join("scripts/golden/corpora.py"))
        .arg(&folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start python3, which unpacks the corpora: {e}"));
    let mut stream = io::BufReader::new(script.stdout.take().unwrap());
    let mut checked = 0;
    while let Some((name, documents)) = read_corpus(&mut stream) {
        assert_eq!(Some(&encode_corpus(&tokenizer, &name, &documents)), golden.get(&name));
        checked += 1;
    }
    assert!(script.wait().unwrap().success());
    assert!(checked > 0, "no corpus in {}", folder.display());
    println!("checked {checked} of {} corpora", golden.len());
}

/// Several documents are each preceded by an end-of-text token, a single one is not.
fn encode_corpus(tokenizer: &Tokenizer, name: &str, documents: &[Vec<u8>]) -> Corpus {
    let encode = |documents: &[Vec<u8>]| -> Vec<Vec<u16>> {
        documents.iter().map(|d| tokenizer.encode(&String::from_utf8_lossy(d))).collect()
    };
    let (first, second) = documents.split_at(documents.len() / 2);
    let ids = std::thread::scope(|scope| {
        let second = scope.spawn(|| encode(second));
        [encode(first), second.join().unwrap()].concat()
    });
    let mut hasher = Sha256::new();
    let mut tokens = 0;
    for ids in ids {
        let separator = (documents.len() > 1).then_some(Tokenizer::GPT2_END_OF_TEXT);
        for id in separator.into_iter().chain(ids) {
            hasher.update(id.to_le_bytes());
            tokens += 1;
        }
    }
    let sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Corpus { name: name.to_owned(), documents: documents.len(), tokens, sha256 }
}

/// One record of `scripts/golden/corpora.py`; `None` at the end.
fn read_corpus(stream: &mut impl Read) -> Option<(String, Vec<Vec<u8>>)> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
        result => result.unwrap(),
    }
    let name = String::from_utf8(read_bytes(stream, u32::from_le_bytes(length).into())).unwrap();
    stream.read_exact(&mut length).unwrap();
    let documents = (0..u32::from_le_bytes(length)).map(|_| {
        let mut length = [0; 8];
        stream.read_exact(&mut length).unwrap();
        read_bytes(stream, u64::from_le_bytes(length))
    });
    Some((name, documents.collect()))
}

fn read_bytes(stream: &mut impl Read, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}
