//! A bar of bytes.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of bytes done, on a terminal; nothing elsewhere.
pub struct ByteBar {
    bar: ProgressBar,
}

impl ByteBar {
    /// Nothing done yet.
    pub fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:24} {bytes} of {total_bytes}  {bytes_per_sec}  left {eta}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        ByteBar { bar: ProgressBar::new(0).with_style(style) }
    }

    /// So many more bytes are done, of so many in all.
    pub fn add(&self, done: u64, all: u64) {
        self.bar.set_length(all);
        self.bar.inc(done);
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
