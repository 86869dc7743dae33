//! The iterator over the pages of an object.

use std::io::{self, Read};

use super::counts::Counts;
use super::damage::Damage;
use super::file::File;
use super::format::{Format, Layout};
use super::limits::Limits;
use super::lines::Lines;
use super::next::Next;
use super::page::{Page, Place};
use super::unpack::{Dictionary, More, Unpacked};
use super::warc::Records;

/// A page or a damaged record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A page.
    Page(Page),
    /// What could not be read.
    Damage(Damage),
}

/// Iterator over the pages of an object, and what of it is damaged, in their order.
///
/// An error is the reader's own, and the last item. It says nothing about the object. Everything else that may be wrong is
/// an [`Entry::Damage`], after which reading goes on. Bytes read and unpacked are bounded by the object's size and what it unpacks
/// to, and memory by [`Limits::memory_bytes`].
pub struct Pages<R> {
    layout: Reader<R>,
    /// Unpacked bytes to skip at first.
    skip: u64,
    counts: Counts,
    is_done: bool,
}

enum Reader<R> {
    Records(Records<R>),
    File(File<R>),
    Lines(Lines<R>),
}

impl<R: Read> Pages<R> {
    /// Reads an object from its beginning.
    pub fn new(format: Format, object: R, limits: Limits) -> Self {
        Pages::at(format, Place::default(), object, limits)
    }

    /// Reads an object from a place on, where `object` begins at byte `place.at` of it. The first entry is the one that was
    /// there before. A page in a zstd frame may need the [`Dictionary`] of its object.
    pub fn at(format: Format, place: Place, object: R, limits: Limits) -> Self {
        let bytes = Unpacked::new(object, place.at, format.packing);
        let layout = match format.layout {
            Layout::Warc => Reader::Records(Records::new(bytes, limits)),
            Layout::Html => Reader::File(File::new(bytes, limits)),
            Layout::JsonLines => Reader::Lines(Lines::new(bytes, limits)),
        };
        Pages { layout, skip: place.within, counts: Counts::default(), is_done: false }
    }

    /// Sets the dictionary of an object's zstd frames, for reading that does not begin where the dictionary is.
    #[must_use]
    pub fn with_dictionary(mut self, dictionary: Dictionary) -> Self {
        self.bytes().set_dictionary(dictionary);
        self
    }

    /// Returns what the object has had so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Returns the number of the object's bytes that have been unpacked, for showing progress.
    pub fn packed_bytes(&mut self) -> u64 {
        self.bytes().packed_offset()
    }

    fn bytes(&mut self) -> &mut Unpacked<R> {
        match &mut self.layout {
            Reader::Records(records) => &mut records.bytes,
            Reader::File(file) => &mut file.bytes,
            Reader::Lines(lines) => &mut lines.bytes,
        }
    }

    fn skip_to_place(&mut self) -> io::Result<()> {
        while self.skip > 0 {
            let skip = self.skip;
            let bytes = self.bytes();
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.bytes().len());
            bytes.consume(skipped);
            if skipped == 0 && bytes.more()? != More::Some {
                self.skip = 0;
            }
            self.skip = self.skip.saturating_sub(skipped as u64);
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<Option<Entry>> {
        self.skip_to_place()?;
        loop {
            let next = match &mut self.layout {
                Reader::Records(records) => records.next()?,
                Reader::File(file) => file.next()?,
                Reader::Lines(lines) => lines.next()?,
            };
            match next {
                Next::Page(page) => {
                    self.counts.pages += 1;
                    return Ok(Some(Entry::Page(page)));
                }
                Next::Damage(damage) => {
                    *self.counts.damaged.entry(damage.fault).or_default() += 1;
                    return Ok(Some(Entry::Damage(damage)));
                }
                Next::Skipped(kind) => *self.counts.skipped.entry(kind).or_default() += 1,
                Next::End => return Ok(None),
            }
        }
    }
}

impl<R: Read> Iterator for Pages<R> {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let entry = self.read().transpose();
        self.is_done = !matches!(entry, Some(Ok(_)));
        entry
    }
}
