//! Sorted runs that ranks exchange through the store.
//!
//! A rank divides each run among the ranks to which its records belong, and writes an object for each. When all have done so, they
//! meet, and tell each other how many objects there are. Then each rank merges what was written for it. No list of objects is asked
//! for, which might be behind, so what an earlier attempt has left does no harm. Memory and the network between ranks see nothing of
//! the records.

use common::storage::Folder;
use webtext::deduplicate::record::Record;
use webtext::deduplicate::{Content, Merge, Runs};

use super::objects::{Run, merged, write};
use crate::PrepareError;
use crate::meetings::Meetings;
use crate::progress::Progress;

/// Says to which rank a record belongs.
pub type Owner<'x, T> = Box<dyn Fn(&T) -> usize + 'x>;

/// Where a rank works.
#[derive(Clone, Copy)]
pub struct Place<'x> {
    /// Meetings with other ranks.
    pub meetings: &'x Meetings,
    /// How far this rank is.
    pub progress: &'x Progress,
    /// Memory for reading runs.
    pub memory_bytes: u64,
}

/// Runs in a folder of the store.
pub struct Exchange<'x, T> {
    place: Place<'x>,
    folder: Folder,
    content: Content,
    owner: Owner<'x, T>,
    /// Number of times that runs were taken.
    times: u32,
    /// Number of objects that were written since for each rank.
    written: Vec<u64>,
    /// Objects that were taken last.
    taken: Vec<String>,
}

impl<'x, T: Record> Exchange<'x, T> {
    /// Begins without runs. `folder` is for this exchange alone.
    pub fn new(place: Place<'x>, folder: Folder, content: Content, owner: Owner<'x, T>) -> Self {
        let written = vec![0; place.meetings.ranks()];
        Exchange { place, folder, content, owner, times: 0, written, taken: Vec::new() }
    }

    /// Returns the name of an object that is taken next.
    fn name(&self, from: usize, to: usize, number: u64) -> String {
        format!("{:04}/to-{to:04}/from-{from:04}.{number:06}", self.times)
    }

    /// Meets the other ranks. Returns the names of all objects for this one.
    fn names(&mut self) -> Vec<String> {
        let (rank, ranks) = (self.place.meetings.rank(), self.place.meetings.ranks());
        // A row for each rank that has written, a column for each that takes.
        let mut counts = vec![0; ranks * ranks];
        counts[rank * ranks..(rank + 1) * ranks].copy_from_slice(&self.written);
        let counts = self.place.meetings.sum(counts);
        let of_rank = |from: usize| (0..counts[from * ranks + rank]).map(move |number| (from, number));
        (0..ranks).flat_map(of_rank).map(|(from, number)| self.name(from, rank, number)).collect()
    }
}

impl<'x, T: Record> Runs<T> for Exchange<'x, T> {
    type Error = PrepareError;
    type Run = Merge<Run<'x, T>, T>;

    fn keep(&mut self, run: &[T]) -> Result<(), PrepareError> {
        let owners: Vec<u32> = run.iter().map(|record| (self.owner)(record) as u32).collect();
        for to in 0..self.written.len() {
            let mut records = run.iter().zip(&owners).filter(|(_, owner)| **owner as usize == to).peekable();
            if records.peek().is_some() {
                let name = self.name(self.place.meetings.rank(), to, self.written[to]);
                write(&self.folder, &name, self.content, records.map(|(record, _)| Ok(*record)))?;
                self.written[to] += 1;
            }
        }
        self.place.progress.advance((run.len() * T::BYTES) as u64);
        Ok(())
    }

    fn take(&mut self) -> Result<Vec<Self::Run>, PrepareError> {
        let names = self.names();
        self.times += 1;
        self.written.fill(0);
        // What was taken before has been read by now.
        for name in std::mem::replace(&mut self.taken, names.clone()) {
            self.folder.delete(&name)?;
        }
        let Place { memory_bytes, progress, .. } = self.place;
        Ok(vec![merged(&self.folder, names, self.content, (memory_bytes, progress))?])
    }
}

/// Says that a record with this number belongs to a rank by a hash of it.
pub fn by_hash(number: u64, ranks: usize) -> usize {
    // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4).
    let hash = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    (hash as usize) % ranks.max(1)
}
