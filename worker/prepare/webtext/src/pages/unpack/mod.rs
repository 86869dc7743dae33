//! The unpacked bytes of an object, in order and once, with the places where members begin and where damage tears them.
//!
//! - [`packed`]: the packed bytes. [`codec`]: unpacks them. [`dictionary`]: what zstd may need for that.
//!
//! A **seam** is a position at which a gzip member or zstd frame begins; all before it has been unpacked whole, and has the
//! checksum that it should have. A **tear** is a position behind which the current member cannot be unpacked. Nothing is read
//! across a tear: the caller looks at it, and then has the next member found ([`Unpacked::mend`]). A position counts unpacked bytes
//! from the beginning.

mod codec;
mod dictionary;
mod packed;

use std::collections::VecDeque;
use std::io::{self, Read};

use codec::{Codec, MAGIC_BYTES, Step};
pub use dictionary::Dictionary;
pub(in crate::pages) use packed::KEPT_BYTES;
use packed::Packed;

use super::format::Packing;
use super::page::Place;

/// Bytes that are read and unpacked at a time.
pub(in crate::pages) const CHUNK_BYTES: usize = 64 << 10;
/// Members in a row that may turn out to be damaged before reading goes on where the last of them failed, not at its second byte.
/// So what is unpacked is bounded, also where bytes that look like members lie closely.
const TRIES: u32 = 16;
/// Largest number of seams in the buffer, of 16 bytes each.
const SEAMS: usize = 1 << 16;

/// Reader of unpacked bytes.
pub(super) struct Unpacked<R> {
    packed: Packed<R>,
    codec: Codec,
    /// Packing to expect where the first bytes show none.
    expected: Packing,
    dictionary: Option<Dictionary>,
    /// Unpacked bytes; those from `start` on are yet to be read.
    buffer: Vec<u8>,
    start: usize,
    /// Position of the buffer's first byte.
    origin: u64,
    seams: VecDeque<Seam>,
    /// Where in the object the current member begins.
    member: u64,
    /// Damaged members since the last whole one.
    failures: u32,
    state: State,
}

/// What follows the bytes in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    /// More bytes, perhaps, or a seam.
    Some,
    /// A tear.
    Torn,
    /// The end of the object.
    End,
}

struct Seam {
    position: u64,
    packed: u64,
}

enum State {
    Start,
    Between,
    Inside,
    Torn(String),
    End,
}

impl<R: Read> Unpacked<R> {
    /// Unpacks `reader`, whose first byte is byte `base` of the object, and begins a member.
    pub fn new(reader: R, base: u64, expected: Packing) -> Self {
        Unpacked {
            packed: Packed::new(reader, base),
            codec: Codec::Plain,
            expected,
            dictionary: None,
            buffer: Vec::new(),
            start: 0,
            origin: 0,
            seams: VecDeque::new(),
            member: base,
            failures: 0,
            state: State::Start,
        }
    }

    /// Sets the dictionary of zstd frames.
    pub fn set_dictionary(&mut self, dictionary: Dictionary) {
        self.dictionary = Some(dictionary);
    }

    /// Returns the bytes in the buffer.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Returns the position of the next byte.
    pub fn position(&self) -> u64 {
        self.origin + self.start as u64
    }

    /// Returns the number of bytes of the object that have been unpacked.
    pub fn packed_offset(&self) -> u64 {
        self.packed.offset()
    }

    /// Steps over `bytes` bytes of the buffer.
    pub fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.buffer.len());
        let position = self.position();
        // The last seam at or before the position says where it is in the object.
        while self.seams.get(1).is_some_and(|next| next.position <= position) {
            self.seams.pop_front();
        }
    }

    /// Returns the place of the byte that lies `ahead` bytes ahead.
    pub fn place(&self, ahead: usize) -> Place {
        let position = self.position() + ahead as u64;
        let Some(seam) = self.seams.iter().rev().find(|seam| seam.position <= position) else {
            return Place { at: self.member, within: 0 };
        };
        let within = position - seam.position;
        match self.codec {
            Codec::Plain => Place { at: seam.packed + within, within: 0 },
            _ => Place { at: seam.packed, within },
        }
    }

    /// Returns how far ahead seams lie, from `from` to the end of the buffer.
    pub fn seams(&self, from: usize) -> impl Iterator<Item = usize> {
        let position = self.position();
        let from = position + from as u64;
        self.seams.iter().filter(move |seam| seam.position >= from).map(move |seam| (seam.position - position) as usize)
    }

    /// Returns what is wrong at the tear that follows the buffer, and where in the object the torn member begins.
    pub fn tear(&self) -> (Place, String) {
        let reason = match &self.state {
            State::Torn(reason) => reason.clone(),
            _ => String::new(),
        };
        (Place { at: self.member, within: 0 }, reason)
    }

    /// Unpacks more bytes. While nothing has been mended, a tear stays where it is.
    pub fn more(&mut self) -> io::Result<More> {
        match self.state {
            State::Start => self.begin_object()?,
            State::Between => self.begin_member()?,
            State::Inside => self.unpack()?,
            State::Torn(_) => return Ok(More::Torn),
            State::End => return Ok(More::End),
        }
        Ok(More::Some)
    }

    /// Drops the buffer and goes on behind the tear: at the next member that begins in the object.
    pub fn mend(&mut self) -> io::Result<()> {
        if !matches!(self.state, State::Torn(_)) {
            return Ok(());
        }
        self.consume(self.buffer.len());
        // A decoder that has failed may not have taken a byte.
        let mut from = self.member + 1;
        if self.failures >= TRIES {
            from = from.max(self.packed.offset());
            self.failures = 0;
        }
        self.packed.go_to(from);
        self.failures += 1;
        self.state = State::Between;
        loop {
            if let Some(at) = self.codec.find(self.packed.rest()) {
                self.packed.advance(at);
                return Ok(());
            }
            // A member may begin in the last bytes.
            let all = self.packed.rest().len();
            self.packed.advance(all.saturating_sub(MAGIC_BYTES - 1));
            if !self.packed.fill()? {
                self.state = State::End;
                return Ok(());
            }
        }
    }

    fn begin_object(&mut self) -> io::Result<()> {
        self.packed.fill_to(MAGIC_BYTES)?;
        let begin = self.packed.rest();
        // Pages and records begin with text, and so does an object that was unpacked on its way.
        let is_text =
            begin.first().is_some_and(|byte| matches!(byte, b'W' | b'<' | b'{' | b' ' | b'\t' | b'\r' | b'\n' | 0xef));
        let packing = Codec::packing_of(begin).unwrap_or(if is_text { Packing::Plain } else { self.expected });
        if packing == Packing::Zstd && self.dictionary.is_none() {
            match Dictionary::next_in(&mut self.packed) {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    self.codec = Codec::new(packing, &[])?;
                    self.state = State::Torn(error.to_string());
                    return Ok(());
                }
                dictionary => self.dictionary = dictionary?,
            }
        }
        let dictionary = self.dictionary.as_ref().map(Dictionary::bytes).unwrap_or_default();
        self.codec = Codec::new(packing, dictionary)?;
        self.state = State::Between;
        Ok(())
    }

    fn begin_member(&mut self) -> io::Result<()> {
        // Tapes are padded with zeros.
        while !matches!(self.codec, Codec::Plain) {
            let zeros = self.packed.rest().iter().take_while(|byte| **byte == 0).count();
            let all = self.packed.rest().len();
            self.packed.advance(zeros);
            if zeros < all || !self.packed.fill()? {
                break;
            }
        }
        self.packed.fill_to(MAGIC_BYTES)?;
        self.member = self.packed.offset();
        if self.packed.rest().is_empty() {
            self.state = State::End;
        } else if self.codec.begins(self.packed.rest()) {
            self.codec.begin()?;
            self.state = State::Inside;
            self.add_seam();
        } else {
            self.state = State::Torn("no gzip member or zstd frame begins where the one before ends".to_owned());
        }
        Ok(())
    }

    fn unpack(&mut self) -> io::Result<()> {
        let is_read = !self.packed.rest().is_empty() || self.packed.fill()?;
        self.make_room();
        let length = self.buffer.len();
        self.buffer.resize(length + CHUNK_BYTES, 0);
        let output = self.buffer.get_mut(length..).unwrap_or_default();
        let Step { read, written, ended } = self.codec.step(self.packed.rest(), output);
        self.buffer.truncate(length + written);
        self.packed.advance(read);
        self.state = match ended {
            Err(reason) => State::Torn(reason),
            Ok(true) => {
                self.failures = 0;
                self.add_seam();
                State::Between
            }
            Ok(false) if read > 0 || written > 0 => State::Inside,
            Ok(false) if matches!(self.codec, Codec::Plain) => State::End,
            Ok(false) if is_read => State::Torn("the gzip member or zstd frame cannot be unpacked".to_owned()),
            Ok(false) => State::Torn("the object ends inside a gzip member or zstd frame: cut".to_owned()),
        };
        if self.seams.len() > SEAMS {
            self.state =
                State::Torn("more gzip members or zstd frames than any archive has for its content".to_owned());
        }
        Ok(())
    }

    /// Notes that all unpacked bytes are whole, and that others follow.
    fn add_seam(&mut self) {
        let (position, packed) = (self.origin + self.buffer.len() as u64, self.packed.offset());
        match self.seams.back_mut() {
            Some(last) if last.position == position => last.packed = packed,
            _ => self.seams.push_back(Seam { position, packed }),
        }
    }

    /// Makes room in the buffer for a chunk. It is moved to the front only where that is at most half of the work of filling it.
    fn make_room(&mut self) {
        let length = self.buffer.len();
        if length + CHUNK_BYTES <= self.buffer.capacity() {
            return;
        }
        if self.start >= length / 2 {
            self.buffer.drain(..self.start);
            self.origin += self.start as u64;
            self.start = 0;
        }
        if self.buffer.len() + CHUNK_BYTES > self.buffer.capacity() {
            self.buffer.reserve_exact((self.buffer.len() / 2).max(CHUNK_BYTES));
        }
    }
}
