//! Pages in archives and JSON lines.

use std::path::Path;
use std::process::Command;

use crate::random::Random;

/// Date of every page.
const DATE: &str = "2026-11-30T12:00:00Z";

/// Creates `folder` with `objects` objects of `pages` pages each, of which some are damaged, in error, or not English; always
/// the same. Of four objects, one is a WARC file, two are packed ones, and one has JSON lines.
///
/// # Panics
/// Panics if the folder cannot be written.
pub fn write(folder: &Path, objects: u64, pages: u64) {
    std::fs::create_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut random = Random::new(11);
    for object in 0..objects {
        let is_lines = object % 4 == 2;
        let page: fn(u64, &mut Random) -> Vec<u8> = if is_lines { line } else { record };
        let mut content = Vec::new();
        for number in object * pages..(object + 1) * pages {
            content.extend(page(number, &mut random));
        }
        let path = folder.join(format!("{object:02}.{}", if is_lines { "jsonl" } else { "warc" }));
        std::fs::write(&path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        if object % 2 == 1 {
            assert!(Command::new("gzip").arg(&path).status().expect("gzip can be run").success());
        }
    }
}

/// Returns a WARC record of a response: the page of this number, of which some are damaged, in error, or not English.
pub fn record(number: u64, random: &mut Random) -> Vec<u8> {
    let (status, body) = content(number, random);
    if number % 13 == 12 {
        return b"no record at all\r\n".repeat(1 + number as usize % 3);
    }
    let message = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    format!(
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:00000000-0000-4000-8000-{number:012x}>\r\n\
         WARC-Target-URI: {}\r\nWARC-Date: {DATE}\r\nContent-Type: application/http; msgtype=response\r\n\
         Content-Length: {}\r\n\r\n{message}\r\n\r\n",
        address(number),
        message.len()
    )
    .into_bytes()
}

/// Returns a WARC record of a conversion to plain text, as WET files have them.
pub fn conversion(number: u64, url: &str, text: &str) -> Vec<u8> {
    format!(
        "WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Record-ID: <urn:uuid:00000000-0000-4000-9000-{number:012x}>\r\n\
         WARC-Target-URI: {url}\r\nWARC-Date: {DATE}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}\r\n\r\n",
        text.len()
    )
    .into_bytes()
}

/// Returns a JSON line with a page.
fn line(number: u64, random: &mut Random) -> Vec<u8> {
    let (_, html) = content(number, random);
    if number % 13 == 12 {
        return b"{\"html\": \n".to_vec();
    }
    let line = serde_json::json!({ "html": html, "url": address(number), "date": DATE });
    format!("{line}\n").into_bytes()
}

fn address(number: u64) -> String {
    format!("http://site{}.example/{number}", number % 7)
}

/// Returns the status and the body of a response.
fn content(number: u64, random: &mut Random) -> (&'static str, String) {
    match number % 11 {
        3 => ("404 Not Found", page(number, random)),
        5 => ("200 OK", "<div>".repeat(20_000)),
        7 => (
            "200 OK",
            format!("<article>{}</article>", "<p>Der Wärter schrieb am Abend einen langen Brief.</p>".repeat(20)),
        ),
        _ => ("200 OK", page(number, random)),
    }
}

/// Returns a page with an article of some paragraphs. Of nine pages, one has the words of others.
fn page(number: u64, random: &mut Random) -> String {
    let again = &mut Random::new(number % 45);
    let random = if number % 9 == 8 { again } else { random };
    let paragraphs: String = (0..5 + random.below(60))
        .map(|paragraph| {
            format!(
                "<p>The ferry number {number} leaves the harbour at dawn with {} letters, and its captain reads the weather report \
                 {paragraph} times before she starts the engine. The seal on the first letter was {:x}.</p>",
                random.below(1000),
                random.below(1 << 50)
            )
        })
        .collect();
    format!("<html><head><title>Trip {number}</title></head><body><article>{paragraphs}</article></body></html>")
}
