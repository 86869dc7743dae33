//! Documents for the rules: as many as a million, and as long as the longest page.

use webtext::clean::{CleanOptions, Cleaner, Depth, Document};

use super::cost::{Bounds, bounded};

/// Documents of one byte.
const MANY: usize = 1_000_000;
/// Most content of a page by default.
const LONG_BYTES: usize = 8 << 20;
/// Bounds for a million documents.
const FOR_MANY: Bounds = Bounds { cpu_s: 120.0, memory_bytes: 64 << 20 };
/// Bounds for one of 8 MiB by all rules.
const FOR_LONG: Bounds = Bounds { cpu_s: 120.0, memory_bytes: 2 << 30 };
/// What long documents consist of: words, no words, and beginnings of what the splitter and the rules look for.
const UNITS: [&str; 15] =
    ["a", "a b ", "[", "'", ".", "a.", "\n", "…", "-", "{", "@a.", "\u{301}", "http://", "don't", ":-)"];

pub fn check() {
    for (name, options) in [("fineweb", CleanOptions::fineweb()), ("paper", CleanOptions::paper())] {
        let cleaner = Cleaner::new(options).unwrap();
        for depth in [Depth::UntilDropped, Depth::AllRules] {
            let kept =
                bounded(&format!("rules of {name}: a million documents of one byte, {depth:?}"), FOR_MANY, || {
                    let document = Document { text: "x", url: None };
                    (0..MANY).filter(|_| cleaner.judge(document, depth).kept()).count()
                });
            assert_eq!(kept, 0);
        }
    }
    // The rules themselves, without the bound that is before them.
    let cleaner = Cleaner::new(CleanOptions { document_bytes: 0, ..CleanOptions::fineweb() }).unwrap();
    for unit in UNITS {
        let text = unit.repeat(LONG_BYTES / unit.len());
        bounded(&format!("all rules: 8 MiB of {unit:?}"), FOR_LONG, || {
            cleaner.judge(Document { text: &text, url: None }, Depth::AllRules);
        });
    }
}
