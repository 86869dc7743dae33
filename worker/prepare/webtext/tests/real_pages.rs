//! The pages of ../shared/corpora, packed into archives, come back whole.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::path::PathBuf;

use webtext::pages::write::{Packing, WarcWriter};
use webtext::pages::{Entry, Format, Limits, Page, Pages};

/// Returns the folder of packed pages. Returns `None`, and prints the reason, if it is not there.
fn folder() -> Option<PathBuf> {
    let corpora = match std::env::var_os("CONVOY_CORPORA") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../../shared/corpora")),
    };
    let folder = corpora.join("html_article_benchmark/html");
    if !folder.is_dir() {
        println!("skipped: no {}; CONVOY_CORPORA names another folder", folder.display());
        return None;
    }
    Some(folder)
}

fn pages(name: &str, object: &[u8]) -> Vec<Page> {
    let page = |entry: std::io::Result<Entry>| match entry.unwrap() {
        Entry::Page(page) => page,
        Entry::Damage(damage) => panic!("{name}: {damage}"),
    };
    Pages::new(Format::of(name).unwrap(), object, Limits::default()).map(page).collect()
}

#[test]
fn articles_are_read_from_files_and_from_archives_of_them() {
    let Some(folder) = folder() else { return };
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert_eq!(paths.len(), 181);
    let article = |path: &PathBuf| {
        let [page] = <[Page; 1]>::try_from(pages("a.html.gz", &std::fs::read(path).unwrap())).unwrap();
        assert!(!page.payload.is_empty());
        page.payload
    };
    let articles: Vec<_> = paths.iter().map(article).collect();
    for (packing, name) in [(Packing::Plain, "a.warc"), (Packing::Gzip, "a.warc.gz"), (Packing::Zstd, "a.warc.zst")] {
        let mut writer = WarcWriter::new(Vec::new(), packing);
        for (number, article) in articles.iter().enumerate() {
            let header = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n";
            let url = format!("https://articles.example/{number}");
            writer.response(&url, "2026-11-30T12:00:00Z", &[&header[..], article].concat()).unwrap();
        }
        let object = writer.into_inner();
        let read = pages(name, &object);
        assert_eq!(read.len(), articles.len());
        assert!(read.iter().zip(&articles).all(|(page, article)| page.payload == *article && page.mends.is_empty()));
    }
}
