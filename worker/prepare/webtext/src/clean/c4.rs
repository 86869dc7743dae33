//! C4's rules (Raffel et al. 2020, <https://jmlr.org/papers/v21/20-074.html>, section 2.2), as datatrove's `c4_filters.py`
//! (`C4QualityFilter`) applies them to lines.
//!
//! They change the text. A line is stripped of white space, and of citations such as `[12]`; it is removed if it has a very long word,
//! does not end in punctuation, has few words, or speaks of JavaScript or of policies. What comes out are the lines that are left,
//! with one line feed between them: blank lines go with the short ones, so paragraphs are apart by one line feed afterwards. A
//! document that is dropped keeps the text that it had. [`RemovedLines`] counts what was removed.

use std::borrow::Cow;
use std::ops::ControlFlow;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder};
use serde::{Deserialize, Serialize};

use crate::clean::checks::{Checks, Limit};
use crate::clean::rule::Rule;
use crate::clean::split::Split;
use crate::clean::text::{between_spaces, characters, lines, strip};
use crate::clean::unicode::DIGIT;

/// Rules for lines, and for what is left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct C4Options {
    /// Whether any of these rules is applied. Without them, the text stays as it is.
    pub enabled: bool,
    /// Removes citations as in Wikipedia: `[12]`, `[]`, `[edit]`, `[citation needed]`. Default true.
    pub remove_citations: bool,
    /// Removes lines that do not end in `.`, `?`, `!` or a straight quotation mark, or that end in `...`. Default false, as FineWeb
    /// sets it; C4 has true.
    pub require_end_punctuation: bool,
    /// Least words of a line, between white space. Default 3. 0 for any number: then blank lines stay.
    pub min_words_per_line: usize,
    /// Most characters of a word. Default 1000. 0 for any number.
    pub max_word_characters: usize,
    /// Removes lines that mention JavaScript. Default true.
    pub remove_javascript: bool,
    /// Removes lines with phrases about cookies, privacy and terms of use. Default true.
    pub remove_policies: bool,
    /// Drops documents with a line with `lorem ipsum`. Default true.
    pub drop_lorem_ipsum: bool,
    /// Drops documents with a line with `{`. Default true.
    pub drop_curly_brackets: bool,
    /// Least sentences in the lines that are left. Default 5. 0 for any number.
    pub min_sentences: usize,
}

impl Default for C4Options {
    fn default() -> Self {
        C4Options {
            enabled: true,
            remove_citations: true,
            require_end_punctuation: false,
            min_words_per_line: 3,
            max_word_characters: 1000,
            remove_javascript: true,
            remove_policies: true,
            drop_lorem_ipsum: true,
            drop_curly_brackets: true,
            min_sentences: 5,
        }
    }
}

/// Lines that were removed, by the reason that came first, and citations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RemovedLines {
    /// All lines of the document, those that were kept included.
    pub of: usize,
    /// Lines with a word that is too long.
    pub long_word: usize,
    /// Lines that do not end in punctuation.
    pub no_end_punctuation: usize,
    /// Lines of few words.
    pub few_words: usize,
    /// Lines that mention JavaScript.
    pub javascript: usize,
    /// Lines about policies.
    pub policies: usize,
    /// Citations within lines.
    pub citations: usize,
}

/// Phrases about policies. datatrove: `POLICY_SUBSTRINGS`.
const POLICIES: [&str; 6] =
    ["terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"];
const LOREM_IPSUM: &str = "lorem ipsum";
const JAVASCRIPT: &str = "javascript";

/// The rules with their phrases made ready.
pub(crate) struct C4 {
    options: C4Options,
    phrases: Option<AhoCorasick>,
    kinds: Vec<Phrase>,
}

#[derive(Clone, Copy, PartialEq)]
enum Phrase {
    LoremIpsum,
    JavaScript,
    Policy,
}

/// What a line has.
#[derive(Default)]
struct Found {
    lorem_ipsum: bool,
    javascript: bool,
    policy: bool,
}

/// What goes over all lines of a document.
#[derive(Default)]
struct Tally {
    kept: Vec<String>,
    sentences: usize,
    lorem_ipsum: usize,
    curly_brackets: usize,
    bracket_came_first: bool,
    removed: RemovedLines,
}

impl C4 {
    pub(crate) fn new(options: &C4Options) -> Self {
        let kinds = [
            (Phrase::LoremIpsum, options.drop_lorem_ipsum, &[LOREM_IPSUM][..]),
            (Phrase::JavaScript, options.remove_javascript, &[JAVASCRIPT][..]),
            (Phrase::Policy, options.remove_policies, &POLICIES[..]),
        ];
        let wanted = kinds.into_iter().filter(|(_, wanted, _)| *wanted);
        let phrases: Vec<(Phrase, &str)> =
            wanted.flat_map(|(kind, _, phrases)| phrases.iter().map(move |phrase| (kind, *phrase))).collect();
        let texts = phrases.iter().map(|(_, phrase)| phrase);
        // A handful of short phrases always builds; without phrases there is nothing to look for.
        let built = AhoCorasickBuilder::new().ascii_case_insensitive(true).build(texts).ok();
        let phrases_wanted = !phrases.is_empty();
        C4 {
            options: options.clone(),
            phrases: built.filter(|_| phrases_wanted),
            kinds: phrases.iter().map(|(kind, _)| *kind).collect(),
        }
    }

    /// Checks a text, and returns what is left of it unless it is dropped.
    pub(crate) fn check(
        &self,
        text: &str,
        split: &dyn Split,
        (removed, checks): (&mut RemovedLines, &mut Checks),
    ) -> ControlFlow<(), Option<String>> {
        let mut tally = Tally::default();
        for line in lines(text) {
            self.line(line, split, &mut tally);
            // The first line that drops the document is the reason.
            if !checks.all() && (tally.lorem_ipsum > 0 || tally.curly_brackets > 0) {
                break;
            }
        }
        *removed = tally.removed;
        let before = checks.made.len();
        let of = |rule, wanted: bool, lines: usize, checks: &mut Checks| match wanted {
            true => checks.check(rule, Limit::AtMost(0.0), lines as f64),
            false => ControlFlow::Continue(()),
        };
        let mut rules = [
            (Rule::LoremIpsum, self.options.drop_lorem_ipsum, tally.lorem_ipsum),
            (Rule::CurlyBracket, self.options.drop_curly_brackets, tally.curly_brackets),
        ];
        if tally.bracket_came_first {
            rules.reverse();
        }
        for (rule, wanted, lines) in rules {
            of(rule, wanted, lines, checks)?;
        }
        checks.at_least(Rule::Sentences, self.options.min_sentences as f64, || tally.sentences as f64)?;
        let kept = checks.made[before..].iter().all(|check| check.passed);
        ControlFlow::Continue(kept.then(|| strip(&tally.kept.join("\n")).to_owned()))
    }

    /// Looks at a line: datatrove's loop, step by step.
    fn line(&self, line: &str, split: &dyn Split, tally: &mut Tally) {
        let options = &self.options;
        let line = strip(line);
        tally.removed.of += 1;
        let (mut words, mut longest) = (0, 0);
        for word in between_spaces(line) {
            words += 1;
            // A word has at most as many characters as bytes.
            if word.len() > longest {
                longest = longest.max(characters(word));
            }
        }
        if options.max_word_characters != 0 && longest > options.max_word_characters {
            tally.removed.long_word += 1;
            return;
        }
        let line = if options.remove_citations { without_citations(line, &mut tally.removed) } else { line.into() };
        if options.require_end_punctuation && (!line.ends_with(['.', '?', '!', '"', '\'']) || line.ends_with("...")) {
            tally.removed.no_end_punctuation += 1;
            return;
        }
        if words < options.min_words_per_line {
            tally.removed.few_words += 1;
            return;
        }
        let found = self.phrases_of(&line);
        if found.lorem_ipsum {
            tally.lorem_ipsum += 1;
        }
        if found.javascript {
            tally.removed.javascript += 1;
            return;
        }
        if options.drop_curly_brackets && line.contains('{') {
            tally.bracket_came_first |= tally.lorem_ipsum == 0;
            tally.curly_brackets += 1;
        }
        if found.policy {
            tally.removed.policies += 1;
            return;
        }
        if options.min_sentences != 0 {
            tally.sentences += split.sentences(&line);
        }
        tally.kept.push(line.into_owned());
    }

    fn phrases_of(&self, line: &str) -> Found {
        let mut found = Found::default();
        let Some(phrases) = &self.phrases else { return found };
        // Of all letters beyond ASCII, one alone has a lower-case form within it.
        let line =
            if line.contains('\u{212a}') { Cow::Owned(line.replace('\u{212a}', "k")) } else { Cow::Borrowed(line) };
        for hit in phrases.find_iter(&*line) {
            match self.kinds[hit.pattern().as_usize()] {
                Phrase::LoremIpsum => found.lorem_ipsum = true,
                Phrase::JavaScript => found.javascript = true,
                Phrase::Policy => found.policy = true,
            }
        }
        found
    }
}

/// Removes citations. datatrove: `CITATION_REGEX`, `\[\d*]|\[edit]|\[citation needed]`.
fn without_citations<'t>(line: &'t str, removed: &mut RemovedLines) -> Cow<'t, str> {
    let mut left = Cow::Borrowed("");
    let mut rest = line;
    let mut from = 0;
    while let Some(found) = rest[from..].find('[') {
        let start = from + found;
        let Some(length) = citation(&rest[start + 1..]) else {
            from = start + 1;
            continue;
        };
        left.to_mut().push_str(&rest[..start]);
        removed.citations += 1;
        (rest, from) = (&rest[start + 1 + length..], 0);
    }
    match left {
        Cow::Borrowed(_) if rest.len() == line.len() => Cow::Borrowed(line),
        left => Cow::Owned(left.into_owned() + rest),
    }
}

/// Returns the length of a citation without its opening bracket.
fn citation(text: &str) -> Option<usize> {
    let digits = text.trim_start_matches(|c| DIGIT.contains(c));
    if digits.starts_with(']') {
        return Some(text.len() - digits.len() + 1);
    }
    ["edit]", "citation needed]"].into_iter().find(|words| text.starts_with(words)).map(str::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citations_are_removed_and_other_brackets_stay() {
        for (line, expected, citations) in [
            ("a[1] b[] c[edit].[citation needed]", "a b c.", 4),
            ("[[12]] [٣] [1", "[]  [1", 2),
            ("[12", "[12", 0),
            ("[ 1] [Edit] [1a]", "[ 1] [Edit] [1a]", 0),
            ("[1]", "", 1),
            ("", "", 0),
        ] {
            let mut removed = RemovedLines::default();
            assert_eq!(without_citations(line, &mut removed), expected, "{line}");
            assert_eq!(removed.citations, citations, "{line}");
        }
    }

    #[test]
    fn phrases_are_found_in_any_case() {
        let c4 = C4::new(&C4Options::default());
        assert!(c4.phrases_of("We USE COO\u{212a}IES here").policy);
        assert!(c4.phrases_of("Enable JavaScript").javascript && c4.phrases_of("Lorem Ipsum").lorem_ipsum);
        assert!(!c4.phrases_of("We use no cookies").policy);
        let off = C4Options {
            remove_javascript: false,
            remove_policies: false,
            drop_lorem_ipsum: false,
            ..C4Options::default()
        };
        assert!(!C4::new(&off).phrases_of("javascript").javascript);
    }
}
