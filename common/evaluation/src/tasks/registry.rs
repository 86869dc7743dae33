//! All tasks, by name.

use crate::data::{DataError, DataFile};
use crate::item::Item;
use crate::metrics::Measure;
use crate::tasks::{
    Cut, childrens_books, hellaswag, hutter, lambada, one_billion_word, penn_treebank, text, wikitext, wsc273,
};

/// A task.
#[derive(Debug)]
pub struct Task {
    /// Name, as in `--tasks`.
    pub name: &'static str,
    /// What is asked of the model, in a line.
    pub about: &'static str,
    /// What is scored, exactly.
    pub scored: &'static str,
    /// What is computed.
    pub measures: &'static [Measure],
    /// How texts are put together, for tasks of texts.
    pub cut: Option<Cut>,
    /// Whether other items can be put in front of an item as examples.
    pub allows_shots: bool,
    /// Where its data come from.
    pub source: Source,
    /// Returns the part of its official file that is the test text, for tasks of one whole text.
    pub test_text: fn(&[u8]) -> &[u8],
    /// Reads all items of its data file. [`Task::items`] reads those that are asked for.
    pub read: fn(&DataFile<'_>) -> Result<Vec<Item>, DataError>,
}

/// Where a task's data come from.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// Name of the file in the folder of evaluation data; none where the user names the file.
    pub file: Option<&'static str>,
    /// Where the official file is to be had.
    pub from: &'static str,
    /// SHA-256 of the official file, where it is known.
    pub sha256: Option<&'static str>,
}

const LAMBADA: Source = Source {
    file: Some("lambada_test.jsonl"),
    from: "https://openaipublic.blob.core.windows.net/gpt-2/data/lambada_test.jsonl",
    sha256: Some("4aa8d02cd17c719165fc8a7887fddd641f43fcafa4b1c806ca8abc31fabdb226"),
};
const HELLASWAG: Source = Source {
    file: Some("hellaswag_val.jsonl"),
    from: "https://raw.githubusercontent.com/rowanz/hellaswag/master/data/hellaswag_val.jsonl",
    sha256: Some("0aa3b88843990f3f10a97b9575c94d7b71fb2205240ba04ae4884d9e9c992588"),
};
const HELLASWAG_TEXT: Source = Source {
    file: Some("hellaswag_val_full.txt"),
    from: "hellaswag_val_full.txt.bz2 of https://github.com/klosax/hellaswag_text_data, unpacked",
    sha256: None,
};
const WSC: Source = Source {
    file: Some("WSCollection.xml"),
    from: "https://cs.nyu.edu/~davise/papers/WinogradSchemas/WSCollection.xml, or a file of JSON lines of the same schemas \
           under this name",
    sha256: None,
};
const CBT: &str = "CBTest.tgz of https://research.fb.com/downloads/babi (The Children's Book Test), folder CBTest/data";
const WIKITEXT2: Source = Source {
    file: Some("wiki.test.raw"),
    from: "wiki.test.raw of WikiText-2 or WikiText-103 (raw; their test texts are the same), Merity and others 2016; or \
           wiki.test.tokens under this name",
    sha256: None,
};

const LAMBADA_MEASURES: &[Measure] =
    &[Measure::Accuracy, Measure::AccuracyStopWordsBarred, Measure::LastWordPerplexity];
/// Measures of HellaSwag as lm-evaluation-harness scores it, whose figure is acc_norm.
const PER_CHARACTER_MEASURES: &[Measure] =
    &[Measure::AccuracyPerCharacter, Measure::Accuracy, Measure::AccuracyPerByte, Measure::AccuracyPerToken];
/// Measures of HellaSwag as llm.c scores it, whose figure is the mean per token.
const PER_TOKEN_MEASURES: &[Measure] =
    &[Measure::AccuracyPerToken, Measure::Accuracy, Measure::AccuracyPerCharacter, Measure::AccuracyPerByte];
const TEXT_MEASURES: &[Measure] =
    &[Measure::WordPerplexity, Measure::BytePerplexity, Measure::BitsPerByte, Measure::TokenPerplexity];

/// A task without texts of its own and without shots, to begin a definition with.
const NONE: Task = Task {
    name: "",
    about: "",
    scored: "",
    measures: &[],
    cut: None,
    allows_shots: false,
    source: Source { file: None, from: "", sha256: None },
    test_text: |content| content,
    read: text::plain,
};

/// All tasks.
pub static TASKS: &[Task] = &[
    Task {
        name: "lambada_openai_last_token",
        about: "LAMBADA, the last BPE token of a passage, OpenAI's preprocessing: the paper's figures",
        scored: "the last token of \"\\n\" + text.strip(), with “ and ” as \"",
        measures: &[Measure::Accuracy, Measure::AccuracyStopWordsBarred, Measure::LastTokenPerplexity],
        source: LAMBADA,
        read: lambada::openai_last_token,
        ..NONE
    },
    Task {
        name: "lambada_openai_last_word",
        about: "LAMBADA, the last word of a passage, OpenAI's preprocessing",
        scored: "the last word of \"\\n\" + text.strip(), with “ and ” as \", and the white space in front of it",
        measures: LAMBADA_MEASURES,
        source: LAMBADA,
        read: lambada::openai_last_word,
        ..NONE
    },
    Task {
        name: "lambada_harness",
        about: "LAMBADA, the last word of a passage, as lm-evaluation-harness (lambada_openai)",
        scored: "\" \" + what follows the last space of the text, after what precedes it",
        measures: LAMBADA_MEASURES,
        allows_shots: true,
        source: LAMBADA,
        read: lambada::harness,
        ..NONE
    },
    Task {
        name: "hellaswag_mean_token",
        about: "HellaSwag, raw context and endings, as llm.c and nanochat: acc_norm_tokens is their figure",
        scored: "\" \" + ending, after ctx",
        measures: PER_TOKEN_MEASURES,
        allows_shots: true,
        source: HELLASWAG,
        read: hellaswag::mean_token,
        ..NONE
    },
    Task {
        name: "hellaswag_harness",
        about: "HellaSwag as lm-evaluation-harness (hellaswag): acc_norm is its figure",
        scored: "\" \" + ending, after activity_label + \": \" + ctx_a + \" \" + ctx_b.capitalize(), without brackets",
        measures: PER_CHARACTER_MEASURES,
        allows_shots: true,
        source: HELLASWAG,
        read: hellaswag::harness,
        ..NONE
    },
    Task {
        name: "hellaswag_text",
        about: "HellaSwag from the six-line text form, cleaned as lm-evaluation-harness does",
        scored: "\" \" + ending, after the first line of an item, without brackets",
        measures: PER_CHARACTER_MEASURES,
        allows_shots: true,
        source: HELLASWAG_TEXT,
        read: hellaswag::text,
        ..NONE
    },
    Task {
        name: "wsc273_partial",
        about: "Winograd schemas, what follows the pronoun",
        scored: "what follows the pronoun, after the sentence up to it with the option in its place",
        measures: &[Measure::Accuracy],
        source: WSC,
        read: wsc273::partial,
        ..NONE
    },
    Task {
        name: "wsc273_harness",
        about: "Winograd schemas, what follows the pronoun, as lm-evaluation-harness (wsc273): with two spaces",
        scored: "a space and what follows the pronoun (which begins with one), after the sentence up to it with the option",
        measures: &[Measure::Accuracy],
        source: WSC,
        read: wsc273::harness,
        ..NONE
    },
    Task {
        name: "wsc273_full",
        about: "Winograd schemas, the whole sentence",
        scored: "the sentence with the option in the pronoun's place, after end-of-text",
        measures: &[Measure::Accuracy],
        source: WSC,
        read: wsc273::full,
        ..NONE
    },
    Task {
        name: "cbt_cn",
        about: "Children's Book Test, common nouns, validation set: the paper's figures",
        scored: "the choice and the rest of the sentence, after twenty sentences and the beginning, de-tokenized",
        measures: &[Measure::Accuracy],
        source: Source { file: Some("cbtest_CN_valid_2000ex.txt"), from: CBT, sha256: None },
        read: childrens_books::read,
        ..NONE
    },
    Task {
        name: "cbt_ne",
        about: "Children's Book Test, named entities, validation set: the paper's figures",
        scored: "the choice and the rest of the sentence, after twenty sentences and the beginning, de-tokenized",
        measures: &[Measure::Accuracy],
        source: Source { file: Some("cbtest_NE_valid_2000ex.txt"), from: CBT, sha256: None },
        read: childrens_books::read,
        ..NONE
    },
    Task {
        name: "wikitext2",
        about: "WikiText-2's test text, de-tokenized invertibly, per original word and line end",
        scored: "the text, de-tokenized; words of the original and ends of its lines count (245,569)",
        measures: TEXT_MEASURES,
        cut: Some(Cut::Whole),
        source: WIKITEXT2,
        read: wikitext::whole,
        ..NONE
    },
    Task {
        name: "wikitext103",
        about: "WikiText-103's test text, which is WikiText-2's: the same figures under the other name",
        scored: "as wikitext2",
        measures: TEXT_MEASURES,
        cut: Some(Cut::Whole),
        source: WIKITEXT2,
        read: wikitext::whole,
        ..NONE
    },
    Task {
        name: "wikitext2_harness",
        about: "WikiText-2's test text by pages, as lm-evaluation-harness (wikitext)",
        scored: "each page, with its de-tokenizer (not invertible); words are len(re.split(r\"\\s+\", page))",
        measures: &[Measure::WordPerplexity, Measure::BytePerplexity, Measure::BitsPerByte],
        cut: Some(Cut::Documents),
        source: WIKITEXT2,
        read: wikitext::pages,
        ..NONE
    },
    Task {
        name: "ptb",
        about: "Penn Treebank's test text, de-tokenized invertibly, per original word and line end",
        scored: "the text, de-tokenized; words of the original and ends of its lines count",
        measures: TEXT_MEASURES,
        cut: Some(Cut::Whole),
        source: Source {
            file: Some("ptb.test.txt"),
            from: "simple-examples.tgz of Mikolov's RNNLM toolkit, folder simple-examples/data",
            sha256: None,
        },
        read: penn_treebank::read,
        ..NONE
    },
    Task {
        name: "1bw",
        about: "One Billion Word's test sentences, de-tokenized invertibly, per original word and sentence end",
        scored: "each sentence, de-tokenized; words of the original and ends of sentences count",
        measures: TEXT_MEASURES,
        cut: Some(Cut::Documents),
        source: Source {
            file: Some("news.en.heldout-00000-of-00050"),
            from: "1-billion-word-language-modeling-benchmark-r13output.tar.gz of http://www.statmt.org/lm-benchmark, folder \
                   heldout-monolingual.tokenized.shuffled",
            sha256: None,
        },
        read: one_billion_word::read,
        ..NONE
    },
    Task {
        name: "enwik8",
        about: "The last 5,000,000 bytes of enwik8, as they are: bits per byte",
        scored: "the text",
        measures: &[Measure::BitsPerByte, Measure::BytePerplexity, Measure::TokenPerplexity],
        cut: Some(Cut::Whole),
        source: Source {
            file: Some("enwik8"),
            from: "http://mattmahoney.net/dc/enwik8.zip",
            sha256: Some("2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8"),
        },
        test_text: hutter::test_text,
        read: hutter::enwik8,
        ..NONE
    },
    Task {
        name: "text8",
        about: "The last 5,000,000 characters of text8, as they are: bits per character",
        scored: "the text",
        measures: &[Measure::BitsPerCharacter, Measure::TokenPerplexity],
        cut: Some(Cut::Whole),
        source: Source { file: Some("text8"), from: "http://mattmahoney.net/dc/text8.zip", sha256: None },
        test_text: hutter::test_text,
        read: hutter::text8,
        ..NONE
    },
    Task {
        name: "text",
        about: "A file of plain text of your own, as one text",
        scored: "the text; words are separated by white space",
        measures: TEXT_MEASURES,
        cut: Some(Cut::Whole),
        source: Source { file: None, from: "any file of UTF-8", sha256: None },
        read: text::plain,
        ..NONE
    },
    Task {
        name: "documents",
        about: "Documents of your own, a JSON object with \"text\" on each line, each as a text by itself",
        scored: "each text; words are separated by white space",
        measures: TEXT_MEASURES,
        cut: Some(Cut::Documents),
        source: Source { file: None, from: "any file of JSON lines", sha256: None },
        read: text::documents,
        ..NONE
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_say_their_form() {
        let names: HashSet<_> = TASKS.iter().map(|task| task.name).collect();
        assert_eq!(names.len(), TASKS.len());
        assert!(!names.contains("lambada") && !names.contains("hellaswag") && !names.contains("wsc273"));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(names.iter().all(|name| name.chars().all(plain)));
    }

    #[test]
    fn every_task_says_what_it_is_and_measures_something() {
        for task in TASKS {
            assert!(!task.about.is_empty() && !task.scored.is_empty() && !task.measures.is_empty(), "{}", task.name);
            assert!(
                !task.source.from.is_empty() && !task.measures.iter().any(|m| m.formula().is_empty()),
                "{}",
                task.name
            );
            assert_eq!(
                task.cut.is_some(),
                task.measures[0].name().contains("perplexity") || task.measures[0].name().contains("bits")
            );
        }
    }
}
