//! Words of a text.

use crate::clean::split::Split;

/// Words of a text, split when they are first asked for.
pub(crate) struct Words<'t, 's> {
    text: &'t str,
    split: &'s dyn Split,
    words: Option<Vec<&'t str>>,
}

impl<'t, 's> Words<'t, 's> {
    pub(crate) fn of(text: &'t str, split: &'s dyn Split) -> Self {
        Words { text, split, words: None }
    }

    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    pub(crate) fn get(&mut self) -> &[&'t str] {
        self.words.get_or_insert_with(|| {
            let mut words = Vec::with_capacity(self.text.len() / 5);
            self.split.words(self.text, &mut words);
            words
        })
    }
}
