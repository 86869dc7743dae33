//! Extraction in children: hostile pages cost themselves and nothing else.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

use nix::sys::signal::Signal;
use webtext::extract::{Extractor, ExtractorError, Limits, Page, Verdict};

const SENTENCE: &str =
    "The ferry leaves the harbour at seven, and it carries letters, bread and whoever has got up in time. ";

fn extractor(limits: Limits) -> Extractor {
    Extractor::new(|| Command::new(env!("CARGO_BIN_EXE_webtext-extract")), limits).unwrap()
}

fn shell(script: impl Into<String>, limits: Limits) -> Extractor {
    let script = script.into();
    let command = move || {
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        command
    };
    Extractor::new(command, limits).unwrap()
}

fn ask(extractor: &mut Extractor, body: &[u8]) -> Verdict {
    extractor.extract(&Page { body, content_type: Some("text/html; charset=utf-8") }).unwrap()
}

fn article() -> String {
    format!(
        "<html><title>The ferry</title><body><article><p>{0}</p><p>{0}</p></article></body></html>",
        SENTENCE.repeat(3)
    )
}

#[track_caller]
fn assert_text(verdict: &Verdict) {
    let Verdict::Text(article) = verdict else { panic!("{verdict:?}") };
    assert!(article.text.contains("The ferry leaves"), "{article:?}");
}

/// Asks for a page, then for an ordinary one, which must be answered as ever.
fn hostile(limits: Limits, body: &[u8]) -> Verdict {
    let mut extractor = extractor(limits);
    let verdict = ask(&mut extractor, body);
    assert_text(&ask(&mut extractor, article().as_bytes()));
    verdict
}

#[test]
fn a_child_answers_as_this_process_does() {
    let mut extractor = extractor(Limits::default());
    for body in [article().as_bytes(), b"", b"<p>", b"\xFF\0\xFE<td>"] {
        let page = Page { body, content_type: None };
        assert_eq!(extractor.extract(&page).unwrap(), webtext::extract::extract(&page, &Limits::default()));
    }
    assert_eq!(extractor.starts(), 1);
}

#[test]
fn the_time_of_children_is_added_up_even_of_those_that_have_ended() {
    let mut extractor = extractor(Limits { cpu_ms: 300, ..Limits::default() });
    assert_eq!(extractor.cpu_seconds(), 0.0);
    let slow = "<p>".to_owned() + &"& ".repeat(4_000_000);
    assert_eq!(ask(&mut extractor, slow.as_bytes()), Verdict::TimedOut);
    let first = extractor.cpu_seconds();
    assert!((0.2..20.0).contains(&first), "{first}");
    assert_text(&ask(&mut extractor, article().as_bytes()));
    assert!(extractor.cpu_seconds() >= first);
}

#[test]
fn a_hundred_thousand_nested_tags_are_too_deep() {
    assert_eq!(hostile(Limits::default(), "<div>".repeat(100_000).as_bytes()), Verdict::TooDeep);
    assert_eq!(hostile(Limits::default(), "<font>".repeat(100_000).as_bytes()), Verdict::TooDeep);
}

#[test]
fn eight_thousand_nested_tags_are_flattened_and_the_text_remains() {
    let body = "<div>".repeat(8000) + &article() + &"</div>".repeat(8000);
    let verdict = hostile(Limits::default(), body.as_bytes());
    assert_text(&verdict);
    assert!(matches!(verdict, Verdict::Text(article) if article.flattened > 14_000));
}

#[test]
fn a_cell_that_spans_a_billion_columns_costs_nothing() {
    let row = "<tr><td colspan=1000000000 rowspan='1000000000'>x</td><td>y</td></tr>".repeat(100);
    assert_text(&hostile(
        Limits::default(),
        article().replace("</article>", &format!("<table>{row}</table></article>")).as_bytes(),
    ));
}

#[test]
fn ten_megabytes_in_one_attribute_are_dropped() {
    let body = article().replace("<body>", &format!("<body data-x=\"{}\">", "x".repeat(10_000_000)));
    assert_text(&hostile(Limits::default(), body.as_bytes()));
}

#[test]
fn megabytes_of_nul_bytes_cost_nothing() {
    let body = article().replace("<p>", &format!("<p>{}", "\0".repeat(4_000_000)));
    assert_text(&hostile(Limits::default(), body.as_bytes()));
    assert_eq!(hostile(Limits::default(), &[0; 8_000_000]), Verdict::NoText);
}

#[test]
fn endless_entities_are_bounded() {
    for entities in
        ["&amp;".repeat(20_000), "&".repeat(20_000), format!("&#{};", "9".repeat(1_000_000)), "&#xD800;".repeat(20_000)]
    {
        let verdict = hostile(Limits::default(), article().replace("<p>", &format!("<p>{entities}")).as_bytes());
        assert!(matches!(verdict, Verdict::Text(_)), "{verdict:?}");
    }
}

#[test]
fn a_page_above_the_limit_never_reaches_a_child() {
    let mut extractor = extractor(Limits { page_bytes: 1000, ..Limits::default() });
    assert_eq!(ask(&mut extractor, &[b'x'; 1001]), Verdict::TooLarge { bytes: 1001 });
    assert_eq!(extractor.starts(), 0);
}

#[test]
fn a_page_that_takes_too_long_costs_itself() {
    let body = "<p>".to_owned() + &(0..100_000).map(|size| format!("<p><font size={size}>x")).collect::<String>();
    let limits = Limits { cpu_ms: 2000, memory_bytes: 8 << 30, refused_depth: usize::MAX, ..Limits::default() };
    let mut extractor = extractor(limits);
    assert_eq!(ask(&mut extractor, body.as_bytes()), Verdict::TimedOut);
    assert_text(&ask(&mut extractor, article().as_bytes()));
    assert_eq!(extractor.starts(), 2);
}

#[test]
fn a_page_that_takes_too_much_memory_costs_itself() {
    let limits = Limits { memory_bytes: 160 << 20, cpu_ms: 60_000, ..Limits::default() };
    assert_eq!(hostile(limits, "<br>x".repeat(400_000).as_bytes()), Verdict::OutOfMemory);
}

#[test]
fn a_child_is_ready_before_its_memory_is_bounded() {
    // Less than a thread's stack: what a page dies of is a verdict, and no error of the start.
    let mut extractor = extractor(Limits { memory_bytes: 1 << 20, ..Limits::default() });
    extractor.extract(&Page { body: article().as_bytes(), content_type: None }).unwrap();
}

#[test]
fn with_the_least_memory_a_child_takes_ordinary_pages() {
    assert_text(&hostile(Limits { memory_bytes: Limits::MEMORY_BYTES_MIN, ..Limits::default() }, article().as_bytes()));
}

#[test]
fn a_page_that_does_not_fit_into_a_child_costs_itself() {
    let memory_bytes = Limits::MEMORY_BYTES_MIN;
    let limits = Limits { memory_bytes, page_bytes: 2 * memory_bytes, ..Limits::default() };
    assert_eq!(hostile(limits, &vec![b' '; memory_bytes as usize + 1]), Verdict::OutOfMemory);
}

#[test]
fn a_child_that_hangs_is_killed() {
    let limits = Limits { wall_ms: 300, ..Limits::default() };
    let mut extractor = shell("printf '\\020\\0\\0\\0convoy-extract 1'; exec sleep 1000", limits);
    assert_eq!(ask(&mut extractor, b"x"), Verdict::TimedOut);
}

#[test]
fn a_child_that_dies_of_an_earlier_page_is_replaced_and_the_page_tried_again() {
    // Each child answers one page, and dies of the second.
    let script = "printf '\\020\\0\\0\\0convoy-extract 1'; head -c 300 >/dev/null; printf '\\025\\0\\0\\0{\"verdict\":\"no_text\"}'; sleep 0.1; kill -SEGV $$";
    let mut extractor = shell(script, Limits::default());
    let body = [b'x'; 200];
    assert_eq!(ask(&mut extractor, &body), Verdict::NoText);
    assert_eq!(ask(&mut extractor, &body), Verdict::NoText);
    assert_eq!(extractor.starts(), 2);
}

#[test]
fn a_new_child_that_dies_gives_the_cause() {
    let script = "printf '\\020\\0\\0\\0convoy-extract 1'; head -c 300 >/dev/null; echo no luck >&2; kill -SEGV $$";
    let verdict = ask(&mut shell(script, Limits::default()), &[b'x'; 200]);
    assert!(
        matches!(&verdict, Verdict::Crashed { cause } if cause.contains("no luck") && cause.contains("signal")),
        "{verdict:?}"
    );
}

#[test]
fn a_child_that_is_killed_from_outside_is_an_error_and_no_verdict() {
    let page = Page { body: &[b'x'; 200], content_type: None };
    let ready = "printf '\\020\\0\\0\\0convoy-extract 1'; head -c 300 >/dev/null";
    // Not those that a shell in the background ignores, SIGINT and SIGHUP.
    for (name, expected) in [("KILL", Signal::SIGKILL), ("TERM", Signal::SIGTERM)] {
        for script in [format!("{ready}; kill -{name} $$"), format!("kill -{name} $$")] {
            let error = shell(script.clone(), Limits::default()).extract(&page).unwrap_err();
            assert!(matches!(error, ExtractorError::Killed { signal, .. } if signal == expected), "{script}: {error}");
        }
    }
}

#[test]
fn a_child_that_is_killed_from_outside_after_other_pages_is_an_error_too() {
    let script = "printf '\\020\\0\\0\\0convoy-extract 1'; head -c 300 >/dev/null; printf '\\025\\0\\0\\0{\"verdict\":\"no_text\"}'; sleep 0.1; kill -KILL $$";
    let mut extractor = shell(script, Limits::default());
    let page = Page { body: &[b'x'; 200], content_type: Some("text/html; charset=utf-8") };
    assert_eq!(extractor.extract(&page).unwrap(), Verdict::NoText);
    assert!(matches!(extractor.extract(&page), Err(ExtractorError::Killed { .. })));
    assert_eq!(extractor.starts(), 1);
}

#[test]
fn commands_that_are_no_child_are_errors_and_no_verdicts() {
    let page = Page { body: b"x", content_type: None };
    let error = |script| shell(script, Limits::default()).extract(&page).unwrap_err();
    assert!(matches!(error("echo hello"), ExtractorError::Protocol { .. }));
    assert!(
        matches!(error("echo broken >&2; exit 3"), ExtractorError::NotReady { cause, .. } if cause.contains("broken"))
    );
    let mut missing = Extractor::new(|| Command::new("/nowhere/child"), Limits::default()).unwrap();
    assert!(matches!(missing.extract(&page), Err(ExtractorError::Start { .. })));
}
