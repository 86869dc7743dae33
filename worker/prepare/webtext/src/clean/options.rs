//! What rules there are for a run, with two sets to begin from, and the bounds of all values.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clean::address::AddressOptions;
use crate::clean::c4::C4Options;
use crate::clean::fineweb::FinewebOptions;
use crate::clean::language::LanguageOptions;
use crate::clean::length::LengthOptions;
use crate::clean::normalise::NormaliseOptions;
use crate::clean::quality::QualityOptions;
use crate::clean::repetition::RepetitionOptions;

/// A set of rules by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Set {
    /// [`CleanOptions::fineweb`].
    #[default]
    Fineweb,
    /// [`CleanOptions::paper`].
    Paper,
}

impl Set {
    /// Returns the rules of the set.
    pub fn options(self) -> CleanOptions {
        match self {
            Set::Fineweb => CleanOptions::fineweb(),
            Set::Paper => CleanOptions::paper(),
        }
    }
}

/// Longest document by default. Rules need up to 60 times its length in memory.
const DOCUMENT_BYTES: usize = 2 << 20;

/// All rules. The default is [`CleanOptions::fineweb`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CleanOptions {
    /// Longest document to which rules are applied; a longer one is dropped. Default 2 MiB. 0 for any length.
    pub document_bytes: usize,
    /// What of a text is normalised first.
    pub normalise: NormaliseOptions,
    /// Hosts.
    pub address: AddressOptions,
    /// Minimum length.
    pub length: LengthOptions,
    /// Languages.
    pub language: LanguageOptions,
    /// Gopher's repetition rules.
    pub repetition: RepetitionOptions,
    /// Gopher's quality rules.
    pub quality: QualityOptions,
    /// C4's rules.
    pub c4: C4Options,
    /// FineWeb's own rules.
    pub fineweb: FinewebOptions,
}

impl Default for CleanOptions {
    fn default() -> Self {
        CleanOptions {
            document_bytes: DOCUMENT_BYTES,
            normalise: NormaliseOptions::default(),
            address: AddressOptions::default(),
            length: LengthOptions::default(),
            language: LanguageOptions::default(),
            repetition: RepetitionOptions::default(),
            quality: QualityOptions::default(),
            c4: C4Options::default(),
            fineweb: FinewebOptions::default(),
        }
    }
}

impl CleanOptions {
    /// FineWeb's rules and thresholds (datatrove, `examples/fineweb.py`): English, Gopher's, C4's without the rule about the ends of
    /// lines, FineWeb's. Nothing is normalised.
    pub fn fineweb() -> Self {
        CleanOptions::default()
    }

    /// A guess at what the GPT-2 paper did to WebText, of which it says "de-duplication and some heuristic based cleaning", that
    /// Wikipedia was removed, and that it tried for English.
    ///
    /// - 96 words at least: OpenWebText's recreation drops documents below 128 tokens, which is about as many.
    /// - English by the detector, without a limit for how sure it is.
    /// - No host at or below `wikipedia.org`.
    /// - Line ends, control characters and byte order marks are normalised, as text extractors do.
    ///
    /// No rule of Gopher, C4 or FineWeb: they are later than the paper.
    pub fn paper() -> Self {
        CleanOptions {
            document_bytes: DOCUMENT_BYTES,
            normalise: NormaliseOptions::ALL,
            address: AddressOptions { excluded_hosts: vec!["wikipedia.org".to_owned()] },
            length: LengthOptions { min_characters: 0, min_words: 96 },
            language: LanguageOptions { min_confidence: 0.0, ..LanguageOptions::default() },
            repetition: RepetitionOptions { enabled: false, ..RepetitionOptions::default() },
            quality: QualityOptions { enabled: false, ..QualityOptions::default() },
            c4: C4Options { enabled: false, ..C4Options::default() },
            fineweb: FinewebOptions { enabled: false, ..FinewebOptions::default() },
        }
    }

    /// Returns options with every rule switched off, to switch some on.
    pub fn off() -> Self {
        CleanOptions {
            document_bytes: 0,
            normalise: NormaliseOptions::default(),
            address: AddressOptions::default(),
            length: LengthOptions::default(),
            language: LanguageOptions { kept: Vec::new(), ..LanguageOptions::default() },
            ..CleanOptions::paper()
        }
    }

    /// Checks the bounds of all values.
    ///
    /// # Errors
    /// Returns all faults.
    pub fn check(&self) -> Result<(), OptionsError> {
        let mut faults = Faults::default();
        let language = &self.language;
        faults.below_one("language.min_confidence", language.min_confidence);
        for (at, code) in language.kept.iter().enumerate() {
            let good = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_lowercase());
            faults.unless(good, (format!("language.kept[{at}]"), format!("{code:?}")), CODE);
        }
        for (at, host) in self.address.excluded_hosts.iter().enumerate() {
            let good = !host.is_empty() && !host.starts_with('.') && !host.contains(['/', ':', ' ']);
            faults.unless(good, (format!("address.excluded_hosts[{at}]"), format!("{host:?}")), HOST);
        }
        let repetition = &self.repetition;
        faults.share("repetition.duplicate_paragraphs", repetition.duplicate_paragraphs);
        faults.share("repetition.duplicate_paragraph_characters", repetition.duplicate_paragraph_characters);
        faults.share("repetition.duplicate_lines", repetition.duplicate_lines);
        faults.share("repetition.duplicate_line_characters", repetition.duplicate_line_characters);
        repetition.top_grams.iter().for_each(|limit| faults.share("repetition.top_grams", *limit));
        repetition.duplicate_grams.iter().for_each(|limit| faults.share("repetition.duplicate_grams", *limit));
        self.check_quality(&mut faults);
        let fineweb = &self.fineweb;
        faults.share("fineweb.min_punctuated_lines", fineweb.min_punctuated_lines);
        faults.share("fineweb.max_short_lines", fineweb.max_short_lines);
        faults.share("fineweb.max_duplicate_characters", fineweb.max_duplicate_characters);
        faults.number("fineweb.max_line_breaks", fineweb.max_line_breaks);
        if faults.0.is_empty() { Ok(()) } else { Err(OptionsError { faults: faults.0 }) }
    }

    fn check_quality(&self, faults: &mut Faults) {
        let quality = &self.quality;
        faults.number("quality.min_mean_word_length", quality.min_mean_word_length);
        faults.number("quality.max_mean_word_length", quality.max_mean_word_length);
        faults.number("quality.max_hashes", quality.max_hashes);
        faults.number("quality.max_ellipses", quality.max_ellipses);
        faults.share("quality.max_bullet_lines", quality.max_bullet_lines);
        faults.share("quality.max_ellipsis_lines", quality.max_ellipsis_lines);
        faults.share("quality.min_alphabetic_words", quality.min_alphabetic_words);
        let (least, most) = (quality.min_mean_word_length, quality.max_mean_word_length);
        let value = (String::from("quality.max_mean_word_length"), most.to_string());
        faults.unless(most == 0.0 || least <= most, value, ABOVE_LEAST);
        let (least, most) = (quality.min_words, quality.max_words);
        let value = (String::from("quality.max_words"), most.to_string());
        faults.unless(most == 0 || least <= most, value, ABOVE_LEAST);
        let words = quality.stop_words.len();
        let value = (String::from("quality.min_stop_words"), quality.min_stop_words.to_string());
        faults.unless(quality.min_stop_words <= words, value, STOP_WORDS);
    }
}

/// What a value has to be, and what to do.
type Expected = (&'static str, &'static str);
const SHARE: Expected = ("a share from 0 to 1", "write 0.3 for 30 %, or 0 to switch the rule off");
const NUMBER: Expected = ("a number of at least 0", "write 0 to switch the rule off");
const BELOW_ONE: Expected = ("from 0 to below 1", "write 0.65 as FineWeb has it, or 0 for any confidence");
const CODE: Expected =
    ("three lower-case letters of ISO 639-3", "write \"eng\" for English, or leave the list empty for all");
const HOST: Expected =
    ("a host without scheme, port or path", "write \"wikipedia.org\", which is for all hosts below it too");
const ABOVE_LEAST: Expected =
    ("at least the minimum beside it", "raise it, lower the minimum, or write 0 for no maximum");
const STOP_WORDS: Expected = ("at most as many as quality.stop_words has", "lower it, or name more stop words");

/// A value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its key, below the section of the rules.
    pub key: String,
    /// The value.
    pub value: String,
    /// What is expected.
    pub expected: &'static str,
    /// What to do.
    pub hint: &'static str,
}

/// All values that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct OptionsError {
    /// Each of them.
    pub faults: Vec<Fault>,
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.faults.iter().enumerate() {
            let Fault { key, value, expected, hint } = fault;
            let end = if at + 1 < self.faults.len() { "\n" } else { "" };
            write!(f, "{key} = {value}: expected {expected}; {hint}{end}")?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn unless(&mut self, good: bool, (key, value): (String, String), (expected, hint): Expected) {
        if !good {
            self.0.push(Fault { key, value, expected, hint });
        }
    }

    fn share(&mut self, key: &str, value: f64) {
        self.unless((0.0..=1.0).contains(&value), (key.to_owned(), value.to_string()), SHARE);
    }

    fn number(&mut self, key: &str, value: f64) {
        self.unless(value >= 0.0 && value.is_finite(), (key.to_owned(), value.to_string()), NUMBER);
    }

    fn below_one(&mut self, key: &str, value: f64) {
        self.unless((0.0..1.0).contains(&value), (key.to_owned(), value.to_string()), BELOW_ONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_are_within_their_bounds() {
        for set in [Set::Fineweb, Set::Paper] {
            set.options().check().unwrap();
        }
        CleanOptions::off().check().unwrap();
    }

    #[test]
    fn all_faults_are_told_at_once_with_key_value_and_hint() {
        let mut options = CleanOptions::fineweb();
        options.repetition.duplicate_lines = 30.0;
        options.quality.max_hashes = f64::NAN;
        options.quality.min_words = 200_000;
        options.quality.min_stop_words = 9;
        options.quality.min_mean_word_length = 11.0;
        options.language.min_confidence = 1.0;
        options.language.kept.push("en".to_owned());
        options.address.excluded_hosts.push("https://wikipedia.org/".to_owned());
        options.fineweb.max_line_breaks = -1.0;
        let error = options.check().unwrap_err();
        let keys: Vec<&str> = error.faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "language.min_confidence",
                "language.kept[1]",
                "address.excluded_hosts[0]",
                "repetition.duplicate_lines",
                "quality.max_hashes",
                "quality.max_mean_word_length",
                "quality.max_words",
                "quality.min_stop_words",
                "fineweb.max_line_breaks",
            ]
        );
        let text = error.to_string();
        let line = "repetition.duplicate_lines = 30: expected a share from 0 to 1; write 0.3 for 30 %, or 0 to switch the rule off";
        assert_eq!(text.lines().nth(3), Some(line));
        assert_eq!(text.lines().count(), error.faults.len());
    }

    #[test]
    fn options_are_read_with_defaults_and_unknown_keys_are_refused() {
        let options: CleanOptions =
            serde_json::from_str(r#"{"quality": {"min_words": 10}, "c4": {"enabled": false}}"#).unwrap();
        let mut expected = CleanOptions::fineweb();
        expected.quality.min_words = 10;
        expected.c4.enabled = false;
        assert_eq!(options, expected);
        let error = serde_json::from_str::<CleanOptions>(r#"{"quality": {"minimum": 10}}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `minimum`"), "{error}");
        assert_eq!(serde_json::from_str::<Set>(r#""paper""#).unwrap(), Set::Paper);
    }
}
