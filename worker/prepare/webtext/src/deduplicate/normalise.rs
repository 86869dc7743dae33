//! A text as it is compared: without case, marks, values of numbers, accents and layout.
//!
//! These are the steps of datatrove 0.9.0's `simplify_text` with its defaults, in its order:
//!
//! 1. Letters become lower case.
//! 2. A number becomes `0`: decimal digits of any script, also with one of `. , ، ٫ ⎖ ⎗ ⎘` and more digits behind it. So `3.5` and
//!    `1,000` are one number, and `1.2.3` is two.
//! 3. Punctuation of ASCII, 34 marks beyond it, and control characters become spaces. Other marks are kept.
//! 4. White space between words becomes one space, and none is left at the ends.
//! 5. Characters are decomposed (Unicode's form NFD), and accents and other marks without a width of their own (Mn) are removed.
//!
//! Steps do not look at what later ones make: an accent alone between two spaces leaves both of them. Names of weekdays and months
//! stay. Classes of characters are those of the Unicode version that the crates here have. Of the characters that Python 3.11 knows
//! (Unicode 14), all are normalised as datatrove does, except U+1171E, which is another kind of mark since.

use icu_normalizer::DecomposingNormalizerBorrowed;

use crate::clean::text::{is_space, strip};
use crate::clean::unicode::{DIGIT, NONSPACING_MARK};

/// Version of what documents are compared by: these steps, the words of [`English`](crate::clean::english::English), what is
/// [`comparable`](crate::deduplicate::url::comparable) of a URL, and the permutations of a seed. Files of hashes state it, and those of
/// another version are refused.
pub const TEXT_RULES: u32 = 1;

/// Normalises one text after the other, in memory that is used again.
#[derive(Debug, Default)]
pub struct Normaliser {
    /// The text after step 4.
    spaced: String,
    /// The text after step 5, where there is something to do.
    plain: String,
}

impl Normaliser {
    /// Returns the normalised text. It is empty if the text has nothing but marks and spaces.
    pub fn normalise(&mut self, text: &str) -> &str {
        self.spaced.clear();
        let mut words = Words { text: &mut self.spaced, number: Number::Outside, has_gap: false };
        if text.contains('Σ') {
            // The one letter whose lower case depends on its place in the word.
            text.to_lowercase().chars().for_each(|c| words.put(c));
        } else {
            for c in text.chars() {
                if c.is_ascii() {
                    words.put(c.to_ascii_lowercase());
                } else {
                    c.to_lowercase().for_each(|c| words.put(c));
                }
            }
        }
        words.end();
        if self.spaced.is_ascii() {
            return &self.spaced;
        }
        self.plain.clear();
        let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize_iter(self.spaced.chars());
        self.plain.extend(decomposed.filter(|c| !NONSPACING_MARK.contains(*c)));
        strip(&self.plain)
    }
}

/// Steps 2 to 4, for one character after the other.
struct Words<'t> {
    text: &'t mut String,
    number: Number,
    /// Whether there is white space between what was written last and what comes.
    has_gap: bool,
}

/// Place in a number.
#[derive(Clone, Copy)]
enum Number {
    Outside,
    Whole,
    /// Behind a separator, which belongs to the number if a digit comes.
    Separated(char),
    Fraction,
}

impl Words<'_> {
    fn put(&mut self, c: char) {
        match (self.number, DIGIT.contains(c)) {
            (Number::Outside, true) => {
                self.write('0');
                self.number = Number::Whole;
            }
            (Number::Whole | Number::Fraction, true) => {}
            (Number::Separated(_), true) => self.number = Number::Fraction,
            (Number::Whole, false) if is_separator(c) => self.number = Number::Separated(c),
            (_, false) => {
                self.end();
                self.write(c);
            }
        }
    }

    /// Ends a number, if there is one.
    fn end(&mut self) {
        if let Number::Separated(separator) = self.number {
            self.write(separator);
        }
        self.number = Number::Outside;
    }

    fn write(&mut self, c: char) {
        if is_gap(c) {
            self.has_gap = true;
            return;
        }
        if self.has_gap && !self.text.is_empty() {
            self.text.push(' ');
        }
        self.has_gap = false;
        self.text.push(c);
    }
}

/// datatrove, `utils/text.py`: `NUMBERS_PATTERN`.
fn is_separator(c: char) -> bool {
    matches!(c, '.' | ',' | '،' | '٫' | '⎖' | '⎗' | '⎘')
}

/// Marks beyond ASCII that become spaces, sorted. datatrove, `utils/text.py`: `PUNCTUATION`.
const MARKS: [char; 34] = [
    '«', '´', '»', '–', '—', '’', '“', '”', '„', '…', '∶', '━', '►', '、', '。', '〈', '〉', '《', '》', '「', '」',
    '【', '】', '！', '％', '（', '）', '，', '．', '１', '：', '；', '？', '～',
];

/// Returns whether a character is white space or becomes it.
fn is_gap(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_alphanumeric();
    }
    matches!(c, '\u{80}'..='\u{9f}') || MARKS.binary_search(&c).is_ok() || is_space(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(text: &str) -> String {
        Normaliser::default().normalise(text).to_owned()
    }

    #[test]
    fn case_marks_numbers_accents_and_layout_are_left_out() {
        for (text, expected) in [
            ("  The CAFÉ,\r\n(no. 12)  costs $3.50! ", "the cafe no 0 costs 0"),
            ("1,000.50 is two numbers; 4..5, 6. and .7 too", "0 0 is two numbers 0 0 0 and 0 too"),
            ("١٢٫٥ and 7⎗", "0 and 0⎗"),
            ("don’t “quote” it…", "don t quote it"),
            ("ΟΔΟΣ Σ", "οδος σ"),
            ("İ \u{301} x", "i  x"),
            ("\u{301}\t", ""),
            ("... --- !!!", ""),
            ("", ""),
        ] {
            assert_eq!(normal(text), expected, "{text:?}");
        }
    }

    #[test]
    fn marks_are_sorted() {
        assert!(MARKS.is_sorted());
    }

    proptest! {
        #[test]
        fn any_text_is_normalised_without_capitals_marks_and_spaces_at_its_ends(text in any::<String>()) {
            let normal = normal(&text);
            prop_assert_eq!(strip(&normal), &normal);
            prop_assert!(!normal.contains(|c: char| NONSPACING_MARK.contains(c) || (DIGIT.contains(c) && c != '0')));
            prop_assert!(!normal.contains(|c: char| c.is_ascii_uppercase() || (c.is_ascii_control())));
        }

        #[test]
        fn what_is_between_words_makes_no_difference(words in prop::collection::vec("[a-zé]{1,5}|[0-9]{1,3}", 0..9), gap in "[ \t\r\n!?(—]{1,4}") {
            let (one, other) = (words.join(" "), words.join(&gap).to_uppercase());
            prop_assert_eq!(normal(&one), normal(&format!("{gap}{other}{gap}")));
        }

        #[test]
        fn memory_that_is_used_again_changes_nothing(texts in prop::collection::vec("\\PC{0,20}", 0..5)) {
            let mut normaliser = Normaliser::default();
            for text in &texts {
                prop_assert_eq!(normaliser.normalise(text), normal(text));
            }
        }
    }
}
