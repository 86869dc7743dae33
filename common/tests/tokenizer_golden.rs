//! The tokenizer's ids equal OpenAI's tiktoken's, on picked texts and on whole corpora.
//!
//! `scripts/golden/tokenizer.py` made the golden files. With added tokens, ids equal those of Hugging Face's `tokenizers`:
//! `scripts/golden/added_tokens.py`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod shared;

use std::collections::HashMap;

use common::config::StorageConfig;
use common::storage::Folder;
use common::tokenizer::{Tokenizer, files};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::{Corpora, golden};

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

#[derive(Deserialize)]
struct AddedTokens {
    merges: Vec<[String; 2]>,
    cases: Vec<AddedCase>,
}

#[derive(Deserialize)]
struct AddedCase {
    name: String,
    added_tokens: Value,
    texts: Vec<AddedText>,
}

#[derive(Deserialize)]
struct AddedText {
    text: String,
    ids: Vec<u16>,
    with_special: Vec<u16>,
}

/// Runs of spaces as in CodeGen, words of their own, and tokens within special ones.
#[test]
fn ids_with_added_tokens_equal_hugging_faces() {
    let AddedTokens { merges, cases } = golden("added_tokens.json");
    let characters: Vec<char> = {
        let printable = ('!'..='~').chain('\u{a1}'..='\u{ac}').chain('\u{ae}'..='\u{ff}');
        printable.chain('\u{100}'..='\u{143}').collect()
    };
    let tokens = characters.iter().map(char::to_string).chain(merges.iter().map(|[left, right]| left.clone() + right));
    let ids: serde_json::Map<String, Value> = tokens.zip((0_u32..).map(Value::from)).collect();
    let folder =
        |name: &str| Folder::open(&format!("memory://added-tokens-{name}"), &StorageConfig::default()).unwrap();
    let (original, copy) = (folder("original"), folder("copy"));
    let mut hashes = std::collections::HashSet::new();
    for case in cases {
        let splitter =
            json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
        let model = json!({ "type": "BPE", "vocab": ids, "merges": merges });
        let file = json!({ "added_tokens": case.added_tokens, "pre_tokenizer": splitter, "model": model });
        original.put(files::TOKENIZER_NAME, file.to_string().into()).unwrap();
        let tokenizer = Tokenizer::open(original.url(), &StorageConfig::default()).unwrap();
        for AddedText { text, ids, with_special } in case.texts {
            assert_eq!(tokenizer.encode(&text), ids, "{}: {text:?}", case.name);
            assert_eq!(tokenizer.encode_with_special(&text), with_special, "{}: {text:?}", case.name);
            assert_eq!(tokenizer.decode(&ids).unwrap(), text.as_bytes());
        }
        files::write(&copy, tokenizer.vocabulary()).unwrap();
        let copied = Tokenizer::open(copy.url(), &StorageConfig::default()).unwrap();
        assert_eq!(copied.vocabulary(), tokenizer.vocabulary(), "{}", case.name);
        assert!(hashes.insert(tokenizer.hash().to_owned()), "{} has the hash of another", case.name);
    }
}

#[test]
fn ids_of_corpora_equal_tiktokens() {
    let Some(corpora) = Corpora::open() else { return };
    let golden: HashMap<String, Corpus> =
        golden::<Vec<Corpus>>("corpora_tokens.json").into_iter().map(|c| (c.name.clone(), c)).collect();
    let tokenizer = Tokenizer::gpt2().unwrap();
    let mut checked = 0;
    for (name, documents) in corpora {
        assert_eq!(Some(&encode_corpus(&tokenizer, &name, &documents)), golden.get(&name));
        checked += 1;
    }
    assert!(checked > 0, "the folder of corpora has none");
    println!("checked {checked} of {} corpora", golden.len());
}

/// Encodes a corpus. Several documents are each preceded by an end-of-text token; a single document is not.
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
