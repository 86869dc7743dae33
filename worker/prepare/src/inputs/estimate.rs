//! Estimates how much text there is, from the beginnings of a few objects.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::config::OnBadDocument;

use super::batches::{Batch, Batches, RawDocument, lost};
use super::fault::{BadDocument, Place};
use super::reading::{BOM, Failure, ReadOptions};
use super::source::{Kind, Layout, Packing, Source};
use super::units::{Piece, Unit};
use super::unpack::unpacked;
use crate::PrepareError;
use crate::text::text_of;

/// Number of objects of each kind that are looked at.
const SAMPLES: usize = 16;
/// Bytes of text that are kept of an object.
const KEPT_BYTES: usize = 128 << 10;
/// Bytes of a packed text that are unpacked.
const UNPACKED_BYTES: u64 = 8 << 20;
/// Bytes of a plain object with many documents that are read.
const PART_BYTES: u64 = 1 << 20;
/// Batches of documents that are read of an object, about a mebibyte each.
const BATCHES: usize = 4;
/// Bytes of text for each byte of a Parquet file whose first batches do not reach its end; files of web text have about 2.
const PARQUET_RATIO: u64 = 2;

/// Estimated contents of objects.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Texts from the beginnings of some objects.
    pub texts: Vec<String>,
    /// Number of documents.
    pub documents: u64,
    /// Bytes of their text.
    pub text_bytes: u64,
    /// Bytes of the longest document.
    pub longest_document_bytes: u64,
    /// Number of documents among the samples that cannot be read, and were skipped.
    pub skipped: u64,
}

/// What the beginning of an object holds.
struct Sample {
    text: String,
    documents: u64,
    text_bytes: u64,
    longest_document_bytes: u64,
    /// Number of documents that cannot be read.
    skipped: u64,
    /// Bytes of the object in which these documents lie, at least 1.
    bytes: u64,
}

/// Estimates the contents of `sources`. A document among the samples that cannot be read is an error, unless such documents are
/// skipped.
pub fn estimate(sources: &[Source], options: &ReadOptions, on_bad: OnBadDocument) -> Result<Estimate, PrepareError> {
    let mut kinds: BTreeMap<Kind, Vec<&Source>> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.bytes > 0) {
        kinds.entry(source.kind).or_default().push(source);
    }
    let mut all = Estimate { texts: Vec::new(), documents: 0, text_bytes: 0, longest_document_bytes: 0, skipped: 0 };
    for (kind, of_kind) in kinds {
        let looked_at = of_kind.iter().step_by(of_kind.len().div_ceil(SAMPLES));
        let samples =
            looked_at.map(|source| sample(sources, source, (options, on_bad))).collect::<Result<Vec<_>, _>>()?;
        let bytes: u64 = of_kind.iter().map(|source| source.bytes).sum();
        let sum = |of: fn(&Sample) -> u64| samples.iter().map(of).fold(0, u64::saturating_add);
        let scale = |part: u64| scaled(part, bytes, sum(|sample| sample.bytes));
        let text_bytes = scale(sum(|sample| sample.text_bytes));
        all.skipped = all.skipped.saturating_add(sum(|sample| sample.skipped));
        all.text_bytes = all.text_bytes.saturating_add(text_bytes);
        let is_one_each = kind.layout == Layout::Text;
        let documents = if is_one_each { of_kind.len() as u64 } else { scale(sum(|sample| sample.documents)) };
        all.documents = all.documents.saturating_add(documents);
        let plain = of_kind.iter().map(|source| source.bytes).filter(|_| is_one_each);
        let longest = samples.iter().map(|sample| sample.longest_document_bytes).chain(plain).max();
        all.longest_document_bytes = all.longest_document_bytes.max(longest.unwrap_or_default());
        all.texts.extend(samples.into_iter().map(|sample| sample.text));
    }
    Ok(all)
}

/// Returns `part` times `whole / of`.
fn scaled(part: u64, whole: u64, of: u64) -> u64 {
    u64::try_from(u128::from(part) * u128::from(whole) / u128::from(of.max(1))).unwrap_or(u64::MAX)
}

fn sample(
    sources: &[Source],
    source: &Source,
    (options, on_bad): (&ReadOptions, OnBadDocument),
) -> Result<Sample, PrepareError> {
    let seen = match source.kind.layout {
        Layout::Text => text(sources, source),
        Layout::JsonLines | Layout::Parquet => documents(sources, source, (options, on_bad)),
    };
    match (seen, on_bad) {
        (Err(PrepareError::BadDocument(_)), OnBadDocument::Skip) => {
            Ok(Sample { skipped: 1, ..Sample::nothing(source.bytes) })
        }
        (seen, _) => seen,
    }
}

impl Sample {
    /// Returns a sample of `bytes` bytes in which nothing has been read yet.
    fn nothing(bytes: u64) -> Self {
        Sample { text: String::new(), documents: 0, text_bytes: 0, longest_document_bytes: 0, skipped: 0, bytes }
    }
}

/// Looks at an object that is one document. The sample stands for all of it.
fn text(sources: &[Source], source: &Source) -> Result<Sample, PrepareError> {
    let counter = Arc::<AtomicU64>::default();
    let is_plain = source.kind.packing == Packing::Plain;
    let (mut content, mut rest) = (Vec::new(), 0);
    let mut read = || -> io::Result<()> {
        let mut text = unpacked(source, &counter)?;
        text.by_ref().take(KEPT_BYTES as u64).read_to_end(&mut content)?;
        rest = if is_plain { 0 } else { io::copy(&mut text.take(UNPACKED_BYTES), &mut io::sink())? };
        Ok(())
    };
    read().map_err(|error| refused(source, error.into()))?;
    let unpacked_bytes = content.len() as u64 + rest;
    let text_bytes = match (is_plain, rest < UNPACKED_BYTES) {
        (true, _) => source.bytes,
        (false, true) => unpacked_bytes,
        (false, false) => scaled(unpacked_bytes, source.bytes, counter.load(Ordering::Relaxed)),
    };
    if content.starts_with(BOM) {
        content.drain(..BOM.len());
    }
    if text_bytes > content.len() as u64 {
        content.truncate(without_cut_character(&content));
    }
    let range = 0..content.len();
    let (position, place, beside) = (0, Place::Object, Vec::new());
    let raw = RawDocument { source: source.number, position, place, is_json: false, range, beside };
    let batch = Batch { content, ..Batch::default() };
    let text = text_of(&batch, &raw, "", sources).map_err(PrepareError::BadDocument)?.into_owned();
    let documents = u64::from(text_bytes > 0);
    Ok(Sample { text, documents, text_bytes, longest_document_bytes: text_bytes, ..Sample::nothing(source.bytes) })
}

/// Returns the length of `content` without the beginning of a character at its end.
fn without_cut_character(content: &[u8]) -> usize {
    match std::str::from_utf8(content) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => content.len(),
    }
}

/// Looks at the first documents of an object that has many.
fn documents(
    sources: &[Source],
    source: &Source,
    (options, on_bad): (&ReadOptions, OnBadDocument),
) -> Result<Sample, PrepareError> {
    let is_skipped = on_bad == OnBadDocument::Skip;
    let Kind { layout, packing } = source.kind;
    let can_be_divided = (layout, packing) == (Layout::JsonLines, Packing::Plain);
    let bytes = if can_be_divided { source.bytes.min(PART_BYTES) } else { source.bytes };
    let unit = Unit { pieces: vec![Piece { source: source.number, range: 0..bytes }], bytes };
    let mut batches = Batches::new(sources, options, 0, &unit);
    let mut seen = Sample::nothing(bytes);
    for _ in 0..BATCHES {
        let Some(batch) = batches.next_batch()? else { break };
        if let Some(bad) = batch.bad.first().filter(|_| !is_skipped) {
            return Err(PrepareError::BadDocument(source.with_line(bad.clone())));
        }
        seen.skipped += batch.bad.len() as u64;
        for raw in &batch.documents {
            let text = match text_of(&batch, raw, &options.text_field, sources) {
                Err(_) if is_skipped => {
                    seen.skipped += 1;
                    continue;
                }
                text => text.map_err(|bad| PrepareError::BadDocument(source.with_line(bad)))?,
            };
            let length = text.len() as u64;
            seen.documents += u64::from(length > 0);
            seen.text_bytes += length;
            seen.longest_document_bytes = seen.longest_document_bytes.max(length);
            if seen.text.len() < KEPT_BYTES {
                seen.text.push_str(&text[..text.floor_char_boundary(KEPT_BYTES - seen.text.len())]);
            }
        }
        if batch.is_last {
            return Ok(seen);
        }
    }
    let read = if layout == Layout::Parquet { seen.text_bytes / PARQUET_RATIO } else { batches.bytes_read() };
    Ok(Sample { bytes: read.clamp(1, bytes), ..seen })
}

/// Returns the error for an object that cannot be read.
fn refused(source: &Source, failure: Failure) -> PrepareError {
    match failure {
        Failure::Storage(error) => lost(error),
        Failure::Object { fault, reason } => PrepareError::BadDocument(BadDocument {
            source: source.number,
            position: 0,
            url: source.url(),
            place: Place::Object,
            fault,
            reason,
        }),
    }
}
