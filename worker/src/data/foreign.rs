//! Tests of token files of other programs as data sets.

use bytes::Bytes;
use common::config::{DataSource, StorageConfig};
use common::storage::Folder;
use common::token_shard::encode;
use proptest::prelude::*;
use proptest::sample::Index;

use super::fixture::Fixture;
use super::{DataError, DataSet};
use crate::hostile::{changed, changes};

fn folder(name: &str) -> Folder {
    Folder::open(&format!("memory://foreign-{name}"), &StorageConfig::default()).unwrap()
}

fn open(url: &str) -> Result<DataSet, DataError> {
    let source = DataSource { url: url.to_owned(), weight: 1.0 };
    DataSet::open(&source, &Fixture::config(url), &StorageConfig::default(), 8)
}

/// Checks that `set` has `sequences` sequences of 8 tokens each, which count up from 0.
fn counts(set: &DataSet, sequences: u64) {
    assert_eq!(set.sequences(), sequences);
    for (row, first) in set.read(&(0..sequences).collect::<Vec<_>>()).unwrap().chunks(9).zip((0..).step_by(8)) {
        assert!(row.iter().copied().eq(first..first + 9), "{row:?} should start at {first}");
    }
}

fn narrow(tokens: std::ops::Range<u16>) -> Vec<u8> {
    tokens.flat_map(u16::to_le_bytes).collect()
}

/// Makes an index of two sequences with `tokens` tokens in all, of which the first has 8.
fn megatron_index(code: u8, tokens: i32) -> Vec<u8> {
    let width = if code == 4 { 4 } else { 2 };
    let counts = [1, 2, 3_u64].map(u64::to_le_bytes).concat();
    let (lengths, places) = ([8, tokens - 8].map(i32::to_le_bytes).concat(), [0, 8 * width, 0, 1, 2_u64]);
    let (version, counts) = counts.split_at(8);
    let places = places.map(u64::to_le_bytes).concat();
    [b"MMIDIDX\0\0", version, &[code], counts, &lengths, &places].concat()
}

fn wide(tokens: std::ops::Range<i32>) -> Vec<u8> {
    tokens.flat_map(i32::to_le_bytes).collect()
}

fn refused(folder: &Folder, words: &[&str]) {
    let error = open(folder.url()).unwrap_err();
    assert_eq!(error.exit_code(), common::exit_code::ExitCode::Data);
    for word in words {
        assert!(error.to_string().contains(word), "no {word:?} in {error}");
    }
}

#[test]
fn shards_of_llm_c_are_read_without_an_index() {
    let folder = folder("llm.c");
    folder.put("b.bin", encode(&(24..50).collect::<Vec<_>>())).unwrap();
    folder.put("a.bin", encode(&(0..25).collect::<Vec<_>>())).unwrap();
    folder.put("notes.txt", Bytes::from_static(b"x")).unwrap();
    counts(&open(folder.url()).unwrap(), 3 + 3);
    counts(&open(&folder.url_of("a.bin")).unwrap(), 3);
    folder.put("c.bin", narrow(0..600).into()).unwrap();
    refused(&folder, &["c.bin: it has neither a header of llm.c nor", "a.bin has a header of llm.c", "give a pattern"]);
    folder.put("c.bin", encode(&[1, 2, 3]).slice(..1028)).unwrap();
    refused(&folder, &["c.bin: its header counts other tokens"]);
}

#[test]
fn a_file_of_nanogpt_is_tokens_and_nothing_else() {
    let folder = folder("nanogpt");
    folder.put("train.bin", narrow(0..1000).into()).unwrap();
    for url in [folder.url().to_owned(), folder.url_of("train.bin")] {
        counts(&open(&url).unwrap(), 124);
    }
    folder.put("train.bin", vec![0; 51].into()).unwrap();
    assert!(open(folder.url()).unwrap_err().to_string().contains("not that of whole tokens"));
    folder.put("train.bin", narrow(50_250..50_260).into()).unwrap();
    let error = open(folder.url()).unwrap().read(&[0]).unwrap_err().to_string();
    assert!(error.contains("token 7 of the shard is 50257"), "{error}");
}

#[test]
fn pairs_of_megatron_are_each_read_in_their_own_width() {
    let folder = folder("megatron");
    folder.put("x.idx", megatron_index(8, 1000).into()).unwrap();
    folder.put("x.bin", narrow(0..1000).into()).unwrap();
    counts(&open(folder.url()).unwrap(), 124);
    // The tokens of the second file go on where the sequences of the first one end.
    folder.put("y.idx", megatron_index(4, 500).into()).unwrap();
    folder.put("y.bin", wide(992..1492).into()).unwrap();
    counts(&open(folder.url()).unwrap(), 124 + 62);
    let set = open(&folder.url_of("y.bin")).unwrap();
    assert_eq!((set.sequences(), set.read(&[61]).unwrap()[8]), (62, 992 + 62 * 8));
    folder.delete_all().unwrap();
    folder.put("x.idx", megatron_index(4, 9).into()).unwrap();
    folder.put("x.bin", [-1_i32; 9].iter().flat_map(|t| t.to_le_bytes()).collect::<Vec<_>>().into()).unwrap();
    let error = open(folder.url()).unwrap().read(&[0]).unwrap_err().to_string();
    assert!(error.contains("token 0 of the shard is -1"), "{error}");
}

#[test]
fn a_pair_of_megatron_that_does_not_fit_together_is_refused() {
    let folder = folder("pair");
    let (sound, index) = (narrow(0..1000), megatron_index(8, 1000));
    let put = |file: &[u8], index: &[u8], words: &[&str]| {
        folder.put("x.idx", index.to_vec().into()).unwrap();
        folder.put("x.bin", file.to_vec().into()).unwrap();
        refused(&folder, words);
    };
    put(&sound[..1000], &index, &["x.bin: it has 1000 bytes", "x.idx beside it says 2000 bytes: truncated"]);
    put(&[&sound[..], &sound].concat(), &index, &["it has 4000 bytes", "says 2000 bytes"]);
    put(&sound, &megatron_index(4, 1000), &["says 4000 bytes"]);
    put(&sound, &index[..index.len() - 1], &["x.idx: it has", "too few for 2 sequences and 3 documents: truncated"]);
    put(&sound, &index[..30], &["not an index of Megatron's"]);
    put(&sound, b"nothing", &["not an index of Megatron's"]);
    put(&sound, &megatron_index(5, 1000), &["tokens of type 5, neither u16 (8) nor i32 (4)"]);
    for (at, byte) in [(25, 0x7f), (33, 0x7f), (33, 0xff)] {
        let mut index = index.clone();
        index[at] = byte;
        put(&sound, &index, &["too few for"]);
    }
    let mut negative = index.clone();
    negative[41] = 0x80;
    put(&sound, &negative, &["says more than any file has"]);
    folder.put("x.idx", index.into()).unwrap();
    counts(&open(folder.url()).unwrap(), 124);
}

#[test]
fn files_for_validation_beside_those_for_training_are_never_trained_on_unasked() {
    let folder = folder("held-out");
    folder.put("web_train_1.bin", narrow(0..17).into()).unwrap();
    folder.put("web_train_2.bin", narrow(16..33).into()).unwrap();
    folder.put("web_val.bin", narrow(0..200).into()).unwrap();
    refused(&folder, &["web_val.bin: it lies beside web_train_1.bin", "*train*.bin\""]);
    counts(&open(&folder.url_of("*train*.bin")).unwrap(), 4);
    counts(&open(&folder.url_of("web_train_[1].bin")).unwrap(), 2);
    counts(&open(&folder.url_of("web_val.bin")).unwrap(), 24);
    let error = open(&folder.url_of("*test*.bin")).unwrap_err().to_string();
    assert!(error.contains("*test*.bin: no token files of other programs (.bin) match"), "{error}");
    // The URL may be a folder with such a name.
    let odd = Fixture::at("memory://foreign-held-out/[a]*/b?", &[25]);
    counts(&open("memory://foreign-held-out/[a]*/b?").unwrap(), 3);
    odd.folder.delete_all().unwrap();
    folder.delete("web_train_1.bin").unwrap();
    folder.delete("web_train_2.bin").unwrap();
    counts(&open(folder.url()).unwrap(), 24);
}

#[test]
fn what_is_said_where_there_is_no_index_leads_to_one() {
    let root = folder("advice");
    let advice = |name: &str| open(&root.folder(name).url_of("")).unwrap_err().to_string();
    let text = advice("a/train");
    assert!(text.contains("prepare.output = \"memory://foreign-advice/a\";"), "{text}");
    let text = advice("a");
    assert!(
        text.contains("prepare.output = \"memory://foreign-advice/a\", and give \"memory://foreign-advice/a/train\""),
        "{text}"
    );
    root.put("a/prepare-work/0123456789abcdef/x.json", "{}".into()).unwrap();
    let text = advice("a/train");
    assert!(text.contains("has not finished \"memory://foreign-advice/a\": run the same command again"), "{text}");
    let fixture = Fixture::at("memory://foreign-advice/b/train", &[25]);
    let text = advice("b");
    assert!(text.contains(&format!("give \"{}\"", fixture.folder.url())), "{text}");
    let text = advice("b/validation");
    assert!(text.contains("has found nothing for validation") && text.contains("leave data.validation out"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_token_files_hold_ids_are_tokens_or_it_is_refused(
        kind in 0..3_usize, which: Index, changes in changes()
    ) {
        let folder = folder(&format!("hostile-{kind}"));
        let mut files = match kind {
            0 => vec![("a.bin", encode(&(0..1000).collect::<Vec<_>>()).to_vec())],
            1 => vec![("a.bin", narrow(0..1000)), ("b.bin", narrow(0..100))],
            _ => vec![("x.idx", megatron_index(4, 1000)), ("x.bin", wide(0..1000))],
        };
        let which = which.index(files.len());
        let (_, content) = &mut files[which];
        *content = changed(content, &changes);
        files.into_iter().for_each(|(name, content)| folder.put(name, content.into()).unwrap());
        let Ok(set) = open(folder.url()) else { return Ok(()) };
        if let Ok(ids) = set.read(&(0..set.sequences()).collect::<Vec<_>>()) {
            prop_assert!(ids.iter().all(|id| (0..50_257).contains(id)));
        }
    }
}

/// The pair was written by Megatron's own tools.
#[test]
fn a_real_pair_of_megatron_is_read() {
    let given = std::env::var_os("CONVOY_CORPORA").map(std::path::PathBuf::from);
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora");
    let file = given.unwrap_or(here).join("openwebtext1000/meg-gpt2-openwebtext_text_document.bin");
    if !file.exists() {
        println!("skipped: no {}; CONVOY_CORPORA names another folder of corpora", file.display());
        return;
    }
    let set = open(&file.display().to_string()).unwrap();
    assert_eq!(set.tokens(), file.metadata().unwrap().len() / 2);
    let ids = set.read(&[0]).unwrap();
    assert!(ids.iter().all(|id| (0..50_257).contains(id)), "{ids:?}");
}
