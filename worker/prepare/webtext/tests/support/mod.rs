//! What datatrove decided of documents, as scripts/oracles/clean.py wrote it, beside what Convoy decides.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;
use webtext::clean::split::Split;
use webtext::clean::{CleanOptions, Cleaner, Depth, Document, Rule, Verdict};

/// A line of the script's file.
#[derive(Deserialize)]
pub struct Decided {
    pub id: String,
    pub text: String,
    filters: BTreeMap<String, Option<String>>,
    rules: BTreeMap<String, Option<bool>>,
    fineweb: Chain,
    c4_text: Option<String>,
    words: Vec<(String, String)>,
    sentences: HashMap<String, usize>,
}

#[derive(Deserialize)]
struct Chain {
    reason: Option<(String, String)>,
    text: Option<String>,
}

impl Decided {
    /// Returns texts with their words, a space between them.
    pub fn recorded_words(&self) -> impl Iterator<Item = (&str, &str)> {
        self.words.iter().map(|(text, words)| (text.as_str(), words.as_str()))
    }
}

/// Words and sentences as datatrove has split them.
struct Recorded {
    words: HashMap<String, String>,
    sentences: HashMap<String, usize>,
}

impl Split for Recorded {
    fn words<'t>(&self, text: &'t str, words: &mut Vec<&'t str>) {
        let recorded =
            self.words.get(text).unwrap_or_else(|| panic!("datatrove was not asked for the words of {text:?}"));
        let mut rest = text;
        for word in recorded.split(' ').filter(|word| !word.is_empty()) {
            let at = rest.find(word).unwrap_or_else(|| panic!("no word {word:?} in {rest:?}"));
            words.push(&rest[at..at + word.len()]);
            rest = &rest[at + word.len()..];
        }
    }

    fn sentences(&self, line: &str) -> usize {
        self.sentences.get(line).copied().unwrap_or(1)
    }
}

/// Whose words and sentences are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Words {
    Datatrove,
    Own,
}

/// A decision that is another than datatrove's.
pub struct Difference {
    /// The rule, or the filter with its defaults.
    pub of: String,
    pub text: String,
}

/// Decisions that were compared, and those that differ.
#[derive(Default)]
pub struct Comparison {
    pub compared: BTreeMap<String, usize>,
    pub differences: Vec<Difference>,
}

impl Comparison {
    fn add(&mut self, of: &str, equal: bool, text: impl FnOnce() -> String) {
        *self.compared.entry(of.to_owned()).or_default() += 1;
        if !equal {
            self.differences.push(Difference { of: of.to_owned(), text: text() });
        }
    }
}

/// Returns the documents of a file.
pub fn read(path: &Path) -> impl Iterator<Item = Decided> {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    std::io::BufRead::lines(file).map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// FineWeb's rules without the language, and, as datatrove has it, for documents of any length.
pub fn fineweb() -> CleanOptions {
    let mut options = CleanOptions { document_bytes: 0, ..CleanOptions::fineweb() };
    options.language.kept.clear();
    options
}

/// Options with one section of FineWeb's alone.
fn only(section: &str) -> CleanOptions {
    let (mut options, all) = (CleanOptions::off(), fineweb());
    match section {
        "repetition" => options.repetition = all.repetition,
        "quality" => options.quality = all.quality,
        "c4" => {
            options.c4 = all.c4;
            options.c4.require_end_punctuation = true;
        }
        _ => options.fineweb = all.fineweb,
    }
    options
}

/// Compares all that is known of a document.
pub fn compare(decided: &Decided, words: Words, into: &mut Comparison) {
    let judge = |options: CleanOptions, depth| -> Verdict<'_> {
        let cleaner = Cleaner::new(options).unwrap();
        let cleaner = match words {
            Words::Own => cleaner,
            Words::Datatrove => {
                let recorded =
                    Recorded { words: decided.words.iter().cloned().collect(), sentences: decided.sentences.clone() };
                cleaner.with_split(Box::new(recorded))
            }
        };
        cleaner.judge(Document { text: &decided.text, url: None }, depth)
    };
    for (section, reason) in &decided.filters {
        let verdict = judge(only(section), Depth::UntilDropped);
        let ours = verdict.dropped().and_then(|check| check.rule.datatrove_reason());
        // datatrove divides by zero where there is no character.
        if reason.as_deref() != Some("error") {
            let tell = || format!("{}: {ours:?}, datatrove {reason:?}", decided.id);
            into.add(&format!("filter {section}"), ours == reason.as_deref(), tell);
        }
        if section == "c4" {
            let theirs = decided.c4_text.as_deref().unwrap_or(&decided.text);
            into.add("text of c4", verdict.text == theirs, || {
                format!("{}: {:?}, datatrove {theirs:?}", decided.id, verdict.text)
            });
        }
        let all = judge(only(section), Depth::AllRules);
        for check in &all.checks {
            let Some(kept) = decided.rules[check.rule.name()] else { continue };
            if !(check.rule == Rule::MeanWordLengthMin && check.measure == 0.0) {
                into.add(check.rule.name(), check.passed == kept, || {
                    format!("{}: {check:?}, datatrove {kept}", decided.id)
                });
            }
        }
    }
    if decided.fineweb.reason.as_ref().is_none_or(|(_, reason)| reason != "error") {
        let verdict = judge(fineweb(), Depth::UntilDropped);
        let ours = verdict
            .dropped()
            .map(|check| (check.rule.name().split_once('.').unwrap().0, check.rule.datatrove_reason().unwrap()));
        let theirs = decided.fineweb.reason.as_ref().map(|(filter, reason)| (filter.as_str(), reason.as_str()));
        into.add("fineweb", ours == theirs, || format!("{}: {ours:?}, datatrove {theirs:?}", decided.id));
        let (ours, theirs) = (&verdict.text, Cow::from(decided.fineweb.text.as_deref().unwrap_or(&decided.text)));
        into.add("text of fineweb", *ours == theirs, || format!("{}: {ours:?}, datatrove {theirs:?}", decided.id));
    }
}
