//! By what documents are compared: each a space of keys, in which equal keys make duplicates.

use webtext::deduplicate::{Content, DeduplicateOptions};

/// A space of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Keys of a band of signatures.
    Band(u32),
    /// Keys of texts.
    Text,
    /// Keys of URLs.
    Url,
}

impl Space {
    /// Returns the spaces that the options name, bands first.
    pub fn all(options: &DeduplicateOptions) -> Vec<Space> {
        let bands = (0..options.minhash.bands).filter(|_| options.near).map(Space::Band);
        let others = [(options.text, Space::Text), (options.url, Space::Url)];
        bands.chain(others.into_iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, space)| space)).collect()
    }

    /// Returns what names the space in names of objects.
    pub fn name(self) -> String {
        match self {
            Space::Band(number) => format!("band-{number:04}"),
            Space::Text => "text".to_owned(),
            Space::Url => "url".to_owned(),
        }
    }

    /// Returns what an object with keys of the space has.
    pub fn content(self, options: &DeduplicateOptions) -> Content {
        match self {
            Space::Band(number) => Content::Band { number, options: options.minhash },
            Space::Text => Content::Texts,
            Space::Url => Content::Urls,
        }
    }
}
