//! Vocabularies agree with Hugging Face's libraries: with what their trainer learns, and in that they open what Convoy writes.
//!
//! `scripts/golden/trainer.py` made the golden file.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says why it skips")]

mod shared;

use std::io::Write;
use std::process::{Command, Stdio};

use common::config::StorageConfig;
use common::storage::Folder;
use common::tokenizer::train::{WordCounts, train};
use common::tokenizer::{END_OF_TEXT, Tokenizer, Vocabulary, files};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use shared::{Corpora, golden, repository};

#[derive(Deserialize)]
struct Golden {
    generated: Vec<Generated>,
    corpora: OfCorpora,
}

#[derive(Deserialize)]
struct Generated {
    documents: Vec<String>,
    size: usize,
    merges: Vec<String>,
}

#[derive(Deserialize)]
struct OfCorpora {
    names: Vec<String>,
    bytes: usize,
    size: usize,
    merges: usize,
    sha256: String,
}

fn trained<'t>(documents: impl IntoIterator<Item = &'t str>, size: usize) -> Vocabulary {
    let mut words = WordCounts::new(1 << 26);
    documents.into_iter().for_each(|document| words.count(document));
    train(words, size, &[END_OF_TEXT.to_owned()], |_| ()).unwrap()
}

/// Returns the lines of `merges.txt` except the first.
fn merges(name: &str, vocabulary: &Vocabulary) -> Vec<String> {
    let folder = Folder::open(&format!("memory://tokenizer-peers-{name}"), &StorageConfig::default()).unwrap();
    files::write(&folder, vocabulary).unwrap();
    let content = folder.get("merges.txt").unwrap();
    std::str::from_utf8(&content).unwrap().lines().skip(1).map(str::to_owned).collect()
}

/// In these texts nearly every merge is one of several that are equally frequent.
#[test]
fn merges_of_generated_texts_equal_hugging_faces() {
    for (i, case) in golden::<Golden>("trainer.json").generated.iter().enumerate() {
        let vocabulary = trained(case.documents.iter().map(String::as_str), case.size);
        assert_eq!(merges(&i.to_string(), &vocabulary), case.merges, "case {i}");
    }
}

#[test]
fn merges_of_corpora_equal_hugging_faces() {
    let Some(corpora) = Corpora::open() else { return };
    let golden = golden::<Golden>("trainer.json").corpora;
    let of_golden = |name: &str| golden.names.iter().any(|start| name.starts_with(start));
    let documents: Vec<Vec<u8>> = corpora.filter(|(name, _)| of_golden(name)).flat_map(|(_, found)| found).collect();
    assert_eq!(documents.iter().map(Vec::len).sum::<usize>(), golden.bytes, "other corpora than the golden file's");
    let texts: Vec<_> = documents.iter().map(|document| String::from_utf8_lossy(document)).collect();
    let merges = merges("corpora", &trained(texts.iter().map(|text| &**text), golden.size));
    let mut hasher = Sha256::new();
    for merge in &merges {
        hasher.update(format!("{merge}\n"));
    }
    let sha256: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((merges.len(), sha256), (golden.merges, golden.sha256));
}

#[test]
fn hugging_faces_libraries_open_what_is_written() {
    let python = std::env::var_os("CONVOY_PYTHON").unwrap_or_else(|| "python3".into());
    let probe = Command::new(&python).args(["-c", "import tokenizers, transformers"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("skipped: {} has no tokenizers and transformers; CONVOY_PYTHON names another", python.display());
        return;
    }
    let documents = golden::<Golden>("trainer.json").generated.into_iter().flat_map(|case| case.documents);
    let documents: Vec<String> = documents.collect();
    let of_text = trained(documents.iter().map(String::as_str), 2000);
    for vocabulary in [Tokenizer::gpt2().unwrap().vocabulary().clone(), of_text] {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().display());
        files::write(&Folder::open(&url, &StorageConfig::default()).unwrap(), &vocabulary).unwrap();
        let tokenizer = Tokenizer::new("written", vocabulary).unwrap();
        let texts = documents.iter().map(|text| (text.as_str(), tokenizer.encode(text)));
        // In these libraries, special tokens in a text are those tokens.
        let special = "<|endoftext|>a b<|endoftext|>";
        let rows: String = texts
            .chain([(special, tokenizer.encode_with_special(special))])
            .map(|(text, ids)| serde_json::json!({ "text": text, "ids": ids }).to_string() + "\n")
            .collect();
        let mut script = Command::new(&python)
            .arg(repository().join("scripts/golden/open_tokenizer.py"))
            .arg(folder.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        script.stdin.take().unwrap().write_all(rows.as_bytes()).unwrap();
        assert!(script.wait().unwrap().success());
    }
}
