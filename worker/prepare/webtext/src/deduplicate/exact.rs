//! Keys of what may be there twice: a text, a URL, a paragraph. What has one key is taken for equal.
//!
//! A key is XXH3 of 128 bits without a seed, of the normalised text or the comparable URL. Among 1,000,000,000 of them, two that
//! differ have one key with a probability of 1e-21, unless they were crafted to collide.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_128;

use crate::deduplicate::normalise::Normaliser;
use crate::deduplicate::url::comparable;

/// Returns the key of a text: of all that [`normalise`](crate::deduplicate::normalise) leaves of it. So texts that only differ in
/// case, punctuation, accents, layout or the values of numbers are equal. Returns `None` if nothing is left.
pub fn text_key(text: &str, normaliser: &mut Normaliser) -> Option<u128> {
    let normal = normaliser.normalise(text);
    (!normal.is_empty()).then(|| xxh3_128(normal.as_bytes()))
}

/// Returns the key of a URL, by what is [`comparable`] of it. Returns `None` if it has no host.
pub fn url_key(url: &str) -> Option<u128> {
    comparable(url).map(|comparable| xxh3_128(comparable.as_bytes()))
}

/// A paragraph of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paragraph {
    /// Number of the paragraph in its text, from 0.
    pub number: u32,
    /// Its bytes in the text, without the line feed.
    pub bytes: Range<usize>,
    /// Its key, as that of a text.
    pub key: u128,
    /// Bytes of its normalised text, for a caller that spares short ones.
    pub normal_bytes: usize,
}

/// Returns the paragraphs of a text: what is between line feeds, without those of which nothing is left when they are normalised,
/// as in CCNet (Wenzek et al., CCNet, 2020).
pub fn paragraphs(text: &str, normaliser: &mut Normaliser) -> impl Iterator<Item = Paragraph> {
    let (mut begin, mut next) = (0, 0_u32);
    text.split('\n').filter_map(move |line| {
        let bytes = begin..begin + line.len();
        begin = bytes.end + 1;
        let normal = normaliser.normalise(line);
        if normal.is_empty() {
            return None;
        }
        let number = next;
        next = number.saturating_add(1);
        Some(Paragraph { number, bytes, key: xxh3_128(normal.as_bytes()), normal_bytes: normal.len() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_normalised_alike_have_one_key() {
        let mut normaliser = Normaliser::default();
        let mut key = |text| text_key(text, &mut normaliser);
        assert_eq!(key("Café no. 1\r\nis open."), key("cafe\u{301} No 22 is open"));
        assert_ne!(key("Cafe no. 1 is open."), key("Cafe no. 1 is closed."));
        assert_eq!((key(""), key(" \r\n"), key("...")), (None, None, None));
        // By the reference implementation. If it no longer holds, keys that exist can no longer be compared.
        assert_eq!(key("ABC"), Some(0x06b0_5ab6_733a_6185_78af_5f94_892f_3950));
    }

    #[test]
    fn urls_that_are_comparable_have_one_key() {
        assert_eq!(url_key("http://www.example.org/a/#b"), url_key("https://example.org/a"));
        assert_ne!(url_key("https://example.org/a"), url_key("https://example.org/b"));
        assert_eq!(url_key("http://"), None);
    }

    #[test]
    fn paragraphs_are_lines_that_have_words() {
        let text = "One two.\r\n\n  \n- - -\none, TWO\nthree";
        let mut normaliser = Normaliser::default();
        let found: Vec<Paragraph> = paragraphs(text, &mut normaliser).collect();
        let texts: Vec<&str> = found.iter().map(|paragraph| &text[paragraph.bytes.clone()]).collect();
        assert_eq!(texts, ["One two.\r", "one, TWO", "three"]);
        assert_eq!(found.iter().map(|paragraph| paragraph.number).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(found[0].key, found[1].key);
        assert_ne!(found[1].key, found[2].key);
        assert_eq!(found[2].normal_bytes, 5);
        assert_eq!(paragraphs("\n\n", &mut normaliser).count(), 0);
    }
}
