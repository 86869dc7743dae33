//! Names of the rules.

use serde::Serialize;

macro_rules! rules {
    ($($variant:ident $name:literal $reason:expr, $what:literal;)*) => {
        /// A rule, in the order in which a document meets them.
        ///
        /// Two of C4's may change places: of the curly bracket and lorem ipsum, the one that a document has first is checked first.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule {
            $(#[doc = $what] $variant,)*
        }

        impl Rule {
            /// All rules.
            pub const ALL: &[Rule] = &[$(Rule::$variant),*];

            /// Returns the name: `section.rule`, or `document_bytes`, which belongs to no section.
            pub fn name(self) -> &'static str {
                match self { $(Rule::$variant => $name,)* }
            }

            /// Returns what is measured, as a phrase.
            pub fn what(self) -> &'static str {
                match self { $(Rule::$variant => $what,)* }
            }

            /// Returns the reason that datatrove gives where it has the rule.
            pub fn datatrove_reason(self) -> Option<&'static str> {
                match self { $(Rule::$variant => $reason,)* }
            }
        }
    };
}

rules! {
    DocumentBytes "document_bytes" None, "Bytes of the document; no other rule was applied";
    ExcludedHost "address.excluded_host" None, "1 if the host is one of those that are left out";
    Characters "length.characters" None, "Characters";
    Words "length.words" None, "Words";
    Language "language.confidence" None, "How sure the detector is of a language that is kept; 0 for any other language";
    DuplicateParagraphs "repetition.duplicate_paragraphs" Some("dup_para_frac"), "Share of paragraphs that came before";
    DuplicateParagraphCharacters "repetition.duplicate_paragraph_characters" Some("dup_para_char_frac"), "Share of characters in paragraphs that came before";
    DuplicateLines "repetition.duplicate_lines" Some("dup_line_frac"), "Share of lines that came before";
    DuplicateLineCharacters "repetition.duplicate_line_characters" Some("dup_line_char_frac"), "Share of characters in lines that came before";
    Top2Grams "repetition.top_2_grams" Some("top_2_gram"), "Share of characters in the most frequent 2-gram";
    Top3Grams "repetition.top_3_grams" Some("top_3_gram"), "Share of characters in the most frequent 3-gram";
    Top4Grams "repetition.top_4_grams" Some("top_4_gram"), "Share of characters in the most frequent 4-gram";
    Duplicate5Grams "repetition.duplicate_5_grams" Some("duplicated_5_n_grams"), "Share of characters in 5-grams that came before";
    Duplicate6Grams "repetition.duplicate_6_grams" Some("duplicated_6_n_grams"), "Share of characters in 6-grams that came before";
    Duplicate7Grams "repetition.duplicate_7_grams" Some("duplicated_7_n_grams"), "Share of characters in 7-grams that came before";
    Duplicate8Grams "repetition.duplicate_8_grams" Some("duplicated_8_n_grams"), "Share of characters in 8-grams that came before";
    Duplicate9Grams "repetition.duplicate_9_grams" Some("duplicated_9_n_grams"), "Share of characters in 9-grams that came before";
    Duplicate10Grams "repetition.duplicate_10_grams" Some("duplicated_10_n_grams"), "Share of characters in 10-grams that came before";
    WordsMin "quality.words_min" Some("gopher_short_doc"), "Words that are not only marks";
    WordsMax "quality.words_max" Some("gopher_long_doc"), "Words that are not only marks";
    MeanWordLengthMin "quality.mean_word_length_min" Some("gopher_below_avg_threshold"), "Mean length in characters of words that are not only marks";
    MeanWordLengthMax "quality.mean_word_length_max" Some("gopher_above_avg_threshold"), "Mean length in characters of words that are not only marks";
    Hashes "quality.hashes" Some("gopher_too_many_hashes"), "Hash signs per word";
    Ellipses "quality.ellipses" Some("gopher_too_many_ellipsis"), "Ellipses per word";
    BulletLines "quality.bullet_lines" Some("gopher_too_many_bullets"), "Share of lines that begin with a bullet";
    EllipsisLines "quality.ellipsis_lines" Some("gopher_too_many_end_ellipsis"), "Share of lines that end in an ellipsis";
    AlphabeticWords "quality.alphabetic_words" Some("gopher_below_alpha_threshold"), "Share of words that have a letter";
    StopWords "quality.stop_words" Some("gopher_enough_stop_words"), "Different stop words";
    LoremIpsum "c4.lorem_ipsum" Some("lorem_ipsum"), "Lines with lorem ipsum";
    CurlyBracket "c4.curly_bracket" Some("curly_bracket"), "Lines with a curly bracket";
    Sentences "c4.sentences" Some("too_few_sentences"), "Sentences in the lines that are left";
    Lines "fineweb.lines" Some("empty"), "Lines that are not blank";
    PunctuatedLines "fineweb.punctuated_lines" Some("line_punct_ratio"), "Share of lines that end in punctuation";
    ShortLines "fineweb.short_lines" Some("short_line_ratio"), "Share of short lines";
    DuplicateCharacters "fineweb.duplicate_characters" Some("char_dup_ratio"), "Share of characters in lines that came before";
    LineBreaks "fineweb.line_breaks" Some("list_ratio"), "Line breaks per word";
}

impl Serialize for Rule {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_names_of_their_own() {
        for (at, rule) in Rule::ALL.iter().enumerate() {
            assert!(rule.name().contains('.') || *rule == Rule::DocumentBytes, "{rule}");
            assert!(!rule.what().is_empty(), "{rule}");
            assert!(Rule::ALL[..at].iter().all(|other| other.name() != rule.name()), "{rule}");
        }
    }
}
