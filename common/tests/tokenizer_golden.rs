//! The tokenizer's ids equal OpenAI's tiktoken's, on picked texts and on whole corpora.
//!
//! `scripts/golden/tokenizer.py` made the golden files.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod shared;

use std::collections::HashMap;

use common::tokenizer::Tokenizer;
use serde::Deserialize;
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
