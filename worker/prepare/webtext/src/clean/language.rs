//! Language of a document, by a detector behind a trait.
//!
//! docs/webtext.md has the measurement by which the detector was chosen.

use std::borrow::Cow;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::clean::checks::{Checks, Limit, share};
use crate::clean::rule::Rule;
use crate::clean::unicode::{LATIN, LETTER};

/// Languages that are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LanguageOptions {
    /// Languages that are kept, by ISO 639-3: `eng`. Empty for all.
    pub kept: Vec<String>,
    /// How sure the detector has to be: more than this, from 0 to below 1. Default 0.65, as in FineWeb, whose detector has another
    /// scale.
    pub min_confidence: f64,
}

impl Default for LanguageOptions {
    fn default() -> Self {
        LanguageOptions { kept: vec!["eng".to_owned()], min_confidence: 0.65 }
    }
}

/// A language, and how sure a detector is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detected {
    /// ISO 639-3.
    pub language: Cow<'static, str>,
    /// From 0 to 1.
    pub confidence: f64,
}

/// Tells the language of a text.
pub trait Detect: Send + Sync {
    /// Returns the likeliest language. Returns `None` for a text without letters, for example.
    fn detect(&self, text: &str) -> Option<Detected>;
}

/// The detector of the crate `whatlang`: trigrams of 70 languages.
///
/// It takes the script of most letters, and many a page in Chinese or Japanese has more Latin letters than others: names, addresses,
/// code. So for a language in Latin script, the confidence is multiplied by the share of letters that are Latin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whatlang;

/// Bytes of a text that are looked at: more do not change what is found.
const LOOKED_AT: usize = 4096;

impl Detect for Whatlang {
    fn detect(&self, text: &str) -> Option<Detected> {
        let text = &text[..text.floor_char_boundary(LOOKED_AT)];
        let found = whatlang::detect(text)?;
        let confidence = if found.confidence().is_finite() { found.confidence().clamp(0.0, 1.0) } else { 0.0 };
        let confidence = if found.script() == whatlang::Script::Latin { confidence * latin(text) } else { confidence };
        Some(Detected { language: Cow::Borrowed(found.lang().code()), confidence })
    }
}

/// Share of letters that are Latin.
fn latin(text: &str) -> f64 {
    let (mut letters, mut latin) = (0, 0);
    for c in text.chars() {
        if c.is_ascii() {
            let is_letter = usize::from(c.is_ascii_alphabetic());
            (letters, latin) = (letters + is_letter, latin + is_letter);
        } else if LETTER.contains(c) {
            letters += 1;
            latin += usize::from(LATIN.contains(c));
        }
    }
    share(latin, letters)
}

pub(crate) fn check(
    options: &LanguageOptions,
    text: &str,
    detector: &dyn Detect,
    (found, checks): (&mut Option<Detected>, &mut Checks),
) -> ControlFlow<()> {
    if options.kept.is_empty() {
        return ControlFlow::Continue(());
    }
    *found = detector.detect(text);
    let confidence = match found {
        Some(found) if options.kept.iter().any(|kept| *kept == found.language) => found.confidence,
        _ => 0.0,
    };
    let confidence = if confidence.is_finite() { confidence } else { 0.0 };
    checks.check(Rule::Language, Limit::Above(options.min_confidence), confidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_is_told_from_its_neighbours() {
        let detect = |text| Whatlang.detect(text).map(|found| found.language);
        let english =
            "The keeper of the old lighthouse wrote a letter to her sister in the evening, before the rain came.";
        let german =
            "Der Wärter des alten Leuchtturms schrieb am Abend einen Brief an seine Schwester, bevor der Regen kam.";
        let dutch = "De wachter van de oude vuurtoren schreef 's avonds een brief aan zijn zus, voordat de regen kwam.";
        assert_eq!(detect(english).as_deref(), Some("eng"));
        assert_eq!(detect(german).as_deref(), Some("deu"));
        assert_eq!(detect(dutch).as_deref(), Some("nld"));
        let names = "Mozilla Firefox と Thunderbird は GNU/Linux で使えるソフトウェアです。".repeat(9);
        assert!(Whatlang.detect(&names).is_none_or(|found| found.language != "eng" || found.confidence < 0.6));
        assert_eq!(detect("12 34 ..."), None);
        assert_eq!(detect(""), None);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert!(Whatlang.detect(&"é".repeat(LOOKED_AT)).is_some());
        assert!(Whatlang.detect(&format!("a{}", "é".repeat(LOOKED_AT))).is_some());
    }
}
