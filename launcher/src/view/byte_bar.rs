//! A progress bar of bytes.

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar of bytes on a terminal; shows nothing elsewhere.
pub struct ByteBar {
    bar: ProgressBar,
}

impl ByteBar {
    /// Creates a bar with nothing done yet.
    pub fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:24} {bytes} of {total_bytes}  {bytes_per_sec}  left {eta}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        ByteBar { bar: ProgressBar::new(0).with_style(style) }
    }

    /// Advances the bar by `done` bytes, of `all` in all.
    pub fn add(&self, done: u64, all: u64) {
        self.bar.set_length(all);
        self.bar.inc(done);
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
