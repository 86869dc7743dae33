//! Encoding speed of Convoy's tokenizer beside the crates `tiktoken-rs` and `bpe`: one JSON line for each text, number of threads,
//! and implementation. `make bench ONLY=encode` runs it.
//!
//!     encode_speed FILE.jsonl...        each line a JSON string, which is a document

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::time::Instant;

use common::tokenizer::Tokenizer;

const ROUNDS: usize = 5;

/// A text to the number of its tokens.
type Encode<'a> = dyn Fn(&str) -> usize + Sync + 'a;

fn main() {
    let tokenizer = Tokenizer::gpt2().unwrap();
    let tiktoken = tiktoken_rs::r50k_base().unwrap();
    let ranks = bpe::byte_pair_encoding::BytePairEncoding::from_dictionary(
        tokenizer.vocabulary().tokens[..50_256].iter().cloned(),
        None,
    );
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path).unwrap();
        let documents: Vec<String> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let name = std::path::Path::new(&path).file_stem().unwrap().to_string_lossy().into_owned();
        for threads in [1, 2] {
            let encoders: [(&str, &Encode<'_>); 3] = [
                ("convoy", &|text| tokenizer.encode(text).len()),
                ("tiktoken-rs", &|text| tiktoken.encode_ordinary(text).len()),
                ("bpe", &|text| {
                    common::tokenizer::pieces(text)
                        .map(|piece| ranks.encode_via_backtracking(piece.as_bytes()).len())
                        .sum()
                }),
            ];
            let mut best = [f64::MAX; 3];
            let mut tokens = [0; 3];
            // Alternating, since other load on a machine comes and goes.
            for _ in 0..ROUNDS {
                for (i, (_, encode)) in encoders.iter().enumerate() {
                    let started = Instant::now();
                    tokens[i] = run(&documents, threads, *encode);
                    best[i] = best[i].min(started.elapsed().as_secs_f64());
                }
            }
            let bytes: usize = documents.iter().map(String::len).sum();
            for (i, (implementation, _)) in encoders.iter().enumerate() {
                let mb_per_second = bytes as f64 / 1e6 / best[i];
                println!(
                    "{}",
                    serde_json::json!({ "name": name, "threads": threads, "implementation": implementation,
                        "mb_per_second": mb_per_second, "tokens": tokens[i] })
                );
            }
        }
    }
}

/// Encodes every document on `threads` threads and returns the number of tokens.
fn run(documents: &[String], threads: usize, encode: &Encode<'_>) -> usize {
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|t| scope.spawn(move || documents.iter().skip(t).step_by(threads).map(|d| encode(d)).sum::<usize>()))
            .collect();
        parts.into_iter().map(|part| part.join().unwrap()).sum()
    })
}
