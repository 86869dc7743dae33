//! One document through all rules.

use std::borrow::Cow;
use std::ops::ControlFlow;

use crate::clean::c4::{C4, RemovedLines};
use crate::clean::checks::{Checks, Depth};
use crate::clean::english::English;
use crate::clean::language::{Detected, Whatlang};
use crate::clean::normalise::normalise;
use crate::clean::options::{CleanOptions, OptionsError};
use crate::clean::rule::Rule;
use crate::clean::split::Split;
use crate::clean::verdict::Verdict;
use crate::clean::words::Words;
use crate::clean::{address, fineweb, language, length, quality, repetition};

/// A document to be judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Document<'t> {
    /// Its text.
    pub text: &'t str,
    /// Where it comes from, if that is known.
    pub url: Option<&'t str>,
}

/// Judges documents. It keeps nothing of them, so one serves many threads.
pub struct Cleaner {
    options: CleanOptions,
    c4: C4,
    split: Box<dyn Split>,
}

impl Cleaner {
    /// Makes ready to judge, with [`English`] words and sentences and [`Whatlang`]'s languages.
    ///
    /// # Errors
    /// Returns all faults of the options.
    pub fn new(options: CleanOptions) -> Result<Self, OptionsError> {
        options.check()?;
        let c4 = C4::new(&options.c4);
        Ok(Cleaner { options, c4, split: Box::new(English::new()) })
    }

    /// Takes words and sentences from `split`.
    #[must_use]
    pub fn with_split(self, split: Box<dyn Split>) -> Self {
        Cleaner { split, ..self }
    }

    /// Returns the options.
    pub fn options(&self) -> &CleanOptions {
        &self.options
    }

    /// Judges a document.
    pub fn judge<'t>(&self, document: Document<'t>, depth: Depth) -> Verdict<'t> {
        let mut checks = Checks::new(depth);
        if self.is_too_long(document.text, &mut checks) {
            let text = Cow::Borrowed(document.text);
            return Verdict { checks: checks.made, text, ..Verdict::default() };
        }
        let (text, changes) = normalise(document.text, &self.options.normalise);
        let (mut language, mut removed) = (None, RemovedLines::default());
        let left = self.apply(&text, document.url, (&mut language, &mut removed, &mut checks));
        // A text without change is passed on without a copy.
        let text = match left {
            Some(left) if left != text => Cow::Owned(left),
            _ => text,
        };
        Verdict { checks: checks.made, language, changes, removed, text }
    }

    /// Returns whether a document is too long for the other rules, whose memory grows with its length. Records the check.
    fn is_too_long(&self, text: &str, checks: &mut Checks) -> bool {
        let limit = self.options.document_bytes;
        // No other rule follows one that is too long, at any depth.
        let _ = checks.at_most(Rule::DocumentBytes, limit as f64, || text.len() as f64);
        limit != 0 && text.len() > limit
    }

    /// Applies all rules, and returns the text if C4's have made another.
    fn apply(
        &self,
        text: &str,
        url: Option<&str>,
        (language, removed, checks): (&mut Option<Detected>, &mut RemovedLines, &mut Checks),
    ) -> Option<String> {
        let mut words = Words::of(text, &*self.split);
        let before = self.before_c4(&mut words, url, (language, checks));
        if before.is_break() {
            return None;
        }
        let mut left = None;
        if self.options.c4.enabled {
            match self.c4.check(text, &*self.split, (removed, checks)) {
                ControlFlow::Continue(kept) => left = kept,
                ControlFlow::Break(()) => return None,
            }
        }
        let mut words = match &left {
            Some(left) if left != text => Words::of(left, &*self.split),
            _ => words,
        };
        // Nothing comes after it that could be left out.
        let _ = fineweb::check(&self.options.fineweb, &mut words, checks);
        left
    }

    fn before_c4(
        &self,
        words: &mut Words<'_, '_>,
        url: Option<&str>,
        (found, checks): (&mut Option<Detected>, &mut Checks),
    ) -> ControlFlow<()> {
        let options = &self.options;
        address::check(&options.address, url, checks)?;
        length::check(&options.length, words, checks)?;
        language::check(&options.language, words.text(), &Whatlang, (found, checks))?;
        repetition::check(&options.repetition, words, checks)?;
        quality::check(&options.quality, words, checks)
    }
}
