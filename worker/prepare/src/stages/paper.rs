//! Domains of WebText, the corpus of the GPT-2 paper, to compare with.

/// Where [`DOMAINS`] is from.
pub const SOURCE: &str = "https://github.com/openai/gpt-2/blob/master/domains.txt";

/// The most frequent domains of WebText, each with its number of documents: the first ten lines of [`SOURCE`]. OpenAI lists them
/// by the name before the suffix, so that `google` is google.com as well as plus.google.com.
pub const DOMAINS: [(&str, u64); 10] = [
    ("google", 1_542_261),
    ("archive", 596_207),
    ("blogspot", 456_344),
    ("github", 414_695),
    ("nytimes", 333_160),
    ("wordpress", 321_622),
    ("washingtonpost", 315_368),
    ("wikia", 313_137),
    ("bbc", 311_917),
    ("theguardian", 246_303),
];
