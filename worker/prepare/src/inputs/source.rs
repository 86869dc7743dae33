//! An object to read documents from, and the layout of documents in it.

use common::secrets::without_secrets;
use common::storage::Folder;

use super::fault::{BadDocument, Place};

/// An object to read documents from.
#[derive(Debug, Clone)]
pub struct Source {
    /// Number of the source, from 0 in the order of the inputs.
    pub number: u32,
    /// Name in the input's folder; empty where the input is the object.
    pub name: String,
    /// Size in bytes when the object was found.
    pub bytes: u64,
    /// Reason why the object cannot be read, if it is known.
    pub(super) unreadable: Option<String>,
    pub(super) folder: Folder,
    pub(super) kind: Kind,
}

impl Source {
    /// Returns the Parquet object `name` of `folder` as source `number`.
    pub(crate) fn parquet(number: u32, folder: &Folder, name: &str, bytes: u64) -> Self {
        let kind = Kind { layout: Layout::Parquet, packing: Packing::Plain };
        Source { number, name: name.to_owned(), bytes, unreadable: None, folder: folder.clone(), kind }
    }

    /// Returns the object's absolute URL.
    pub fn url(&self) -> String {
        self.folder.url_of(&self.name)
    }

    /// Returns a rough upper bound on the bytes of text in the object.
    pub fn unpacked_bytes(&self) -> u64 {
        let is_packed = self.kind.packing != Packing::Plain || self.kind.layout == Layout::Parquet;
        if is_packed { self.bytes.saturating_mul(8) } else { self.bytes }
    }

    /// Replaces the byte of `bad` by its line, where only the byte is known. All lines before are read for that, so it is
    /// done for a single document. If reading them fails, the lines up to there are counted.
    pub fn with_line(&self, bad: BadDocument) -> BadDocument {
        let Place::Byte(byte) = bad.place else { return bad };
        let mut before = self.folder.reader(&self.name, 0..byte);
        let mut lines = 0;
        while let Ok(Some(bytes)) = before.next_bytes() {
            lines += memchr::memchr_iter(b'\n', &bytes).count() as u64;
        }
        BadDocument { place: Place::Line(lines + 1), ..bad }
    }
}

/// Layout of documents in an object, and its packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    pub(super) layout: Layout,
    pub(super) packing: Packing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layout {
    Text,
    JsonLines,
    Parquet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

/// Kinds of objects that prepare reads, for errors.
pub const KINDS: &str = ".txt, .jsonl or .ndjson (also .gz, .zst, .xz, .bz2), or .parquet";
/// Ending of Markdown, which is read as `.txt` is, but only where the input has this ending, too: beside texts, `README.md`
/// describes them.
pub const MARKDOWN: &str = ".md";

impl Kind {
    /// Returns the kind of an object of this name; `None` if prepare does not read it.
    pub(super) fn of(name: &str) -> Option<Kind> {
        let (name, packing) = unpacked_name(name);
        let layouts = [
            (".txt", Layout::Text),
            (MARKDOWN, Layout::Text),
            (".jsonl", Layout::JsonLines),
            (".ndjson", Layout::JsonLines),
            (".parquet", Layout::Parquet),
        ];
        let layout = layouts.iter().find(|(end, _)| name.ends_with(end))?.1;
        let is_read = packing == Packing::Plain || layout != Layout::Parquet;
        is_read.then_some(Kind { layout, packing })
    }
}

/// Returns whether prepare reads an object called `name` that it finds for `input`.
pub fn is_read(name: &str, input: &str) -> bool {
    let is_markdown = |name: &str| unpacked_name(name).0.ends_with(MARKDOWN);
    Kind::of(name).is_some() && (!is_markdown(name) || is_markdown(&without_secrets(input)))
}

/// Returns `name` in lower case without the ending of its packing, and the packing.
fn unpacked_name(name: &str) -> (String, Packing) {
    let name = name.to_ascii_lowercase();
    let packings = [(".gz", Packing::Gzip), (".zst", Packing::Zstd), (".xz", Packing::Xz), (".bz2", Packing::Bzip2)];
    let packed = packings.iter().find_map(|(end, packing)| Some((name.strip_suffix(end)?.to_owned(), *packing)));
    packed.unwrap_or((name, Packing::Plain))
}

#[cfg(test)]
mod tests {
    use webtext::pages::{Format, Layout as PageLayout};

    use super::*;

    #[test]
    fn names_say_how_documents_lie() {
        for name in
            ["a.txt", "A.TXT", "b/c.jsonl", "a.jsonl.gz", "a.txt.zst", "a.txt.xz", "a.jsonl.bz2", "x.parquet", "a.md"]
        {
            assert!(Kind::of(name).is_some(), "{name}");
        }
        for name in ["a.mdx", "a", "a.gz", "x.parquet.gz", "txt", "index.json"] {
            assert!(Kind::of(name).is_none(), "{name}");
        }
    }

    #[test]
    fn every_kind_that_errors_name_is_read_and_json_lines_have_the_names_that_they_have_as_pages() {
        let kinds = KINDS.split([' ', ',', '(', ')']).filter(|word| word.starts_with('.'));
        let (packings, kinds): (Vec<&str>, Vec<&str>) = kinds.partition(|kind| Kind::of(&format!("a{kind}")).is_none());
        assert_eq!(kinds, [".txt", ".jsonl", ".ndjson", ".parquet"]);
        for packing in packings {
            assert!(Kind::of(&format!("a.txt{packing}")).is_some(), "{packing}");
        }
        for name in ["a.jsonl", "a.ndjson", "a.NDJSON.gz", "a.json"] {
            let lines = Kind::of(name).is_some_and(|kind| kind.layout == Layout::JsonLines);
            let lines_of_pages = Format::of(name).is_some_and(|format| format.layout == PageLayout::JsonLines);
            assert_eq!(lines, lines_of_pages, "{name}");
        }
    }

    #[test]
    fn markdown_is_read_where_it_is_asked_for() {
        for (name, input, expected) in [
            ("a.md", "notes", false),
            ("a.MD.gz", "notes/*.txt", false),
            ("a.md", "notes/**/*.md", true),
            ("a.md.zst", "a.md.zst", true),
            ("a.md", "https://host/a.md?signature=x", true),
            ("a.txt", "notes/**/*.md", true),
        ] {
            assert_eq!(is_read(name, input), expected, "{name} of {input}");
        }
    }
}
