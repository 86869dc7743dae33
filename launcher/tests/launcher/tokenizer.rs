//! Tests of `launcher tokenizer` as a person would run it: on pipes.

use std::io::{Read, Write};
use std::path::Path;

use common::config::StorageConfig;
use common::storage::Folder;
use common::tokenizer::train::{WordCounts, train};
use common::tokenizer::{END_OF_TEXT, Tokenizer, files};

use super::harness::{Rig, can_run, launcher_in, piped};

/// Runs `launcher tokenizer` with `arguments` on `input`, in an empty folder.
fn tokenizer(arguments: &[&str], input: &[u8]) -> (Option<i32>, Vec<u8>, String) {
    piped(launcher_in(&std::env::temp_dir()).arg("tokenizer").args(arguments), input)
}

/// Runs `launcher tokenizer`, and expects success without a message.
fn done(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let (code, stdout, stderr) = tokenizer(arguments, input);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
    stdout
}

/// Runs `launcher tokenizer`, and expects an exit code and a message that contains `expected`. Returns what was written
/// before.
fn refused(arguments: &[&str], input: &[u8], code: i32, expected: &str) -> Vec<u8> {
    let (got, stdout, stderr) = tokenizer(arguments, input);
    assert_eq!(got, Some(code), "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.contains(expected), "no {expected:?} in {stderr}");
    stdout
}

#[test]
fn a_document_becomes_its_ids_and_comes_back() {
    assert_eq!(done(&["encode", "--tokenizer", "gpt2"], b"Hello, world"), b"[15496,11,995]\n");
    assert_eq!(done(&["encode"], b""), b"[]\n");
    for text in ["", "Hello,\n\n  world \r\n", "naïve 漢字 🦀\0", "<|endoftext|>", &"long \n".repeat(100_000)] {
        let ids = done(&["encode"], text.as_bytes());
        assert!(done(&["decode"], &ids) == text.as_bytes());
    }
    // Half of a character is written as its bytes alone.
    assert_eq!(done(&["decode"], b" [ 162,\n224 ] "), b"\xe6\x82");
}

#[test]
fn what_is_not_utf8_is_replaced() {
    assert_eq!(done(&["encode"], b"a\xffb\xe6\x82"), done(&["encode"], "a\u{fffd}b\u{fffd}".as_bytes()));
    assert_eq!(done(&["encode", "--jsonl"], b"\"a\xff\""), done(&["encode", "--jsonl"], "\"a\u{fffd}\"".as_bytes()));
    assert_eq!(done(&["decode", "--jsonl"], b"[162]\n[224]\n"), "\"\u{fffd}\"\n\"\u{fffd}\"\n".as_bytes());
}

#[test]
fn special_tokens_are_text_unless_asked_for() {
    let text = b"a<|endoftext|>";
    assert!(!String::from_utf8(done(&["encode"], text)).unwrap().contains("50256"));
    assert_eq!(done(&["encode", "--special"], text), b"[64,50256]\n");
    assert_eq!(done(&["encode", "--special", "--jsonl"], b"\"a<|endoftext|>\"\n"), b"[64,50256]\n");
    assert_eq!(done(&["decode"], b"[64,50256]"), text);
}

#[test]
fn every_line_is_a_document_with_jsonl() {
    let lines = b"\"Hello\"\r\n  \"a\\nb\\u00e9\"\n\"\"\n\"last, without an end\"";
    let ids = done(&["encode", "--jsonl"], lines);
    assert_eq!(ids.iter().filter(|byte| **byte == b'\n').count(), 4);
    assert!(ids.starts_with(b"[15496]\n[64,198,65,"), "{}", String::from_utf8_lossy(&ids));
    let back = String::from_utf8(done(&["decode", "--jsonl"], &ids)).unwrap();
    assert_eq!(back, "\"Hello\"\n\"a\\nbé\"\n\"\"\n\"last, without an end\"\n");
    assert_eq!(done(&["encode", "--jsonl"], b""), b"");
}

#[test]
fn bad_input_is_named_by_its_line_and_exits_3() {
    let hello = b"\"Hello\"\n";
    for (line, expected) in [
        ("Hello", "line 2, column 1: expected value; give a JSON string on every line"),
        ("", "line 2, column 1: EOF while parsing a value"),
        ("17", "line 2, column 2: invalid type: integer `17`, expected a string"),
        ("\"a\" \"b\"", "line 2, column 5: trailing characters"),
        ("\"\\ud800\"", "line 2, column 8"),
    ] {
        let input = [hello, line.as_bytes(), b"\n\"never\"\n"].concat();
        // The output has what came before the fault.
        assert_eq!(refused(&["encode", "--jsonl"], &input, 3, expected), b"[15496]\n");
    }
    for (line, expected) in [
        ("[15496, 50257]", "line 2, column 13: invalid value: integer `50257`, expected a token id from 0 to 50256"),
        ("[-1]", "integer `-1`, expected a token id"),
        ("[\"a\"]", "string \"a\", expected a token id"),
        ("{}", "expected an array of token ids"),
        (
            "[1",
            "line 2, column 2: EOF while parsing a list; give a JSON array of ids on every line, such as [15496, 11]",
        ),
    ] {
        let input = ["[15496]\n", line, "\n[1]\n"].concat();
        assert_eq!(refused(&["decode", "--jsonl"], input.as_bytes(), 3, expected), hello);
    }
    let expected =
        "standard input, line 2, column 6: invalid value: integer `50257`, expected a token id from 0 to 50256";
    assert_eq!(refused(&["decode"], b"[15496,\n50257, 1]", 3, expected), b"Hello");
}

#[test]
fn usage_is_refused_with_2() {
    refused(&["encode", "--tokenizer", "nowhere"], b"", 2, "nowhere has no tokenizer.json and no vocab.json");
    refused(&["encode", "--tokenizer", "ftp://x/y"], b"", 2, "unknown scheme ftp://");
    refused(&["decode", "--special"], b"", 2, "--special");
    refused(&["encode", "--tokenizer", "nowhere.json"], b"", 3, "nowhere.json does not exist");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let text = "\"some words of a line\"\n".repeat(100_000);
    let ids = format!("[{}0]", "15496,".repeat(500_000));
    let cases: [(&[&str], &str); 3] = [(&["encode", "--jsonl"], &text), (&["encode"], &text), (&["decode"], &ids)];
    for (arguments, input) in cases {
        let mut child = launcher_in(Path::new("/")).arg("tokenizer").args(arguments).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
            child.stdout.take().unwrap().read_exact(&mut [0; 10]).unwrap();
            let mut stderr = String::new();
            child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
            assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""), "{arguments:?}");
        });
    }
}

#[test]
fn a_trained_tokenizer_is_used_from_its_folder_and_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut words = WordCounts::new(1000);
    words.count(&"the cat sat on the mat ".repeat(10));
    let vocabulary = train(words, 270, &[END_OF_TEXT.to_owned(), "<pad>".to_owned()], |_| ()).unwrap();
    let folder = Folder::open(&dir.path().display().to_string(), &StorageConfig::default()).unwrap();
    files::write(&folder, &vocabulary).unwrap();
    let ids = Tokenizer::new("trained", vocabulary).unwrap().encode("the cat é");
    let run = |arguments: &[&str], input: &[u8]| {
        let (code, stdout, stderr) = piped(launcher_in(dir.path()).arg("tokenizer").args(arguments), input);
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        String::from_utf8(stdout).unwrap()
    };
    let url = format!("file://{}", dir.path().display());
    for source in [".", "./tokenizer.json", "tokenizer.json", &url] {
        let encoded = run(&["encode", "--tokenizer", source], "the cat é".as_bytes());
        assert_eq!(serde_json::from_str::<Vec<u16>>(&encoded).unwrap(), ids);
        assert_eq!(run(&["decode", "--tokenizer", source], encoded.as_bytes()), "the cat é");
        assert_eq!(run(&["encode", "--special", "--tokenizer", source], b"<pad><|endoftext|>"), "[1,0]\n");
    }
}

#[test]
fn training_is_the_prepare_programs_with_the_same_arguments() {
    if !can_run(&["python3"]) {
        return;
    }
    let rig = Rig::new("[]", &[]);
    let train = ["tokenizer", "train", "--vocab-size", "500", "--output", "out", "--special=-x", "--json", "a/", "b"];
    let output = rig.launcher().args(train).args(["--most-words", "9", "--on-bad-document", "skip"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "[\"tokenizer\", \"--vocab-size=500\", \"--output=out\", \"--on-bad-document=skip\", \"--most-words=9\", \
         \"--special=-x\", \"--json\", \"--\", \"a/\", \"b\"]\n"
    );
    let output =
        rig.launcher().args(["tokenizer", "train", "--vocab-size", "500", "--output", "out"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
