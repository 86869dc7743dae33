//! An object, or a part of one, to its documents.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::storage::{Reader, StorageError};
use flate2::bufread::GzDecoder;
use parquet::errors::ParquetError;

use super::batches::ReadOptions;
use super::lines::Lines;
use super::rows::Rows;
use super::{Fault, Layout, Packing, Place, Source};

/// Unpackers and lines are read by so much at a time.
const BUFFER_BYTES: usize = 256 << 10;
/// A zstd frame may refer back so far, 2 GiB, as `zstd --long=31` does, and an xz stream may need as much memory. It is only
/// filled as far as there is content.
const WINDOW_LOG_MAX: u32 = 31;

/// What comes next in an object.
pub(super) enum Next {
    /// A document, whose content was appended.
    Document { position: u64, place: Place, is_json: bool },
    /// A document that is none; what was appended is to be dropped.
    Bad { position: u64, place: Place, fault: Fault, reason: String },
    /// Nothing yet: call again.
    Nothing,
    /// Nothing more.
    End,
}

/// Why an object cannot be read on.
pub(super) enum Failure {
    /// The store is at fault: the end of the job, since another time it may not be.
    Storage(StorageError),
    /// This object is at fault.
    Object { fault: Fault, reason: String },
}

impl Failure {
    fn of(error: &(dyn Error + 'static)) -> Self {
        match Reader::storage_error(error) {
            Some(error) => Failure::Storage(error.clone()),
            None => Failure::unreadable(error.to_string()),
        }
    }

    pub(super) fn unreadable(reason: String) -> Self {
        Failure::Object { fault: Fault::UnreadableObject, reason }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Failure::unreadable("it ends too early: truncated".into()),
            _ => Failure::of(&error),
        }
    }
}

impl From<ParquetError> for Failure {
    fn from(error: ParquetError) -> Self {
        Failure::of(&error)
    }
}

/// The documents of a piece of a source.
pub(super) enum Documents {
    Text(Option<Box<dyn Read + Send>>, u64),
    Lines(Lines),
    Rows(Box<Rows>),
}

impl Documents {
    /// Opens the documents of `source` that begin in `range`. `counter` counts the bytes of the object that are read.
    pub fn open(
        source: &Source,
        range: Range<u64>,
        options: &ReadOptions,
        counter: &Arc<AtomicU64>,
    ) -> Result<Self, Failure> {
        let most = options.document_bytes_max;
        if let Some(reason) = &source.unreadable {
            return Err(Failure::unreadable(reason.clone()));
        }
        Ok(match source.kind.layout {
            Layout::Text => Documents::Text(Some(unpacked(source, counter)?), most as u64),
            Layout::JsonLines if source.kind.packing == Packing::Plain => {
                Documents::Lines(Lines::of_part(source, range, most, counter)?)
            }
            Layout::JsonLines => {
                let unpacked = BufReader::with_capacity(BUFFER_BYTES, unpacked(source, counter)?);
                Documents::Lines(Lines::of_all(Box::new(unpacked), most))
            }
            Layout::Parquet => Documents::Rows(Box::new(Rows::open(source, range, options)?)),
        })
    }

    /// Appends the next document to `content`.
    pub fn next(&mut self, content: &mut Vec<u8>) -> Result<Next, Failure> {
        match self {
            Documents::Text(text, most) => match text.take() {
                Some(text) => whole_text(text, *most, content),
                None => Ok(Next::End),
            },
            Documents::Lines(lines) => lines.next(content),
            Documents::Rows(rows) => rows.next(content),
        }
    }
}

/// Counts what is read.
pub(super) struct Counted {
    pub reader: Reader,
    pub counter: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.counter.fetch_add(count as u64, Ordering::Relaxed);
        self.reader.consume(count);
    }
}

/// A byte order mark at the start of an object is not part of its text.
pub(super) const BOM: &[u8] = "\u{feff}".as_bytes();

/// What is said of a document that is too long.
pub(super) fn too_long(most: u64) -> String {
    format!("longer than prepare.max_document_bytes = {most}; split it, or raise that")
}

fn whole_text(text: Box<dyn Read + Send>, most: u64, content: &mut Vec<u8>) -> Result<Next, Failure> {
    let start = content.len();
    let bytes = text.take(most + 1).read_to_end(content)?;
    let (position, place) = (0, Place::Object);
    if bytes as u64 > most {
        return Ok(Next::Bad { position, place, fault: Fault::TooLong, reason: too_long(most) });
    }
    if content[start..].starts_with(BOM) {
        content.drain(start..start + BOM.len());
    }
    Ok(Next::Document { position, place, is_json: false })
}

/// The bytes of an object as they were before it was packed.
fn unpacked(source: &Source, counter: &Arc<AtomicU64>) -> io::Result<Box<dyn Read + Send>> {
    let packed = Counted { reader: source.folder.reader(&source.name, 0..source.bytes), counter: counter.clone() };
    Ok(match source.kind.packing {
        Packing::Plain => Box::new(packed),
        Packing::Gzip => Box::new(Gzip { member: Some(GzDecoder::new(packed)) }),
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        Packing::Xz => {
            // Its memory is the dictionary and a little more.
            let memory = (1 << WINDOW_LOG_MAX) + (64 << 20);
            let flags = liblzma::stream::CONCATENATED;
            let stream = liblzma::stream::Stream::new_stream_decoder(memory, flags).map_err(io::Error::other)?;
            Box::new(liblzma::read::XzDecoder::new_stream(packed, stream))
        }
        Packing::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(packed)),
    })
}

/// The members of a gzip file, one after the other. Zeros behind one are nothing, as to gzip: tapes are filled up with them.
struct Gzip<R> {
    /// `None` after the last.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let has_more = skip_zeros(member.get_mut())?;
            self.member = self.member.take().filter(|_| has_more).map(|member| GzDecoder::new(member.into_inner()));
        }
        Ok(0)
    }
}

/// Leaves out the zeros that come next; `false` where nothing follows.
fn skip_zeros(input: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = input.fill_buf()?;
        let (all, zeros) = (bytes.len(), bytes.iter().take_while(|byte| **byte == 0).count());
        input.consume(zeros);
        if zeros < all || all == 0 {
            return Ok(all > 0);
        }
    }
}
