//! Tests of every way in which a data set can be wrong, and of the message for each.

use std::os::unix::fs::FileExt;

use bytes::Bytes;
use common::config::{DataConfig, DataSource, StorageConfig};
use common::exit_code::ExitCode;
use common::sha256::Sha256Sum;
use common::token_shard::{BLOCK_BYTES, INDEX_NAME, ShardError};

use super::fixture::{Fixture, VOCABULARY};
use super::{DataError, DataSet};

/// Reads the whole data set, which must fail with this exit code and these words. Returns the error.
#[track_caller]
fn fails(fixture: &Fixture, code: ExitCode, words: &[&str]) -> DataError {
    let result = fixture.open(8).and_then(|set| set.read(&(0..set.sequences()).collect::<Vec<_>>()));
    let error = result.expect_err("bad data was accepted");
    let text = error.to_string();
    assert_eq!(error.exit_code(), code, "{text}");
    for word in [fixture.folder.url()].iter().chain(words) {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    error
}

#[test]
fn a_folder_without_index_says_how_to_make_one() {
    let fixture = Fixture::new("no-index", &[25]);
    fixture.folder.delete(INDEX_NAME).unwrap();
    fails(&fixture, ExitCode::Data, &["no index.json", "launcher prepare", "data.train"]);
    fixture.folder.put(INDEX_NAME, Bytes::new()).unwrap();
    fails(&fixture, ExitCode::Data, &["not an index of token shards", "prepare the data again"]);
    let mut fixture = Fixture::new("no-shards", &[25]);
    fixture.index.shards.clear();
    fixture.index.tokens = 0;
    fixture.write_index();
    fails(&fixture, ExitCode::Data, &["lists no token shards", "launcher prepare"]);
}

#[test]
fn a_short_data_set_is_a_matter_of_config() {
    let fixture = Fixture::new("short", &[8, 8, 8]);
    fails(&fixture, ExitCode::Config, &["in 24 tokens there is no sequence of 8", "batch.sequence_tokens"]);
    let set = Fixture::new("short-read", &[25]).open(8).unwrap();
    let error = set.read(&[0, 3]).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Config);
    assert!(error.to_string().contains("sequence 3 of 3 does not exist"), "{error}");
}

#[test]
fn another_tokenizer_is_refused_with_both() {
    let mut fixture = Fixture::new("tokenizer", &[25]);
    let right = fixture.index.tokenizer_hash.clone();
    fixture.index.tokenizer_hash = "00ff".into();
    fixture.write_index();
    fails(&fixture, ExitCode::Data, &["\"gpt2\"", "00ff", &right, "data.tokenizer"]);
    fixture.index.tokenizer_hash = right;
    fixture.index.tokenizer = "the same from elsewhere".into();
    fixture.write_index();
    fixture.open(8).unwrap();
    fixture.index.vocabulary = 60_000;
    fixture.write_index();
    fails(&fixture, ExitCode::Data, &["50257", "60000"]);
}

#[test]
fn a_missing_shard_is_named() {
    let fixture = Fixture::new("missing", &[25, 25]);
    fixture.folder.delete(&fixture.index.shards[1].name).unwrap();
    fails(&fixture, ExitCode::Data, &[&fixture.index.shards[1].name, "does not exist", "index.json"]);
}

#[test]
fn a_truncated_shard_is_called_truncated() {
    let fixture = Fixture::new("truncated", &[25, 25]);
    fixture.change(1, |content| content.truncate(1060));
    let error = fails(&fixture, ExitCode::Data, &[&fixture.index.shards[1].name, "1060 bytes, expected 1074"]);
    assert!(matches!(error, DataError::Shard(ShardError::Size { .. })));
}

#[test]
fn a_flipped_bit_is_found_in_any_block() {
    for byte in [3, 1024, (1 << 20) + 5, 1_201_023] {
        let fixture = Fixture::new(&format!("flipped-{byte}"), &[600_000]);
        fixture.change(0, |content| content[byte] ^= 0x10);
        let error = fails(&fixture, ExitCode::Data, &[&fixture.index.shards[0].name, "damaged"]);
        let block = byte as u64 / BLOCK_BYTES;
        assert!(matches!(error, DataError::Shard(ShardError::Hash { block: b, .. }) if b == block), "{error}");
    }
}

/// A verified shard on a local disk, or a verified block in the node cache, may still be written to by others.
#[test]
fn an_id_that_is_written_into_a_verified_shard_is_never_trained_on() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::at(dir.path().to_str().unwrap(), &[600_000]);
    let set = fixture.open(100).unwrap();
    let (before, name) = (set.read(&[50, 5900]).unwrap(), &fixture.index.shards[0].name);
    let write = |token: u16| {
        let shard = std::fs::OpenOptions::new().write(true).open(dir.path().join(name)).unwrap();
        shard.write_all_at(&token.to_le_bytes(), 1024 + 2 * 5_050).unwrap();
    };
    write(u16::MAX);
    let error = set.read(&[50]).unwrap_err();
    assert!(matches!(error, DataError::Shard(ShardError::Hash { block: 0, .. })), "{error}");
    // Other blocks are read as before, and so is this one once it is repaired.
    assert_eq!(set.read(&[5900]).unwrap(), before[101..]);
    write(5_050);
    assert_eq!(set.read(&[50, 5900]).unwrap(), before);
}

#[test]
fn an_id_that_is_written_into_the_node_cache_is_fetched_again() {
    let fixture = Fixture::new("node-cache-rewritten", &[6_000_000]);
    let dir = tempfile::tempdir().unwrap();
    let source = DataSource { url: fixture.folder.url().to_owned(), weight: 1.0 };
    let data = DataConfig {
        cache_dir: dir.path().to_str().unwrap().to_owned(),
        cache_bytes: 1 << 30,
        ..Fixture::config(&source.url)
    };
    let set = DataSet::open(&source, &data, &StorageConfig::default(), 100).unwrap();
    let expected = set.read(&[50]).unwrap();
    // Memory holds less than the shard, so in the end the first block is on the disk alone.
    (0..60).for_each(|i| drop(set.read(&[1000 * i + 900]).unwrap()));
    let mut rewritten = 0;
    for folder in std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().path()).filter(|f| f.is_dir()) {
        for block in std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()) {
            let block = std::fs::OpenOptions::new().write(true).open(block).unwrap();
            block.write_all_at(&[0xff; 2], 1024 + 2 * 5_050).unwrap();
            rewritten += 1;
        }
    }
    assert_eq!(rewritten, 12, "not all blocks are in the node cache");
    assert_eq!(set.read(&[50]).unwrap(), expected);
}

/// An index is untrusted: a supposed hash in it became the name of a file, which was removed as damaged.
#[test]
fn a_hash_or_a_name_that_leads_elsewhere_is_refused_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    let fixture = Fixture::new("hostile-index", &[25]);
    let (index, right) = (fixture.index.to_json(), fixture.index.shards[0].block_sha256[0].to_string());
    let path = victim.to_str().unwrap();
    let up = format!("aa/../../{}", "x".repeat(55));
    for (honest, hostile) in
        [(right.as_str(), path), (&right, "../../victim"), (&right, &up), ("shard-000000.bin", path)]
    {
        let json = String::from_utf8(index.to_vec()).unwrap().replace(honest, hostile);
        fixture.folder.put(INDEX_NAME, json.into()).unwrap();
        fails(&fixture, ExitCode::Data, &["not an index of token shards", "expected"]);
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }
}

#[test]
fn a_wrong_magic_is_found_under_a_right_hash() {
    let mut fixture = Fixture::new("magic", &[25]);
    fixture.change(0, |content| content[0] ^= 1);
    let content = fixture.folder.get(&fixture.index.shards[0].name).unwrap();
    fixture.index.shards[0].block_sha256[0] = Sha256Sum::of(&content);
    fixture.write_index();
    fails(&fixture, ExitCode::Data, &["magic is 20240521, expected 20240520"]);
}

#[test]
fn a_token_beyond_the_vocabulary_is_named_with_its_offset() {
    for (token, block) in [(7, 0), (590_000, 1)] {
        let mut fixture = Fixture::new(&format!("vocabulary-{token}"), &[600_000]);
        fixture.change(0, |content| {
            content[1024 + 2 * token..][..2].copy_from_slice(&(VOCABULARY as u16).to_le_bytes());
        });
        let content = fixture.folder.get(&fixture.index.shards[0].name).unwrap();
        let hash = content.chunks(BLOCK_BYTES as usize).nth(block).map(Sha256Sum::of);
        fixture.index.shards[0].block_sha256[block] = hash.unwrap();
        fixture.write_index();
        let what = format!("token {token} of the shard is 50257, beyond the vocabulary of 50257");
        fails(&fixture, ExitCode::Data, &[&fixture.index.shards[0].name, &what]);
    }
}

/// The environment belongs to the process, so this test runs itself again in one without credentials.
#[test]
fn missing_credentials_are_called_that() {
    const INNER: &str = "CONVOY_TEST_WITHOUT_CREDENTIALS";
    let source = DataSource { url: "s3://bucket/data".into(), weight: 1.0 };
    if std::env::var_os(INNER).is_some() {
        let storage = StorageConfig::default();
        let error = DataSet::open(&source, &Fixture::config(&source.url), &storage, 8).unwrap_err();
        println!("exit code {}: {error}", error.exit_code().number());
        return;
    }
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
        again.env_remove(name);
    }
    let name = "data::bad_data::missing_credentials_are_called_that";
    let output = again
        .args(["--exact", name, "--nocapture"])
        .env(INNER, "1")
        .env("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for word in ["exit code 3: ", "s3://bucket/data", "no credentials were found", "AWS_ACCESS_KEY_ID"] {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}
