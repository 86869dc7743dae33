//! Real input of a job, from the folder of corpora: web pages, packed into archives, and documents as JSON lines.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;
use webtext::pages::write::{Packing, WarcWriter};

/// Variable that lets a job take all pages and documents; `make soak` sets it.
const WHOLE_VARIABLE: &str = "CONVOY_TEST_ALL_REAL_PAGES";
/// Without that variable, a job takes every tenth page, from all over the corpora.
const EVERY_PAGE: usize = 10;
/// Without that variable, a job takes this number of documents: more than two units of work.
const FEW_DOCUMENTS: usize = 500;
/// Number of pages in an archive, beside one that answers with an error. An archive is a unit of work.
const ARCHIVE_PAGES: usize = 4;
/// Number of documents in an object.
const OBJECT_DOCUMENTS: usize = 10;
const DATE: &str = "2026-11-30T12:00:00Z";

const ARTICLES: &str = "html_article_benchmark/html";
const READABILITY: &str = "html_readability/readability_test_pages.tar.zst";
const DOCUMENTS: &str = "openwebtext1000/openwebtext-1000.decoded.jsonl";
const REVIEWS: &str = "nltk_text/movie_reviews.zip";

/// Folder of corpora that has all files of this module.
pub struct Corpora {
    folder: PathBuf,
    is_whole: bool,
}

/// What archives of pages hold.
pub struct Archived {
    /// Number of real pages.
    pub pages: u64,
    /// Number of pages with the status 404, one in each archive.
    pub errors: u64,
}

/// A page: its address and its HTML.
type Page = (String, Vec<u8>);

impl Corpora {
    /// Finds the folder. Returns `None`, and prints the reason, if it is not there.
    pub fn find() -> Option<Self> {
        let folder = match std::env::var_os("CONVOY_CORPORA") {
            Some(folder) => PathBuf::from(folder),
            None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpora")),
        };
        for name in [ARTICLES, READABILITY, DOCUMENTS, REVIEWS] {
            let path = folder.join(name);
            if !path.exists() {
                println!("skipped: no {}; CONVOY_CORPORA names another folder of corpora", path.display());
                return None;
            }
        }
        Some(Corpora { folder, is_whole: std::env::var_os(WHOLE_VARIABLE).is_some() })
    }

    /// Creates `folder` with archives of the pages of two corpora, in turn `.warc.gz` by member and `.warc.zst` by frame.
    pub fn write_archives(&self, folder: &Path) -> Archived {
        fs::create_dir(folder).unwrap();
        let every = if self.is_whole { 1 } else { EVERY_PAGE };
        let all = [self.articles(), self.readability_pages()].concat();
        let pages: Vec<Page> = all.into_iter().step_by(every).collect();
        let archives = pages.chunks(ARCHIVE_PAGES);
        let archived = Archived { pages: pages.len() as u64, errors: archives.len() as u64 };
        for (number, pages) in archives.enumerate() {
            let (packing, ending) = [(Packing::Gzip, "gz"), (Packing::Zstd, "zst")][number % 2];
            fs::write(folder.join(format!("{number:03}.warc.{ending}")), archive(packing, pages)).unwrap();
        }
        archived
    }

    /// Creates `folder` with documents of openwebtext1000 as JSON lines. Returns their number.
    pub fn write_documents(&self, folder: &Path) -> u64 {
        fs::create_dir(folder).unwrap();
        let lines = self.lines();
        for (number, lines) in lines.chunks(OBJECT_DOCUMENTS).enumerate() {
            fs::write(folder.join(format!("{number:03}.jsonl")), lines.join("\n")).unwrap();
        }
        lines.len() as u64
    }

    /// Returns texts of openwebtext1000, and reviews of nltk_text.
    pub fn texts(&self) -> Vec<String> {
        let text = |line: &String| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["text"].as_str().unwrap().to_owned()
        };
        let reviews = self.reviews();
        let most = if self.is_whole { usize::MAX } else { FEW_DOCUMENTS };
        self.lines().iter().map(text).chain(reviews.into_iter().take(most)).collect()
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join(DOCUMENTS)).unwrap();
        let most = if self.is_whole { usize::MAX } else { FEW_DOCUMENTS };
        text.lines().take(most).map(str::to_owned).collect()
    }

    fn reviews(&self) -> Vec<String> {
        let unpacked = tempfile::tempdir().unwrap();
        let mut command = Command::new("python3");
        command.args(["-m", "zipfile", "-e"]).arg(self.folder.join(REVIEWS)).arg(unpacked.path());
        assert!(command.status().unwrap().success());
        let kinds = entries(&unpacked.path().join("movie_reviews")).into_iter().filter(|path| path.is_dir());
        kinds.flat_map(|kind| entries(&kind)).map(|path| fs::read_to_string(path).unwrap()).collect()
    }

    fn articles(&self) -> Vec<Page> {
        let page = |path: PathBuf| {
            let mut html = Vec::new();
            GzDecoder::new(File::open(&path).unwrap()).read_to_end(&mut html).unwrap();
            (address("articles", &path), html)
        };
        entries(&self.folder.join(ARTICLES)).into_iter().map(page).collect()
    }

    fn readability_pages(&self) -> Vec<Page> {
        let unpacked = tempfile::tempdir().unwrap();
        let tar = unpacked.path().join("pages.tar");
        let packed = File::open(self.folder.join(READABILITY)).unwrap();
        zstd::stream::copy_decode(packed, File::create(&tar).unwrap()).unwrap();
        let mut command = Command::new("tar");
        command.arg("-xf").arg(&tar).arg("-C").arg(unpacked.path());
        assert!(command.status().unwrap().success());
        let page = |folder: PathBuf| (address("readability", &folder), fs::read(folder.join("source.html")).unwrap());
        entries(&unpacked.path().join("test/test-pages")).into_iter().map(page).collect()
    }
}

/// Returns the paths in `folder`, in their order.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn address(site: &str, path: &Path) -> String {
    format!("https://{site}.example/{}", path.file_name().unwrap().to_str().unwrap())
}

/// Packs pages, and before them, as a crawl has them too, a page that answers with an error.
fn archive(packing: Packing, pages: &[Page]) -> Vec<u8> {
    let mut writer = WarcWriter::new(Vec::new(), packing);
    let missing =
        ("https://articles.example/missing".to_owned(), b"<html><body><p>Not found</p></body></html>".to_vec());
    let with_status = pages.iter().map(|page| ("200 OK", page));
    for (status, (url, html)) in std::iter::once(("404 Not Found", &missing)).chain(with_status) {
        let header = format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n", html.len());
        writer.response(url, DATE, &[header.as_bytes(), html].concat()).unwrap();
    }
    writer.into_inner()
}
