//! Measures: their names, formulas and directions. A name says by what a likelihood is divided.

/// What is computed from the scores of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Share of items whose last word is the likeliest, or whose right choice has the highest log-likelihood.
    Accuracy,
    /// Share of items whose last word is the likeliest if stop words are barred.
    AccuracyStopWordsBarred,
    /// Share of items whose right choice has the highest log-likelihood per character.
    AccuracyPerCharacter,
    /// The same per byte.
    AccuracyPerByte,
    /// The same per token.
    AccuracyPerToken,
    /// Perplexity per last token of an item.
    LastTokenPerplexity,
    /// Perplexity per last word of an item.
    LastWordPerplexity,
    /// Perplexity per word of the original text.
    WordPerplexity,
    /// Perplexity per byte of the original text.
    BytePerplexity,
    /// Perplexity per token.
    TokenPerplexity,
    /// Bits per byte of the original text.
    BitsPerByte,
    /// Bits per character of the original text.
    BitsPerCharacter,
}

/// Which values of a measure are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Higher ones.
    Higher,
    /// Lower ones.
    Lower,
}

impl Measure {
    /// Returns the name, as in tables and files. Measures of texts also say how the text was cut:
    /// [`Cut::in_name`](crate::tasks::Cut::in_name).
    pub fn name(self) -> &'static str {
        match self {
            Measure::Accuracy => "acc",
            Measure::AccuracyStopWordsBarred => "acc_stop_words_barred",
            Measure::AccuracyPerCharacter => "acc_norm",
            Measure::AccuracyPerByte => "acc_bytes",
            Measure::AccuracyPerToken => "acc_norm_tokens",
            Measure::LastTokenPerplexity => "last_token_perplexity",
            Measure::LastWordPerplexity => "last_word_perplexity",
            Measure::WordPerplexity => "word_perplexity",
            Measure::BytePerplexity => "byte_perplexity",
            Measure::TokenPerplexity => "token_perplexity",
            Measure::BitsPerByte => "bits_per_byte",
            Measure::BitsPerCharacter => "bits_per_character",
        }
    }

    /// Returns the formula, with LL for log-likelihoods in nats.
    pub fn formula(self) -> &'static str {
        match self {
            Measure::Accuracy => {
                "share of items in which every scored token is the likeliest, or argmax LL is the right choice"
            }
            Measure::AccuracyStopWordsBarred => {
                "share of items in which every scored token is the likeliest, stop words aside"
            }
            Measure::AccuracyPerCharacter => {
                "share of items in which argmax LL / characters of the choice is the right choice"
            }
            Measure::AccuracyPerByte => "share of items in which argmax LL / bytes of the choice is the right choice",
            Measure::AccuracyPerToken => "share of items in which argmax LL / tokens of the choice is the right choice",
            Measure::LastTokenPerplexity => "exp(-sum LL / items), LL of the last token",
            Measure::LastWordPerplexity => "exp(-sum LL / items), LL of all tokens of the last word",
            Measure::WordPerplexity => "exp(-sum LL / words of the original text)",
            Measure::BytePerplexity => "exp(-sum LL / bytes of the original text)",
            Measure::TokenPerplexity => "exp(-sum LL / tokens)",
            Measure::BitsPerByte => "-sum LL / (ln 2 x bytes of the original text)",
            Measure::BitsPerCharacter => "-sum LL / (ln 2 x characters of the original text)",
        }
    }

    /// Returns which values are better.
    pub fn better(self) -> Direction {
        match self {
            Measure::Accuracy
            | Measure::AccuracyStopWordsBarred
            | Measure::AccuracyPerCharacter
            | Measure::AccuracyPerByte
            | Measure::AccuracyPerToken => Direction::Higher,
            _ => Direction::Lower,
        }
    }

    /// Returns whether the value is a share, which tables print as a percentage.
    pub fn is_share(self) -> bool {
        self.better() == Direction::Higher
    }
}
