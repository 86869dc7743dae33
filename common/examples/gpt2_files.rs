//! Writes GPT-2's vocabulary in the files that Hugging Face's libraries read, for the peers in benchmarks and tests.
//!
//!     gpt2_files FOLDER

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a helper of benchmarks and tests")]

use common::config::StorageConfig;
use common::storage::Folder;
use common::tokenizer::{Tokenizer, files};

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| panic!("gpt2_files FOLDER"));
    let folder = Folder::open(&folder, &StorageConfig::default()).unwrap();
    files::write(&folder, Tokenizer::gpt2().unwrap().vocabulary()).unwrap();
    println!("{}", serde_json::json!({ "folder": folder.url() }));
}
