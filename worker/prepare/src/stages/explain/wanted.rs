//! Which document is meant.

use std::fmt;

use webtext::authority::{split, without_www};

use crate::stages::bounded::{URL_BYTES_MAX, beginning};

/// Number of hex digits of an id.
const ID_DIGITS: usize = 32;
/// Fewest hex digits by which an id is looked for.
const PREFIX_DIGITS_MIN: usize = 6;

/// A document as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// By its id.
    Id(u128),
    /// By the beginning of its id, as it was typed: the first and the last id that begin so.
    Prefix(String, u128, u128),
    /// By its URL, in the form in which URLs are compared.
    Url(String),
}

/// Error for words that name no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no document: give its id ({ID_DIGITS} hex digits, or the first {PREFIX_DIGITS_MIN} or more of them) or its URL"
)]
pub struct NotADocument(String);

impl Wanted {
    /// Reads what a person has typed.
    pub fn parse(words: &str) -> Result<Self, NotADocument> {
        let words = words.trim();
        let not_a_document = || NotADocument(beginning(words, URL_BYTES_MAX).to_owned());
        let is_hex = !words.is_empty() && words.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex {
            return match words.contains(['.', ':', '/']) {
                true => Ok(Wanted::Url(compared(words))),
                false => Err(not_a_document()),
            };
        }
        if !(PREFIX_DIGITS_MIN..=ID_DIGITS).contains(&words.len()) {
            return Err(not_a_document());
        }
        let id = |digits: &str| u128::from_str_radix(digits, 16).map_err(|_| not_a_document());
        if words.len() == ID_DIGITS {
            return id(words).map(Wanted::Id);
        }
        let filled = |with: &str| id(&format!("{words}{}", with.repeat(ID_DIGITS - words.len())));
        Ok(Wanted::Prefix(words.to_ascii_lowercase(), filled("0")?, filled("f")?))
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Id(id) => write!(f, "the id {id:032x}"),
            Wanted::Prefix(typed, ..) => write!(f, "an id that begins with {typed}"),
            Wanted::Url(url) => write!(f, "the URL {url} (without scheme, www., last slashes and fragment)"),
        }
    }
}

/// Returns `url` in the form in which URLs are compared: without scheme, `www.`, slashes at its end and fragment, and with its
/// host in lower case.
pub(super) fn compared(url: &str) -> String {
    let url = beginning(url, URL_BYTES_MAX);
    let url = url.split_once("://").map_or(url, |(_, rest)| rest);
    let url = url.split('#').next().unwrap_or_default();
    let (host, path) = split(url);
    let host = host.to_ascii_lowercase();
    format!("{}{path}", without_www(&host)).trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_beginnings_of_ids_and_urls_are_told_apart() {
        let id = "0123456789abcdef0123456789ABCDEF";
        assert_eq!(Wanted::parse(id), Ok(Wanted::Id(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)));
        let Ok(Wanted::Prefix(typed, first, last)) = Wanted::parse(" 00000A ") else { panic!("a prefix") };
        assert_eq!((typed.as_str(), first, last), ("00000a", 0xa << 104, (0xb << 104) - 1));
        assert_eq!(Wanted::parse("example.com/a"), Ok(Wanted::Url("example.com/a".into())));
        // A name that looks like hex digits is a URL by its dot.
        assert_eq!(Wanted::parse("abcdef.de"), Ok(Wanted::Url("abcdef.de".into())));
        for words in ["", "abcde", "words", &format!("{id}0")] {
            let error = Wanted::parse(words).unwrap_err().to_string();
            assert!(error.contains("32 hex digits, or the first 6 or more of them"), "{error}");
        }
    }

    #[test]
    fn urls_are_compared_without_what_rarely_matters() {
        for url in [
            "https://www.Example.com/Path/",
            "http://example.com/Path",
            "example.com/Path//#part",
            "WWW.EXAMPLE.COM/Path",
        ] {
            assert_eq!(compared(url), "example.com/Path");
        }
        assert_ne!(compared("example.com/path"), "example.com/Path");
        assert_ne!(compared("example.com/Path?a"), "example.com/Path");
        assert_eq!(compared("https://example.com/"), "example.com");
        assert_eq!(compared(&format!("x.example/{}", "é".repeat(5000))).len(), URL_BYTES_MAX);
    }
}
