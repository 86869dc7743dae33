//! Pages for the extracting child, each of up to 10 MiB, which is the longest that it gets, and one of 1 GB.
//!
//! Its memory is bounded by the system ([`Limits::memory_bytes`]), and not looked at here.

use std::process::Command;

use nix::sys::resource::UsageWho;
use webtext::extract::{Extractor, Limits, Page, Verdict};

use super::cost::{Bounds, bounded, cpu_s};

const SENTENCE: &str =
    "The ferry leaves the harbour at seven, and it carries letters, bread and whoever has got up in time. ";
/// Documents of one byte.
const MANY: usize = 100_000;

pub fn check() {
    let limits = Limits::default();
    for (name, page, verdicts) in pages() {
        check_page(name, &limits, &page, verdicts);
    }
    check_gigabyte();
    check_many();
}

/// Pages with the verdicts that are right for them: where a page comes near a limit, two.
fn pages() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let (text, deep): (&[&str], &[&str]) = (&["text"], &["too_deep"]);
    let costly: &[&str] = &["text", "timed_out", "out_of_memory"];
    let article = article();
    let within = |content: String| article.replacen("<p>", &format!("<p>{content}"), 1).into_bytes();
    let row = "<tr><td colspan=1000000000 rowspan=1000000000>x</td></tr>".repeat(100);
    let table = article.replace("</article>", &format!("<table>{row}</table></article>"));
    vec![
        ("100,000 nested <div>", "<div>".repeat(100_000).into_bytes(), deep),
        ("2,000,000 nested <b>", "<b>".repeat(2_000_000).into_bytes(), deep),
        ("8,000 nested <div> around an article", ("<div>".repeat(8000) + &article).into_bytes(), text),
        ("100 cells with colspan=1000000000", table.into_bytes(), text),
        (
            "10 MB in one attribute",
            article.replace("<body>", &format!("<body x='{}'>", "x".repeat(10_000_000))).into(),
            text,
        ),
        ("10 MB of NUL bytes", within("\0".repeat(10_000_000)), text),
        ("200,000 times &amp;", within("&amp;".repeat(200_000)), text),
        ("2,000,000 times &amp;", within("&amp;".repeat(2_000_000)), costly),
        ("1,000,000 times &", within("&".repeat(1_000_000)), costly),
        ("an entity of 1,000,000 digits", within(format!("&#{};", "9".repeat(1_000_000))), text),
        ("100,000 lone surrogates as entities", within("&#xD800;".repeat(100_000)), text),
        ("2,000,000 times <br>x", "<br>x".repeat(2_000_000).into_bytes(), costly),
        ("2,000,000 words in one paragraph", within("word ".repeat(2_000_000)), costly),
        ("430,000 paragraphs", "<p>A paragraph.</p>\n".repeat(430_000).into_bytes(), costly),
    ]
}

fn article() -> String {
    let text = SENTENCE.repeat(3);
    format!("<html><title>The ferry</title><body><article><p>{text}</p><p>{text}</p></article></body></html>")
}

/// Asks for a page and then for an ordinary one. A page may use its own limit, on a child that had others before and on a new one.
fn check_page(name: &str, limits: &Limits, page: &[u8], verdicts: &[&str]) {
    let began_s = cpu_s(UsageWho::RUSAGE_CHILDREN);
    let mut extractor = extractor(limits.clone());
    let verdict = ask(&mut extractor, page);
    assert!(verdicts.contains(&verdict.name()), "{name}: {verdict:?}");
    assert!(matches!(ask(&mut extractor, article().as_bytes()), Verdict::Text(_)), "{name}");
    drop(extractor);
    let cpu_s = cpu_s(UsageWho::RUSAGE_CHILDREN) - began_s;
    println!("extract: {name}, {} bytes: {}, {cpu_s:.2} s", page.len(), verdict.name());
    let most_s = 2.0 * limits.cpu_ms as f64 / 1e3 + 1.0;
    assert!(cpu_s < most_s, "{name}: {cpu_s} s of processor time, allowed {most_s}");
}

/// By the default limits a page of 1 GB never reaches a child; by larger ones it costs the child.
fn check_gigabyte() {
    let page = vec![b'x'; 1 << 30];
    check_page("1 GB", &Limits::default(), &page, &["too_large"]);
    check_page("1 GB, allowed", &Limits { page_bytes: 2 << 30, ..Limits::default() }, &page, &["out_of_memory"]);
}

/// Pages of one byte are answered one by one, by one child.
fn check_many() {
    let mut extractor = extractor(Limits::default());
    let began_s = cpu_s(UsageWho::RUSAGE_CHILDREN);
    let bounds = Bounds { cpu_s: 60.0, memory_bytes: 64 << 20 };
    bounded("extract: 100,000 pages of one byte, without the child", bounds, || {
        for _ in 0..MANY {
            assert!(matches!(ask(&mut extractor, b"x"), Verdict::Text(_) | Verdict::NoText));
        }
    });
    assert_eq!(extractor.starts(), 1);
    drop(extractor);
    let cpu_s = cpu_s(UsageWho::RUSAGE_CHILDREN) - began_s;
    println!("extract: 100,000 pages of one byte, the child: {cpu_s:.2} s");
    assert!(cpu_s < 120.0, "{cpu_s} s");
}

fn extractor(limits: Limits) -> Extractor {
    Extractor::new(|| Command::new(env!("CARGO_BIN_EXE_webtext-extract")), limits).unwrap()
}

fn ask(extractor: &mut Extractor, body: &[u8]) -> Verdict {
    extractor.extract(&Page { body, content_type: Some("text/html; charset=utf-8") }).unwrap()
}
