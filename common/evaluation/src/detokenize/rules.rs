//! What the rules of a corpus are, how they split a run without spaces, and which words they let be joined.

use std::collections::HashSet;

/// How a corpus separates words from punctuation.
#[derive(Debug)]
pub struct Rules {
    /// Ends of words that stand apart in the corpus, such as `'s`.
    pub suffixes: &'static [&'static str],
    /// Punctuation between parts of a word.
    pub infixes: &'static [Infix],
    /// Punctuation that has no space behind it.
    pub openers: &'static [&'static str],
    /// Punctuation that has no space in front of it.
    pub closers: &'static [&'static str],
    /// Signs that have no space behind them in front of a digit.
    pub before_digits: &'static [&'static str],
    /// Signs that have no space in front of them behind a digit.
    pub after_digits: &'static [&'static str],
    /// Marks in pairs, opening and closing, each as the corpus has it and as it is written.
    pub pairs: &'static [[(&'static str, &'static str); 2]],
}

/// Punctuation between parts of a word.
#[derive(Debug)]
pub struct Infix {
    /// The corpus's word for it, such as `@-@`.
    pub word: &'static str,
    /// What is written, such as `-`.
    pub written: char,
    /// Whether it counts between digits only.
    pub digits_only: bool,
}

/// Which quotations are open at a place in a line.
#[derive(Debug, Clone, Default)]
pub struct Quotes {
    double: bool,
    single: bool,
    /// Whether the last word was a mark that opened a quotation.
    just_opened: bool,
}

impl Quotes {
    /// Goes on behind `word`, which follows `left`.
    pub(super) fn see(&mut self, left: Option<&str>, word: &str) {
        self.just_opened = match word {
            "\"" => {
                self.double = !self.double;
                self.double
            }
            "'" if !self.is_possessive(left) => {
                self.single = !self.single;
                self.single
            }
            _ => false,
        };
    }

    /// Returns whether an apostrophe behind `left` is a possessive: behind an s, where no quotation is open.
    fn is_possessive(&self, left: Option<&str>) -> bool {
        !self.single && left.is_some_and(|left| left.ends_with('s'))
    }
}

/// Returns whether a suffix can follow a character: a letter, a digit, or the end of `<unk>`.
fn ends_a_word(character: char) -> bool {
    character.is_alphanumeric() || character == '>'
}

impl Rules {
    /// Returns the infix that the corpus writes as `word`.
    pub(super) fn infix(&self, word: &str) -> Option<&Infix> {
        self.infixes.iter().find(|infix| infix.word == word)
    }

    /// Returns how a word of the corpus is written.
    pub(super) fn written<'a>(&self, word: &'a str) -> &'a str {
        self.pairs.iter().flatten().find(|(mark, _)| *mark == word).map_or(word, |(_, written)| written)
    }

    /// Returns whether people write `right` behind `left` without a space, unless it cannot be undone.
    pub(super) fn joins(&self, left: &str, right: &str, quotes: &Quotes) -> bool {
        let digit = |character: Option<char>| character.is_some_and(|c| c.is_ascii_digit());
        // Where opening and closing marks are different, they need not be counted.
        let mut pairs = self.pairs.iter().filter(|[open, close]| open.0 != close.0);
        if quotes.just_opened
            || self.openers.contains(&left)
            || pairs.any(|[open, close]| open.0 == left || close.0 == right)
        {
            return true;
        }
        match right {
            "\"" => return quotes.double,
            "'" => return quotes.single || quotes.is_possessive(Some(left)),
            _ => {}
        }
        self.closers.contains(&right)
            || self.suffixes.contains(&right) && left.ends_with(ends_a_word)
            || self.before_digits.contains(&left) && digit(right.chars().next())
            || self.after_digits.contains(&right) && digit(left.chars().next_back())
    }

    /// Splits a run without spaces into words of the corpus. A run of the lexicon is a word, and so is what is left of one when
    /// its punctuation is off.
    pub(super) fn split(&self, run: &str, lexicon: &HashSet<String>) -> Vec<String> {
        let (mut front, mut back) = (Vec::new(), Vec::new());
        let mut rest = run;
        while !lexicon.contains(rest)
            && let Some((word, after)) = self.front(rest)
        {
            front.push(word.to_owned());
            rest = after;
        }
        while !lexicon.contains(rest)
            && let Some((before, word)) = self.back(rest)
        {
            back.push(word.to_owned());
            rest = before;
        }
        if lexicon.contains(rest) {
            front.push(rest.to_owned())
        } else {
            self.split_inside(rest, &mut front)
        }
        front.extend(back.into_iter().rev());
        front
    }

    /// Takes punctuation off the front.
    fn front<'a>(&self, run: &'a str) -> Option<(&'a str, &'a str)> {
        let follows =
            |rest: &str, digit: bool| !rest.is_empty() && (!digit || rest.starts_with(|c: char| c.is_ascii_digit()));
        let plain = self.openers.iter().map(|mark| (*mark, *mark, false));
        let signs = self.before_digits.iter().map(|mark| (*mark, *mark, true));
        let quotes = self.pairs.iter().map(|[open, _]| (open.1, open.0, false));
        plain.chain(signs).chain(quotes).find_map(|(written, word, digit)| {
            let rest = run.strip_prefix(written)?;
            follows(rest, digit).then_some((word, rest))
        })
    }

    /// Takes punctuation or a suffix off the back.
    fn back<'a>(&self, run: &'a str) -> Option<(&'a str, &'a str)> {
        let plain = self.closers.iter().map(|mark| (*mark, *mark));
        let quotes = self.pairs.iter().map(|[_, close]| (close.1, close.0));
        let suffix = self.suffixes.iter().find_map(|suffix| {
            let before = run.strip_suffix(suffix)?;
            before.ends_with(ends_a_word).then_some((before, *suffix))
        });
        let sign = || {
            self.after_digits.iter().find_map(|sign| {
                let before = run.strip_suffix(sign)?;
                before.ends_with(|c: char| c.is_ascii_digit()).then_some((before, *sign))
            })
        };
        let mark = || {
            plain.chain(quotes).find_map(|(written, word)| {
                let before = run.strip_suffix(written)?;
                (!before.is_empty()).then_some((before, word))
            })
        };
        suffix.or_else(sign).or_else(mark)
    }

    /// Splits at infixes.
    fn split_inside(&self, run: &str, words: &mut Vec<String>) {
        let mut start = 0;
        let mut before = None;
        for (at, character) in run.char_indices() {
            let end = at + character.len_utf8();
            let after = run[end..].chars().next();
            let digits = [before, after].iter().all(|c| c.is_some_and(|c| c.is_ascii_digit()));
            let infix = self.infixes.iter().find(|infix| {
                infix.written == character && at > start && after.is_some() && (digits || !infix.digits_only)
            });
            if let Some(infix) = infix {
                words.extend([run[start..at].to_owned(), infix.word.to_owned()]);
                start = end;
            }
            before = Some(character);
        }
        words.push(run[start..].to_owned());
    }
}
