//! The work folder: encoded documents on their way from the inputs to the shards, and a record of what has been done.
//!
//! A *run* is what one rank had encoded when its memory was full: documents sorted by (side, key), in one object. Beside it,
//! a JSON object lists the batches in the run; it is written last and makes the run count. Keys are uniform, so each side is
//! divided into *buckets* by their highest bits, and a table at the end of a run says where each bucket is. A range of
//! buckets is merged by reading that range of every run. Which batches are in which run depends on ranks and restarts; the
//! documents of all runs together, and so the shards, do not.
//!
//! ```text
//! bucket  for each document: u128 key, u32 number of tokens; then the u16 tokens of all
//! table   for each bucket of the training side, then of the validation side, and once more for the end:
//!         u64 where it begins in the file, u32 documents, u32 CRC-32 of its bytes
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use common::sha256::hex_sha256;
use common::storage::{Folder, StorageError};
use common::threads;
use serde::{Deserialize, Serialize};

use crate::PrepareError;
use crate::coverage::{Coverage, Covered, check_ranges, covered};
use crate::encode::{Encoded, Entry};
use crate::sides::Side;
use crate::tally::Tally;

/// Bytes of a line of the table.
const LINE_BYTES: u64 = 16;
/// Bytes that are stored of a document beside its tokens.
const ENTRY_BYTES: u64 = 20;
/// Bytes that are collected before they are sent.
const SEND_BYTES: usize = 4 << 20;
/// Bytes of inputs for each bucket of a side.
const BUCKET_INPUT_BYTES: u64 = 16 << 20;

/// The work folder of a job.
pub struct Work {
    /// Folder of this job alone.
    pub folder: Folder,
    /// Number of buckets of a side, a power of two.
    buckets: u64,
}

/// Contents of a run, stored as its JSON object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Byte at which the run's table begins.
    pub table: u64,
    /// Batches of the run, by unit.
    pub covered: BTreeMap<u32, Vec<Covered>>,
    /// Counts of what became of their documents.
    pub tally: Tally,
}

/// Bound on counts of bytes, documents and tokens: more than inputs have, and few enough that sums stay within 64 bits.
const COUNT_MAX: u64 = 1 << 48;

impl Contents {
    /// Checks the numbers that size memory, and those that are added up.
    fn check(&self) -> Result<(), String> {
        for (unit, ranges) in &self.covered {
            check_ranges(*unit, ranges)?;
        }
        let Tally { documents, text_bytes, tokens, empty, overlapping, ref bad, .. } = self.tally;
        let counts = [self.table, documents, text_bytes, tokens, empty, overlapping];
        let mut counts = counts.into_iter().chain(bad.values().copied());
        match counts.find(|count| *count > COUNT_MAX) {
            Some(count) => Err(format!("it counts {count}, expected at most {COUNT_MAX}")),
            None => Ok(()),
        }
    }
}

/// A run in memory.
#[derive(Default)]
pub struct Run {
    /// Documents, each with the number of its batch in this run.
    entries: Vec<(u32, Entry)>,
    /// Tokens of each batch.
    tokens: Vec<Vec<u8>>,
    batches: Vec<(u32, u32, bool)>,
    bytes: usize,
    tally: Tally,
}

/// A run that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// Name in the work folder.
    pub name: String,
    /// Byte at which the run's table begins.
    table: u64,
}

/// The runs that count, and the batches that they cover.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Runs {
    /// Files of the runs.
    pub files: Vec<RunFile>,
    /// Batches in the runs, by unit.
    pub coverage: BTreeMap<u32, Coverage>,
    /// Counts of what became of their documents.
    pub tally: Tally,
}

impl Work {
    /// Opens the folder for a job of this `identity` in `output`. The layout depends on the size of the inputs.
    pub fn open(output: &Folder, identity: &str, input_bytes: u64) -> Self {
        let buckets = (input_bytes / BUCKET_INPUT_BYTES).next_power_of_two().clamp(16, 1 << 16);
        // Checksums show what a loss of power has left.
        let folder = output.folder(crate::WORK_FOLDER).folder(identity).for_what_can_be_made_again();
        Work { folder, buckets }
    }

    /// Returns the number of buckets of both sides together; those of a side are neighbours.
    pub fn buckets(&self) -> usize {
        2 * self.buckets as usize
    }

    /// Returns the buckets of a side.
    pub fn buckets_of(&self, side: Side) -> Range<usize> {
        let first = side as usize * self.buckets as usize;
        first..first + self.buckets as usize
    }

    fn bucket(&self, entry: &Entry) -> usize {
        let within = entry.key >> (128 - self.buckets.trailing_zeros());
        self.buckets_of(entry.side).start + within as usize
    }

    /// Reads the runs in the folder. Of two runs that have a batch in common, the first by name counts; a rank that continues
    /// after its job was given up may leave such a run.
    pub fn runs(&self) -> Result<Runs, PrepareError> {
        let listed = self.folder.list()?;
        let names: Vec<&str> = listed.iter().filter_map(|o| o.name.strip_suffix(".run.json")).collect();
        let read = |name: &&str| self.contents(name);
        let mut runs = Runs::default();
        for (name, contents) in names.iter().zip(threads::map(&names, self.folder.concurrency(), read)) {
            runs.accept(name, contents?);
        }
        Ok(runs)
    }

    fn contents(&self, name: &str) -> Result<Contents, PrepareError> {
        let name = format!("{name}.run.json");
        let damaged = |e: serde_json::Error| self.damaged(&name, e.to_string());
        let contents: Contents = serde_json::from_slice(&self.folder.get(&name)?).map_err(damaged)?;
        contents.check().map_err(|reason| self.damaged(&name, reason))?;
        Ok(contents)
    }

    /// Returns the error for an object of the folder that has changed since it was written.
    pub fn damaged(&self, name: &str, reason: String) -> PrepareError {
        PrepareError::Work { url: self.folder.url_of(name), folder: self.folder.url().to_owned(), reason }
    }

    /// Reads the table lines of the buckets `range` of a run, and one more, at whose start the last bucket ends.
    pub fn table(&self, run: &RunFile, range: Range<usize>) -> Result<Vec<Line>, PrepareError> {
        let name = &run.name;
        let bytes = LINE_BYTES * range.start as u64..LINE_BYTES * (range.end as u64 + 1);
        let content = self.folder.get_range(name, run.table + bytes.start..run.table + bytes.end)?;
        let lines: Vec<Line> = content.chunks_exact(LINE_BYTES as usize).map(Line::parse).collect();
        let is_sound = lines.len() == range.len() + 1
            && lines[range.len()].start <= run.table
            && lines.windows(2).all(|pair| {
                let entries = u64::from(pair[0].documents) * ENTRY_BYTES;
                pair[1].start.checked_sub(pair[0].start).is_some_and(|bytes| bytes >= entries)
            });
        if is_sound { Ok(lines) } else { Err(self.damaged(name, "its table makes no sense".into())) }
    }

    /// Reads the documents in a range of a run's buckets, given their `lines`.
    pub fn documents(&self, run: &RunFile, lines: &[Line]) -> Result<Vec<Document>, PrepareError> {
        let name = &run.name;
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return Ok(Vec::new()) };
        if first.start == last.start {
            return Ok(Vec::new());
        }
        let content = self.folder.get_range(name, first.start..last.start)?;
        if content.len() as u64 != last.start - first.start {
            return Err(self.damaged(name, "it ends before its table".into()));
        }
        let mut documents = Vec::new();
        for pair in lines.windows(2) {
            let block = content.slice((pair[0].start - first.start) as usize..(pair[1].start - first.start) as usize);
            if crc32fast::hash(&block) != pair[0].crc {
                return Err(self.damaged(name, "its bytes have another checksum".into()));
            }
            let tokens = block.slice((u64::from(pair[0].documents) * ENTRY_BYTES) as usize..);
            let mut start = 0;
            for entry in block[..block.len() - tokens.len()].chunks_exact(ENTRY_BYTES as usize) {
                let (key, count) = parse_entry(entry);
                let end = start + 2 * count as usize;
                if end > tokens.len() {
                    return Err(self.damaged(name, "its documents do not fit their bucket".into()));
                }
                documents.push(Document { key, tokens: tokens.slice(start..end) });
                start = end;
            }
        }
        Ok(documents)
    }
}

/// A document on its way to a shard.
#[derive(Debug, Clone)]
pub struct Document {
    /// Place in the order.
    pub key: u128,
    /// Tokens, little-endian, with the end-of-text before the document.
    pub tokens: Bytes,
}

/// A line of a run's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Byte at which the bucket begins.
    pub start: u64,
    /// Number of documents in the bucket.
    pub documents: u32,
    /// CRC-32 of the bucket's bytes.
    pub crc: u32,
}

impl Line {
    fn parse(bytes: &[u8]) -> Self {
        let number = |range: Range<usize>| bytes[range].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
        Line { start: number(0..8), documents: number(8..12) as u32, crc: number(12..16) as u32 }
    }

    fn write(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.start.to_le_bytes());
        bytes.extend_from_slice(&self.documents.to_le_bytes());
        bytes.extend_from_slice(&self.crc.to_le_bytes());
    }

    /// Returns the number of tokens in the bucket, given the `next` line.
    pub fn tokens(self, next: Line) -> u64 {
        (next.start - self.start - u64::from(self.documents) * ENTRY_BYTES) / 2
    }
}

fn parse_entry(bytes: &[u8]) -> (u128, u32) {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, byte| n << 8 | u128::from(*byte));
    (number(&bytes[..16]), number(&bytes[16..]) as u32)
}

impl Runs {
    fn accept(&mut self, name: &str, contents: Contents) {
        let all = || contents.covered.iter().flat_map(|(unit, ranges)| ranges.iter().map(move |range| (*unit, *range)));
        let has = |unit: u32, range: &Range<u32>| self.coverage.get(&unit).is_some_and(|done| done.has_any(range));
        if all().any(|(unit, covered)| has(unit, &covered.range())) {
            tracing::warn!("{name}.run has documents that another run has too; it is left out");
            return;
        }
        all().for_each(|(unit, range)| self.coverage.entry(unit).or_default().add(range));
        self.files.push(RunFile { name: format!("{name}.run"), table: contents.table });
        self.tally.add(contents.tally);
    }

    /// Returns the number of batches that have been done.
    pub fn batches(&self) -> usize {
        self.coverage.values().map(Coverage::batches).sum()
    }

    /// Returns whether all of a unit has been done.
    pub fn has(&self, unit: u32) -> bool {
        self.coverage.get(&unit).is_some_and(Coverage::is_complete)
    }
}

impl Run {
    /// Returns whether there is room for `encoded` in `bytes_max` of memory. An empty run has room for any batch.
    pub fn has_room_for(&self, encoded: &Encoded, bytes_max: usize) -> bool {
        self.batches.is_empty() || self.bytes + bytes(encoded) <= bytes_max
    }

    /// Adds a batch.
    pub fn push(&mut self, (unit, number, is_last): (u32, u32, bool), encoded: Encoded) {
        let batch = self.batches.len() as u32;
        self.bytes += bytes(&encoded);
        self.entries.extend(encoded.entries.into_iter().map(|entry| (batch, entry)));
        self.tokens.push(encoded.tokens);
        self.batches.push((unit, number, is_last));
        self.tally.add(encoded.tally);
    }

    /// Writes the run, unless it is empty. Its name is a hash of its contents, so a run that is written twice is one run.
    pub fn write(mut self, work: &Work) -> Result<(), PrepareError> {
        if self.batches.is_empty() {
            return Ok(());
        }
        let covered = covered(&mut self.batches);
        let name = hex_sha256(&to_json(&(&covered, &self.tally)))[..16].to_owned();
        self.entries.sort_unstable_by_key(|(_, entry)| (entry.side, entry.key));
        let table = self.write_documents(work, &format!("{name}.run"))?;
        let contents = Contents { table, covered, tally: self.tally };
        Ok(work.folder.put(&format!("{name}.run.json"), to_json(&contents).into())?)
    }

    /// Writes buckets and table, and returns the byte at which the table begins.
    fn write_documents(&self, work: &Work, name: &str) -> Result<u64, StorageError> {
        let mut upload = work.folder.upload(name)?;
        let (mut table, mut send) = (Vec::new(), Vec::new());
        let (mut start, mut rest) = (0, &self.entries[..]);
        for bucket in 0..work.buckets() {
            let (entries, after) = rest.split_at(rest.partition_point(|(_, entry)| work.bucket(entry) <= bucket));
            rest = after;
            let block = send.len();
            self.append(entries, &mut send);
            let crc = crc32fast::hash(&send[block..]);
            Line { start, documents: entries.len() as u32, crc }.write(&mut table);
            start += (send.len() - block) as u64;
            if send.len() >= SEND_BYTES {
                let full = std::mem::replace(&mut send, Vec::with_capacity(SEND_BYTES));
                upload.write(full.into())?;
            }
        }
        Line { start, documents: 0, crc: 0 }.write(&mut table);
        send.append(&mut table);
        upload.write(send.into())?;
        upload.finish()?;
        Ok(start)
    }

    /// Appends the bucket of these entries to `block`.
    fn append(&self, entries: &[(u32, Entry)], block: &mut Vec<u8>) {
        for (_, entry) in entries {
            block.extend_from_slice(&entry.key.to_le_bytes());
            block.extend_from_slice(&entry.tokens.to_le_bytes());
        }
        for (batch, entry) in entries {
            let tokens = &self.tokens[*batch as usize];
            block.extend_from_slice(&tokens[entry.start..entry.start + 2 * entry.tokens as usize]);
        }
    }
}

/// Returns the bytes that a batch takes in memory.
fn bytes(encoded: &Encoded) -> usize {
    encoded.entries.len() * size_of::<(u32, Entry)>() + encoded.tokens.capacity()
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|e| unreachable!("it is JSON: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{changed, changes};
    use common::config::StorageConfig;
    use proptest::prelude::*;

    fn work(name: &str) -> Work {
        let output = Folder::open(&format!("memory://work-{name}"), &StorageConfig::default()).unwrap();
        Work::open(&output, "x", 0)
    }

    #[test]
    fn what_a_run_is_said_to_hold_cannot_exhaust_memory_or_overflow_sums() {
        let batches = |first, count| {
            format!(r#"{{"table":0,"covered":{{"0":[{{"first":{first},"count":{count},"ends":true}}]}},"tally":T}}"#)
        };
        let tally = |count| {
            format!(
                r#"{{"documents":1,"text_bytes":{count},"tokens":1,"empty":0,"bad":{{}},"named":[],"hashes":null}}"#
            )
        };
        for (contents, expected) in [
            (batches(0, u32::MAX).replace('T', &tally(1)), "4294967295 batches from batch 0 on"),
            (batches(u32::MAX, 1).replace('T', &tally(1)), "1 batches from batch 4294967295 on"),
            (batches(0, 1).replace('T', &tally(u64::MAX)), "it counts 18446744073709551615"),
        ] {
            let work = work("hostile");
            work.folder.put("x.run.json", contents.into()).unwrap();
            let error = work.runs().unwrap_err().to_string();
            assert!(error.contains("x.run.json") && error.contains(expected), "{error}");
        }
    }

    fn encoded(documents: &[(Side, u128, &[u16])]) -> Encoded {
        let mut encoded = Encoded::default();
        for (side, key, tokens) in documents {
            let start = encoded.tokens.len();
            encoded.tokens.extend(tokens.iter().flat_map(|t| t.to_le_bytes()));
            encoded.entries.push(Entry { side: *side, key: *key, start, tokens: tokens.len() as u32 });
            encoded.tally.keep(1, tokens.len() as u64, 0);
        }
        encoded
    }

    #[test]
    fn documents_come_back_by_bucket() {
        let work = work("buckets");
        let top = 1 << 127;
        let mut run = Run::default();
        run.push((0, 0, false), encoded(&[(Side::Train, top + 2, &[1, 2]), (Side::Validation, 5, &[3])]));
        run.push((0, 1, true), encoded(&[(Side::Train, 7, &[4, 5, 6]), (Side::Train, top + 1, &[])]));
        run.write(&work).unwrap();
        let runs = work.runs().unwrap();
        assert!(runs.has(0) && !runs.has(1));
        assert_eq!((runs.files.len(), runs.tally.documents), (1, 4));
        let read = |buckets: Range<usize>| -> Vec<(u128, Vec<u8>)> {
            let lines = work.table(&runs.files[0], buckets).unwrap();
            let documents = work.documents(&runs.files[0], &lines).unwrap();
            documents.into_iter().map(|d| (d.key, d.tokens.to_vec())).collect()
        };
        let train = work.buckets_of(Side::Train);
        assert_eq!(read(train.clone()), [(7, vec![4, 0, 5, 0, 6, 0]), (top + 1, vec![]), (top + 2, vec![1, 0, 2, 0])]);
        assert_eq!(read(0..1), [(7, vec![4, 0, 5, 0, 6, 0])]);
        assert_eq!(read(1..8), []);
        assert_eq!(read(work.buckets_of(Side::Validation)), [(5, vec![3, 0])]);
        let lines = work.table(&runs.files[0], train).unwrap();
        assert_eq!(lines[8].tokens(lines[9]), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_lies_in_the_work_folder_is_read_or_refused(is_list: bool, changes in changes()) {
            let work = work("hostile");
            let mut run = Run::default();
            run.push((0, 0, false), encoded(&[(Side::Train, 7, &[1, 2]), (Side::Validation, 5, &[3])]));
            run.push((3, 1, true), encoded(&[(Side::Train, u128::MAX, &[4, 5, 6])]));
            run.write(&work).unwrap();
            let listed = work.folder.list().unwrap();
            let object = listed.iter().find(|object| object.name.ends_with(".json") == is_list).unwrap();
            let content = changed(&work.folder.get(&object.name).unwrap(), &changes);
            work.folder.put(&object.name, content.into()).unwrap();
            let Ok(runs) = work.runs() else { return Ok(()) };
            let _ = (runs.has(0), runs.has(3), runs.batches(), runs.tally.bad_documents());
            for run in &runs.files {
                let Ok(lines) = work.table(run, 0..work.buckets()) else { continue };
                let tokens: u64 = lines.windows(2).map(|pair| pair[0].tokens(pair[1])).sum();
                if let Ok(documents) = work.documents(run, &lines) {
                    prop_assert!(documents.iter().map(|document| document.tokens.len() as u64).sum::<u64>() <= 2 * tokens);
                }
            }
        }
    }

    #[test]
    fn damage_is_found() {
        let work = work("damage");
        let mut run = Run::default();
        run.push((0, 0, true), encoded(&[(Side::Train, 7, &[4, 5, 6])]));
        run.write(&work).unwrap();
        let run = work.runs().unwrap().files.remove(0);
        let mut content = work.folder.get(&run.name).unwrap().to_vec();
        let lines = work.table(&run, 0..1).unwrap();
        content[20] ^= 1;
        work.folder.put(&run.name, content.clone().into()).unwrap();
        let error = work.documents(&run, &lines).unwrap_err().to_string();
        assert!(error.contains(&run.name) && error.contains("checksum"), "{error}");
        content[run.table as usize] = 0xff;
        work.folder.put(&run.name, content.clone().into()).unwrap();
        assert!(work.table(&run, 0..1).unwrap_err().to_string().contains("table"));
        let end = run.table as usize + LINE_BYTES as usize * work.buckets();
        content[run.table as usize] = 0;
        content[end..end + 8].copy_from_slice(&(1_u64 << 40).to_le_bytes());
        work.folder.put(&run.name, content.clone().into()).unwrap();
        let all = work.table(&run, 0..work.buckets());
        assert!(all.unwrap_err().to_string().contains("table"), "a bucket that ends behind its table");
        work.folder.put(&format!("{}.json", run.name), Bytes::from_static(b"{")).unwrap();
        assert!(work.runs().unwrap_err().to_string().contains("run.json"));
    }

    #[test]
    fn a_run_with_a_batch_of_another_is_left_out_and_one_written_twice_is_one() {
        let work = work("twice");
        let write = |batches: &[(u32, u32, bool)]| {
            let mut run = Run::default();
            for batch in batches {
                run.push(*batch, encoded(&[(Side::Train, u128::from(batch.1), &[1])]));
            }
            run.write(&work).unwrap();
        };
        write(&[(0, 0, false), (0, 2, false)]);
        write(&[(0, 2, false), (0, 0, false)]);
        assert_eq!(work.runs().unwrap().files.len(), 1);
        write(&[(0, 2, false), (0, 3, true)]);
        let runs = work.runs().unwrap();
        assert_eq!((runs.files.len(), runs.tally.documents), (1, 2));
        assert!(!runs.has(0));
    }
}
