//! Tests of explanations.

use bytes::Bytes;
use common::exit_code::ExitCode;
use common::storage::Folder;

use super::*;
use crate::PrepareError;
use crate::stages::folders::{StageFolder, newest_folders};
use crate::stages::lineage::line::id_in_words;
use crate::stages::lineage::tests::{folder, line, written};
use crate::stages::lineage::units::lineage_name;
use crate::stages::lineage::{Line, Verdict};
use crate::stages::shards::Shards;

/// Number of documents of each unit.
const UNIT: u64 = 100;

fn extracted(number: u64) -> Line {
    let kept = number % 10 != 1;
    let (verdict, rule) = if kept { (Verdict::Kept, "") } else { (Verdict::Dropped, "no_text") };
    let url = Some(format!("https://www.example.com/{}/", number / 2));
    Line { url, verdict, rule: rule.into(), measure: None, limit: None, ..line(number) }
}

fn cleaned(number: u64) -> Line {
    let line = Line { url: extracted(number).url, ..line(number) };
    Line { rule: if line.verdict == Verdict::Kept { "" } else { "repetition.duplicate_lines" }.into(), ..line }
}

/// Puts the lineage of two stages into a new output: three units each, of which the last of `clean` is missing where
/// `is_done` is false.
fn output(name: &str, is_done: bool) -> (Folder, Vec<StageFolder>) {
    let output = folder(name);
    for (stage, of) in [("extract", extracted as fn(u64) -> Line), ("clean", cleaned)] {
        let stages = output.folder("stages").folder(&format!("{stage}-0123456789abcdef"));
        for unit in 0..if is_done || stage == "extract" { 3 } else { 2 } {
            let numbers = unit * UNIT..(unit + 1) * UNIT;
            let seen = numbers.filter(|n| stage == "extract" || extracted(*n).verdict == Verdict::Kept);
            let name = lineage_name(u32::try_from(unit).unwrap());
            stages.put(&name, Bytes::from(written(seen.map(of)))).unwrap();
        }
    }
    let stages = newest_folders(&output, &["extract", "clean"]).unwrap();
    (output, stages)
}

fn explained(stages: &[StageFolder], words: &str) -> Result<Explained, PrepareError> {
    explain(&Wanted::parse(words)?, &made(stages, Shards::Made))
}

fn made(stages: &[StageFolder], shards: Shards) -> Made {
    Made { stages: stages.to_vec(), is_whole: true, shards, document_bytes_max: 1 << 20, note: None }
}

#[test]
fn a_document_is_explained_by_its_id_by_the_beginning_of_its_id_and_by_its_url() {
    let (_, stages) = output("by-all", true);
    let id = id_in_words(extracted(203).id);
    for words in [id.as_str(), &id.to_uppercase(), &id[..12]] {
        let explained = explained(&stages, words).unwrap();
        let [way] = &explained.documents[..] else { panic!("one document") };
        let steps: Vec<(&str, Verdict)> = way.steps.iter().map(|step| (step.stage.as_str(), step.verdict)).collect();
        assert_eq!((&way.id, way.at), (&id, 203_000));
        assert_eq!(steps, [("extract", Verdict::Kept), ("clean", Verdict::Dropped)]);
        assert_eq!(way.ending, Ending::NotKept);
    }
    // Two captures of one page.
    for words in ["https://www.example.com/101/", "http://EXAMPLE.com/101#part", "example.com/101"] {
        let explained = explained(&stages, words).unwrap();
        let places: Vec<u64> = explained.documents.iter().map(|way| way.at).collect();
        assert_eq!((places, explained.found), (vec![202_000, 203_000], 2));
    }
}

#[test]
fn of_a_url_of_many_documents_the_first_are_told_and_all_are_counted() {
    let stage = StageFolder { stage: "extract".into(), folder: folder("many-of-a-url") };
    let url = Some("http://calendar.example/".to_owned());
    for unit in 0..3 {
        let lines = (unit * 10_000..(unit + 1) * 10_000).map(|number| Line { url: url.clone(), ..line(number) });
        stage.folder.put(&lineage_name(u32::try_from(unit).unwrap()), Bytes::from(written(lines))).unwrap();
    }
    let explained = explained(&[stage], "calendar.example").unwrap();
    assert_eq!(explained.found, 30_000);
    let places: Vec<u64> = explained.documents.iter().map(|way| way.at).collect();
    assert_eq!(places, (0..20).map(|number| number * 1000).collect::<Vec<_>>());
    assert!(explained.to_string().ends_with("\nand 29980 more; give an id to see one of them\n"));
}

#[test]
fn the_way_is_told_in_words_to_its_end() {
    let (_, stages) = output("words", true);
    let told = |number| explained(&stages, &id_in_words(extracted(number).id)).unwrap().to_string();
    let text = told(203);
    for expected in [
        "\nsource      s3://crawl/a.warc.gz, byte 18446744073709551412 of what 203000 unpacks to\n",
        "\nurl         https://www.example.com/101/\n",
        "\nextract     kept, 0 bytes of 204 [eng 0.93]\n",
        "\nclean       dropped by repetition.duplicate_lines (Share of lines that came before): 29, below the limit of 50; \
         204 bytes [eng 0.93]\n",
        "\nend         it is not in the token shards\n",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    let text = told(201);
    assert!(text.contains("\nextract     dropped by no_text (the page has no main text); 202 bytes"), "{text}");
    assert!(!text.contains("\nclean "), "{text}");
    let text = told(204);
    assert!(text.ends_with("end         kept by all stages; it is in the token shards\n"), "{text}");
}

#[test]
fn a_duplicate_is_told_with_the_id_of_the_document_that_stays_which_leads_to_that() {
    let stage = StageFolder { stage: "deduplicate".into(), folder: folder("duplicate") };
    let (kept, dropped) = (line(0), line(1));
    let id = id_in_words(kept.id);
    let duplicate = Line {
        rule: "duplicate.near".into(),
        measure: Some(0.928_57),
        limit: None,
        note: format!("cluster of 2 documents, of which {id} stays"),
        ..dropped.clone()
    };
    let stays = Line { note: "stays of a cluster of 2 documents".into(), ..kept };
    stage.folder.put(&lineage_name(0), Bytes::from(written([stays, duplicate]))).unwrap();
    let told = |words: &str| explained(std::slice::from_ref(&stage), words).unwrap().to_string();
    let text = told(&id_in_words(dropped.id));
    let expected = format!(
        "\ndeduplicate dropped by duplicate.near (it is in one cluster with the document that stays): similarity 0.93; 2 bytes \
         [cluster of 2 documents, of which {id} stays]\n"
    );
    assert!(text.contains(&expected), "{text}");
    let text = told(&id);
    assert!(text.contains("\ndeduplicate kept, 0 bytes of 1 [stays of a cluster of 2 documents]\n"), "{text}");
}

#[test]
fn where_the_way_ends_follows_from_stages_and_shards() {
    let (_, stages) = output("unfinished", false);
    let ending = |number, shards| {
        let wanted = Wanted::parse(&id_in_words(extracted(number).id)).unwrap();
        explain(&wanted, &made(&stages, shards)).unwrap().documents[0].ending
    };
    assert_eq!(ending(204, Shards::Missing), Ending::NotSeenYet);
    assert_eq!(ending(102, Shards::Missing), Ending::KeptByAll);
    assert_eq!(ending(102, Shards::Made), Ending::InShards);
    assert_eq!(ending(102, Shards::MadeWithFilter), Ending::InShardsUnlessOverlapping);
    assert_eq!(ending(101, Shards::Made), Ending::NotKept);
}

#[test]
fn a_kept_document_that_tokenizing_leaves_out_is_not_said_to_be_in_the_shards() {
    let stage = StageFolder { stage: "clean".into(), folder: folder("left-out") };
    let lengths = [0, 1, 1 << 20, (1 << 20) + 1];
    let lines = (0..).zip(lengths).map(|(number, bytes_out)| Line { bytes_out, ..line(3 * number) });
    stage.folder.put(&lineage_name(0), Bytes::from(written(lines))).unwrap();
    let of = |number: u64, shards| {
        let wanted = Wanted::parse(&id_in_words(line(3 * number).id)).unwrap();
        explain(&wanted, &made(std::slice::from_ref(&stage), shards)).unwrap()
    };
    for (shards, kept) in [(Shards::Missing, Ending::KeptByAll), (Shards::Made, Ending::InShards)] {
        let endings = [0, 1, 2, 3].map(|number| of(number, shards).documents[0].ending);
        assert_eq!(endings, [Ending::Empty, kept, kept, Ending::TooLong]);
    }
    let text = of(3, Shards::Made).to_string();
    assert!(
        text.contains("\nend         kept by all stages, but longer than prepare.max_document_bytes; it is not in"),
        "{text}"
    );
}

#[test]
fn the_beginning_of_several_ids_is_answered_with_candidates() {
    let stages = StageFolder { stage: "extract".into(), folder: folder("ambiguous") };
    let lines = (0..30).map(|number| Line { id: (0xabcdef << 104) + u128::from(number), ..line(number) });
    stages.folder.put(&lineage_name(0), Bytes::from(written(lines))).unwrap();
    let error = explained(std::slice::from_ref(&stages), "ABCDEF").unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Config);
    let text = error.to_string();
    assert!(text.starts_with("30 documents have an id that begins with abcdef:\n  abcdef0000"), "{text}");
    assert!(text.contains("\n  abcdef00000000000000000000000001 dropped https://host1.example/1\n"), "{text}");
    assert!(text.contains("\n  and 10 more\ngive more digits"), "{text}");
    assert_eq!(explained(&[stages], "abcdef0000000000000000000000000").unwrap_err().exit_code(), ExitCode::Config);
}

#[test]
fn a_document_that_no_stage_has_seen_is_an_error_with_exit_code_3() {
    let (_, stages) = output("unknown", true);
    for words in ["0123456789abcdef0123456789abcdef", "0123456789", "https://nowhere.example/"] {
        let error = explained(&stages, words).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Data);
        assert!(error.to_string().starts_with("no stage has seen "), "{error}");
        assert!(error.to_string().contains("6 lineage files were searched"), "{error}");
    }
    let error = explained(&[], "nowhere.example").unwrap_err().to_string();
    assert!(error.contains("the URL nowhere.example (without scheme, www., last slashes and fragment)"), "{error}");
    assert!(error.contains("there is no lineage yet"), "{error}");
    assert_eq!(explained(&stages, "what?").unwrap_err().exit_code(), ExitCode::Config);
}

#[test]
fn damaged_lineage_is_named_and_not_passed_over() {
    let (_, stages) = output("damaged", true);
    stages[1].folder.put(&lineage_name(2), Bytes::from_static(b"PAR1 and then nothing")).unwrap();
    let error = explained(&stages, &id_in_words(extracted(204).id)).unwrap_err();
    assert!(error.to_string().contains("clean-0123456789abcdef/unit-000002.lineage.parquet: damaged"), "{error}");
}

#[test]
fn what_a_page_says_cannot_reach_the_terminal() {
    let stage = StageFolder { stage: "extract".into(), folder: folder("terminal") };
    // A command, one in a single character, letters in another order, and what looks like a line of the answer.
    let evil = "\u{1b}[2J\u{9b}2J\u{202e}\nend         it is in the token shards".to_owned();
    let page = |number: u64| Line {
        id: (0xabcdef << 104) + u128::from(number),
        url: Some(format!("http://a.example/{evil}")),
        source: evil.clone(),
        rule: evil.clone(),
        note: evil.clone(),
        ..line(1)
    };
    stage.folder.put(&lineage_name(0), Bytes::from(written([page(1), page(2)]))).unwrap();
    let mut of_one = explained(std::slice::from_ref(&stage), &id_in_words(page(1).id)).unwrap();
    of_one.documents[0].title = Some(evil.clone());
    let candidates = explained(&[stage], "abcdef").unwrap_err().to_string();
    let (text, json) = (of_one.to_string(), crate::printed::json(&of_one));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["documents"][0]["title"], evil.as_str());
    assert!(
        candidates.contains("\n  abcdef00000000000000000000000002 dropped http://a.example/\\u{1b}"),
        "{candidates:?}"
    );
    for printed in [text, json, candidates] {
        assert!(!printed.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{printed:?}");
        assert!(!printed.contains("\nend         it is in"), "{printed:?}");
    }
}
