//! Compares the encoding speed of Convoy's tokenizer with the crates `tiktoken-rs` and `bpe`: `make bench ONLY=encode` runs it.
//!
//!     encode_speed FILE.jsonl THREADS [ROUNDS [IMPLEMENTATION...]]
//!
//! The field `text` of each line is a document. Prints one JSON line per implementation, with the best of its rounds. Rounds
//! of the implementations alternate, since other load on a machine varies. `mb_per_second` is null if an implementation
//! fails on the text.
//!
//! All start cold in every round, with empty caches of words. `bpe` merges but does not split, so it gets Convoy's pieces,
//! which favours it: a regex would cost its users more than the merging does.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use bpe::byte_pair_encoding::{BytePairEncoding, find_hash_factor_for_dictionary};
use common::tokenizer::{Tokenizer, pieces};
use serde::Deserialize;

#[derive(Deserialize)]
struct Document {
    text: String,
}

/// Encoder of a text, which returns its number of tokens.
type Encode = Box<dyn Fn(&str) -> usize + Sync>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, threads, rest @ ..] = &arguments[..] else {
        panic!("encode_speed FILE.jsonl THREADS [ROUNDS [IMPLEMENTATION...]]")
    };
    let threads = threads.parse().unwrap();
    let rounds: usize = rest.first().map_or(5, |rounds| rounds.parse().unwrap());
    let lines = BufReader::new(std::fs::File::open(path).unwrap()).lines();
    let documents: Vec<String> =
        lines.map(|line| serde_json::from_str::<Document>(&line.unwrap()).unwrap().text).collect();
    let bytes: usize = documents.iter().map(String::len).sum();

    let mut implementations = [
        Implementation::new("convoy", convoy),
        Implementation::new("tiktoken-rs", tiktoken),
        Implementation::new("bpe", bpe_crate),
    ]
    .into_iter()
    .filter(|implementation| rest.len() < 2 || rest[1..].iter().any(|only| only == implementation.name))
    .collect::<Vec<_>>();
    for _ in 0..rounds {
        for implementation in &mut implementations {
            let encode = (implementation.make)();
            let started = Instant::now();
            let tokens = catch_unwind(AssertUnwindSafe(|| run(&documents, threads, &encode))).ok();
            let mb_per_second = bytes as f64 / 1e6 / started.elapsed().as_secs_f64();
            implementation.results.extend(tokens.map(|tokens| (mb_per_second, tokens)));
        }
    }
    for Implementation { name, mut results, .. } in implementations {
        results.sort_by(|a, b| a.0.total_cmp(&b.0));
        let best = results.last();
        let report = serde_json::json!({
            "implementation": name, "mb_per_second": best.map(|best| best.0), "tokens": best.map(|best| best.1),
        });
        println!("{report}");
    }
}

struct Implementation {
    name: &'static str,
    make: fn() -> Encode,
    /// Speed in MB per second, and number of tokens, of each round.
    results: Vec<(f64, usize)>,
}

impl Implementation {
    fn new(name: &'static str, make: fn() -> Encode) -> Self {
        Implementation { name, make, results: Vec::new() }
    }
}

fn convoy() -> Encode {
    let tokenizer = Tokenizer::gpt2().unwrap();
    Box::new(move |text| tokenizer.encode(text).len())
}

fn tiktoken() -> Encode {
    let tiktoken = tiktoken_rs::r50k_base().unwrap();
    Box::new(move |text| tiktoken.encode_ordinary(text).len())
}

fn bpe_crate() -> Encode {
    let tokenizer = Tokenizer::gpt2().unwrap();
    let tokens = || tokenizer.vocabulary().tokens[..50_256].iter().cloned();
    let bpe = BytePairEncoding::from_dictionary(tokens(), Some(find_hash_factor_for_dictionary(tokens())));
    Box::new(move |text| pieces(text).map(|piece| bpe.encode_via_backtracking(piece.as_bytes()).len()).sum())
}

/// Encodes every document on `threads` threads and returns the number of tokens.
fn run(documents: &[String], threads: usize, encode: &Encode) -> usize {
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|t| scope.spawn(move || documents.iter().skip(t).step_by(threads).map(|d| encode(d)).sum::<usize>()))
            .collect();
        parts.into_iter().map(|part| part.join().unwrap()).sum()
    })
}
