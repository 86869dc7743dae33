//! The real files of ../shared/corpora are read whole, and have the sizes that their authors state.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::process::Command;

use evaluation::detokenize::{Detokenizer, WIKITEXT, words};
use evaluation::item::{Judgement, Units};
use evaluation::overlap::{Filter, overlap_of};
use evaluation::tasks::find;
use evaluation::{DataFile, Item, Request};
use sha2::{Digest, Sha256};

/// Returns a file of the corpora, unpacked if its name ends in `.bz2`. Returns `None`, and prints the reason, if it is not there.
fn corpus(file: &str) -> Option<Vec<u8>> {
    let folder = match std::env::var_os("CONVOY_CORPORA") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpora")),
    };
    let path = folder.join(file);
    if !path.is_file() {
        println!("skipped: no {}; CONVOY_CORPORA names another folder", path.display());
        return None;
    }
    if !file.ends_with(".bz2") {
        return Some(std::fs::read(path).unwrap());
    }
    let script = "import bz2, sys; sys.stdout.buffer.write(bz2.open(sys.argv[1]).read())";
    let unpacked = Command::new("python3").args(["-c", script]).arg(&path).output().unwrap();
    assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
    Some(unpacked.stdout)
}

fn items(task: &str, name: &str, content: &[u8]) -> Vec<Item> {
    (find(task).unwrap().read)(&DataFile { name, content }).unwrap()
}

fn units(item: &Item) -> Units {
    let Judgement::Text(units) = item.judgement else { panic!("{}: no text", item.id) };
    units
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn lambada_has_5153_passages_in_each_form() {
    let Some(content) = corpus("lambada/lambada_test.jsonl") else { return };
    for form in ["lambada_openai_last_token", "lambada_openai_last_word", "lambada_harness"] {
        let items = items(form, "lambada_test.jsonl", &content);
        assert_eq!((items.len(), items[5152].id.as_str()), (5153, "5153"));
        assert_eq!(find(form).unwrap().source.sha256, Some(&*sha256(&content)));
        let curly = items.iter().filter(|item| item.text().contains(['“', '”'])).count();
        assert_eq!(curly > 0, form == "lambada_harness");
    }
    // The forms split 4 of the passages at different places: those whose last white space is a line break.
    let texts = |form| items(form, "lambada_test.jsonl", &content);
    let differ = |(ours, theirs): &(Item, Item)| match (&ours.requests[0], &theirs.requests[0]) {
        (Request::Continuation(ours), Request::Continuation(theirs)) => {
            ours.continuation != theirs.continuation.replace(['“', '”'], "\"")
        }
        _ => true,
    };
    let pairs = texts("lambada_openai_last_word").into_iter().zip(texts("lambada_harness"));
    let different = pairs.filter(differ).count();
    println!("{different} last words differ");
    assert!((1..20).contains(&different), "{different}");
}

#[test]
fn hellaswag_has_10042_items() {
    let Some(content) = corpus("hellaswag/hellaswag_val_full.txt.bz2") else { return };
    let items = items("hellaswag_text", "hellaswag_val_full.txt", &content);
    assert_eq!(items.len(), 10_042);
    let mut golds = [0; 4];
    for item in &items {
        let Judgement::Choice { gold, .. } = item.judgement else { panic!("{}: no choice", item.id) };
        golds[gold] += 1;
        let bracket = |text: String| ["[title]", "[step]", "[header]"].iter().any(|mark| text.contains(mark));
        assert!(!item.requests.iter().map(Request::text).any(bracket), "{item:?}");
    }
    assert_eq!(golds.iter().sum::<usize>(), 10_042);
    assert!(golds.iter().all(|count| *count > 2_000), "{golds:?}");
    assert_eq!(
        items[0].text(),
        "Roof shingle removal: A man is sitting on a roof. he starts pulling up roofing on a roof."
    );
}

#[test]
fn winograd_has_273_schemas_in_each_scoring() {
    let Some(content) = corpus("winograd/winograd_wsc.jsonl") else { return };
    let partial = items("wsc273_partial", "winograd_wsc.jsonl", &content);
    let full = items("wsc273_full", "winograd_wsc.jsonl", &content);
    assert_eq!((partial.len(), full.len()), (273, 273));
    for (partial, full) in partial.iter().zip(&full) {
        assert_eq!(partial.text(), full.text());
        let [Request::Continuation(first), Request::Continuation(second)] = &partial.requests[..] else { panic!() };
        assert!(first.continuation == second.continuation && first.context != second.context, "{partial:?}");
    }
}

#[test]
fn wikitexts_test_text_has_its_words_and_pages() {
    let Some(raw) = corpus("wikitext2/wiki.test.raw") else { return };
    let whole = items("wikitext2", "wiki.test.raw", &raw);
    assert_eq!((whole.len(), units(&whole[0]).words), (1, 245_569));
    assert_eq!(units(&whole[0]).bytes, raw.len() as u64);
    assert_eq!(items("wikitext103", "wiki.test.raw", &raw), whole);
    let pages = items("wikitext2_harness", "wiki.test.raw", &raw);
    assert_eq!(pages.len(), 62);
    // Each page but the first lacks the line end in front of its title; in front of the first is a line of one space.
    assert_eq!(pages.iter().map(|page| units(page).bytes).sum::<u64>(), raw.len() as u64 - 61 - 2);
    let Some(tokens) = corpus("wikitext2/wiki.test.tokens") else { return };
    assert_eq!(units(&items("wikitext2", "wiki.test.tokens", &tokens)[0]).words, 245_569);
}

/// Both test files have the corpus's words; the one has rare ones as `<unk>`. Hardly a space may stay in front of punctuation.
#[test]
fn wikitexts_detokenized_texts_are_inverted_whole() {
    for file in ["wiki.test.raw", "wiki.test.tokens", "wiki.valid.tokens"] {
        let Some(content) = corpus(&format!("wikitext2/{file}")) else { return };
        let text = String::from_utf8(content).unwrap();
        let detokenizer = Detokenizer::new(&WIKITEXT, text.lines());
        let (mut spaces, mut kept) = (0, 0);
        for line in text.lines() {
            let written = detokenizer.detokenize(line);
            let expected: Vec<&str> = words(line).collect();
            assert_eq!(detokenizer.tokenize(&written), expected.join(" "), "{written:?}");
            let marks = [" ,", " .", " @-@ ", " 's", " )", "( "];
            let count = |text: &str| marks.iter().map(|mark| text.matches(mark).count()).sum::<usize>();
            (spaces, kept) = (spaces + count(line), kept + count(&written));
        }
        println!("{file}: {kept} of {spaces} spaces kept");
        assert!(spaces > 10_000 && kept * 50 < spaces, "{file}: {kept} of {spaces} spaces kept");
    }
}

#[test]
fn a_sample_of_wikipedia_is_read_as_enwik8() {
    let Some(content) = corpus("enwiki_sample/enwiki-shortened.xml.bz2") else { return };
    let items = items("enwik8", "enwiki-shortened.xml", &content);
    assert_eq!((items.len(), units(&items[0]).bytes), (1, 6_089_746));
}

#[test]
fn a_test_set_overlaps_with_itself_and_hardly_with_other_texts() {
    let Some(lambada) = corpus("lambada/lambada_test.jsonl") else { return };
    let Some(wikitext) = corpus("wikitext2/wiki.test.raw") else { return };
    let items = items("lambada_harness", "lambada_test.jsonl", &lambada);
    let mut own = Filter::new(400_000, 1).unwrap();
    items.iter().for_each(|item| own.insert_text(&item.text()));
    let overlap = overlap_of("lambada_harness", &items, &own);
    assert_eq!((overlap.share(), overlap.without_grams(), overlap.overlapping()), (Some(1.0), 0, items.len()));
    assert!(own.inserted() > 270_000 && own.false_positives() < 1e-8, "{} {}", own.inserted(), own.false_positives());
    let mut other = Filter::new(400_000, 1).unwrap();
    other.insert_text(std::str::from_utf8(&wikitext).unwrap());
    let overlap = overlap_of("lambada_harness", &items, &other);
    println!("{} of {} grams", overlap.found(), overlap.grams());
    assert!(overlap.share().unwrap() < 1e-3, "{:?}", overlap.share());
}
