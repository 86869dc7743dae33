//! Every task reads a small file in its official format, written for the test, and survives whatever happens to it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use evaluation::tasks::{TASKS, Task, find};
use evaluation::{DataFile, Item, Request};
use proptest::prelude::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/small")
}

fn content(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

/// Name of the small file of a task.
fn file_of(task: &Task) -> &'static str {
    task.source.file.unwrap_or(task.name)
}

fn items(task: &str, name: &str) -> Vec<Item> {
    (find(task).unwrap().read)(&DataFile { name, content: &content(name) }).unwrap()
}

#[test]
fn every_task_reads_its_small_file() {
    for task in TASKS {
        let items = items(task.name, file_of(task));
        assert!(!items.is_empty(), "{}", task.name);
        let mut ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), items.len(), "{}: ids are unique", task.name);
        assert!(items.iter().all(|item| !item.requests.is_empty()), "{}", task.name);
    }
}

#[test]
fn winograd_schemas_are_one_in_their_forms() {
    for task in ["wsc273_partial", "wsc273_harness", "wsc273_full"] {
        assert_eq!(items(task, "WSCollection.xml"), items(task, "wsc273.jsonl"));
    }
    assert_eq!(
        items("wsc273_partial", "winograd_wsc.jsonl")[0].requests,
        items("wsc273_partial", "WSCollection.xml")[0].requests
    );
}

#[test]
fn books_are_detokenized_around_the_choice() {
    let Request::Continuation(request) = &items("cbt_cn", "cbtest_CN_valid_2000ex.txt")[0].requests[5] else {
        panic!()
    };
    assert!(request.context.starts_with("Once there was a miller who had a cat. The cat didn't like the mill,"));
    assert!(request.context.contains("laughed (he always laughed)."), "{}", request.context);
    assert!(request.context.ends_with("there was a lamp. \"Give me back my"), "{}", request.context);
    assert_eq!(request.continuation, " hat,\" said the fox, \"or I'll eat you.\"");
    let Request::Continuation(request) = &items("cbt_ne", "cbtest_NE_valid_2000ex.txt")[0].requests[5] else {
        panic!()
    };
    assert_eq!(request.continuation, " Fox) had a match.");
}

#[test]
fn the_manual_has_every_task_metric_and_hash() {
    let manual =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/evaluation.md")).unwrap();
    for task in TASKS {
        assert!(manual.contains(&format!("`{}`", task.name)), "{}", task.name);
        assert!(task.source.file.is_none_or(|file| manual.contains(&format!("`{file}`"))), "{:?}", task.source);
        assert!(task.source.sha256.is_none_or(|hash| manual.contains(hash)), "{:?}", task.source);
        for measure in task.measures {
            assert!(manual.contains(&format!("`{}`", measure.name())), "{}", measure.name());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn damaged_files_are_read_or_refused_but_never_a_panic(
        place in any::<prop::sample::Index>(), byte in any::<u8>(), end in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..60)
    ) {
        for task in TASKS {
            let whole = content(file_of(task));
            let mut flipped = whole.clone();
            flipped[place.index(whole.len())] = byte;
            let mut inserted = whole.clone();
            inserted.splice(place.index(whole.len())..place.index(whole.len()), noise.iter().copied());
            let cut = &whole[..end.index(whole.len())];
            for content in [&flipped[..], &inserted, cut, &noise] {
                match (task.read)(&DataFile { name: "x", content }) {
                    Ok(items) => prop_assert!(!items.is_empty()),
                    Err(error) => prop_assert!(error.to_string().starts_with('x') && error.to_string().len() < 2_000),
                }
            }
        }
    }
}
