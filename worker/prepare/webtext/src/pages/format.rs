//! How pages lie in an object, by its name.

/// How pages lie in an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Layout of the unpacked bytes.
    pub layout: Layout,
    /// Packing by the name, which counts where the first bytes show none.
    pub(super) packing: Packing,
}

/// Layout of pages in unpacked bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Records of WARC 1.0 or 1.1, WET included.
    Warc,
    /// One page.
    Html,
    /// One JSON object a line, with the page in `html` and, if known, `url` and `date`.
    JsonLines,
}

/// Packing of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// Kinds of objects that have pages, for errors.
pub const KINDS: &str = ".warc, .wet, .html, .htm, .xhtml, .jsonl or .ndjson (also .gz, .zst)";

const LAYOUTS: [(&str, Layout); 7] = [
    (".warc", Layout::Warc),
    (".wet", Layout::Warc),
    (".html", Layout::Html),
    (".htm", Layout::Html),
    (".xhtml", Layout::Html),
    (".jsonl", Layout::JsonLines),
    (".ndjson", Layout::JsonLines),
];

impl Format {
    /// Returns the format of an object of this name; `None` if it has no pages.
    pub fn of(name: &str) -> Option<Format> {
        let name = name.to_ascii_lowercase();
        let (name, packing) = match (name.strip_suffix(".gz"), name.strip_suffix(".zst")) {
            (Some(name), _) => (name, Packing::Gzip),
            (_, Some(name)) => (name, Packing::Zstd),
            _ => (name.as_str(), Packing::Plain),
        };
        let layout = LAYOUTS.iter().find(|(end, _)| name.ends_with(end))?.1;
        Some(Format { layout, packing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_how_pages_lie() {
        let check =
            |name: &str, layout, packing| assert_eq!(Format::of(name), Some(Format { layout, packing }), "{name}");
        check("CC-MAIN-20261130-00000.warc.gz", Layout::Warc, Packing::Gzip);
        check("a/CC-MAIN-20261130-00000.warc.wet.gz", Layout::Warc, Packing::Gzip);
        check("a.WARC", Layout::Warc, Packing::Plain);
        check("a.warc.zst", Layout::Warc, Packing::Zstd);
        check("index.htm", Layout::Html, Packing::Plain);
        check("index.html.gz", Layout::Html, Packing::Gzip);
        check("pages.jsonl.zst", Layout::JsonLines, Packing::Zstd);
        check("pages.ndjson", Layout::JsonLines, Packing::Plain);
        for name in ["a.gz", "a.warc.wat.gz", "html", "a.txt", "a.warc.xz", ""] {
            assert_eq!(Format::of(name), None, "{name}");
        }
    }

    #[test]
    fn errors_name_every_kind() {
        for (end, _) in LAYOUTS {
            assert!(KINDS.split([' ', ',']).any(|word| word == end), "{end}");
        }
    }
}
