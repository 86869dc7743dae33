//! Trains a vocabulary and measures the time: `make bench ONLY=train-bpe` runs it beside Hugging Face's trainer.
//!
//!     train_speed FILE.jsonl SIZE THREADS [FOLDER]
//!
//! The field `text` of each line is a document. Writes the vocabulary into FOLDER.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::io::{BufRead, BufReader};
use std::sync::Mutex;
use std::time::Instant;

use common::config::StorageConfig;
use common::storage::Folder;
use common::tokenizer::train::{WordCounts, train};
use common::tokenizer::{END_OF_TEXT, files};
use serde::Deserialize;

#[derive(Deserialize)]
struct Document {
    text: String,
}

/// Largest number of distinct words. The texts have fewer, so none is dropped, as in the peer.
const MOST_WORDS: usize = 1 << 26;
/// Number of documents that a thread takes at a time.
const BATCH: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, size, threads, folder @ ..] = &arguments[..] else {
        panic!("train_speed FILE.jsonl SIZE THREADS [FOLDER]")
    };
    let started = Instant::now();
    let words = count(path, threads.parse().unwrap());
    let counted_s = started.elapsed().as_secs_f64();
    let vocabulary = train(words, size.parse().unwrap(), &[END_OF_TEXT.to_owned()], |_| ()).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    if let [folder] = folder {
        files::write(&Folder::open(folder, &StorageConfig::default()).unwrap(), &vocabulary).unwrap();
    }
    let report = serde_json::json!({ "seconds": seconds, "counted_s": counted_s, "tokens": vocabulary.tokens.len() });
    println!("{report}");
}

/// Counts the words of the documents in `path` on `threads` threads.
fn count(path: &str, threads: usize) -> WordCounts {
    let lines = Mutex::new(BufReader::new(std::fs::File::open(path).unwrap()).lines());
    let count_some = || {
        let mut words = WordCounts::new(MOST_WORDS);
        loop {
            let batch: Vec<_> = lines.lock().unwrap().by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return words;
            }
            for line in batch {
                words.count(&serde_json::from_str::<Document>(&line.unwrap()).unwrap().text);
            }
        }
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|_| scope.spawn(count_some)).collect();
        let mut parts = parts.into_iter().map(|part| part.join().unwrap());
        let mut words = parts.next().unwrap();
        parts.for_each(|part| words.add(part));
        words
    })
}
