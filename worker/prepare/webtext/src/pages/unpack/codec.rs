//! Unpacks one gzip member or zstd frame after another.

use std::io;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::pages::format::Packing;
use crate::pages::limits::OBJECT_WINDOW_LOG;

/// Bytes by which the beginning of a member or frame is recognized.
pub(super) const MAGIC_BYTES: usize = 10;

const GZIP: [u8; 3] = [0x1f, 0x8b, 8];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// What a skippable frame of zstd begins with, after its first byte: 0x50 to 0x5f.
const SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// Decoder of a packing.
pub(super) enum Codec {
    Plain,
    Gzip(Box<Decompress>),
    Zstd(Box<Decoder<'static>>),
}

/// What one step has done.
pub(super) struct Step {
    /// Packed bytes taken.
    pub read: usize,
    /// Unpacked bytes written.
    pub written: usize,
    /// Whether the member or frame has ended, or why it cannot go on.
    pub ended: Result<bool, String>,
}

impl Codec {
    /// Makes the decoder of a packing.
    pub fn new(packing: Packing, dictionary: &[u8]) -> io::Result<Self> {
        Ok(match packing {
            Packing::Plain => Codec::Plain,
            Packing::Gzip => Codec::Gzip(Box::new(gzip())),
            Packing::Zstd => {
                let mut decoder = Decoder::with_dictionary(dictionary)?;
                decoder.set_parameter(DParameter::WindowLogMax(OBJECT_WINDOW_LOG))?;
                Codec::Zstd(Box::new(decoder))
            }
        })
    }

    /// Returns the packing of an object that begins with `bytes`; `None` where it shows none.
    pub fn packing_of(bytes: &[u8]) -> Option<Packing> {
        if bytes.starts_with(&GZIP) {
            return Some(Packing::Gzip);
        }
        (bytes.starts_with(&ZSTD) || is_skippable(bytes)).then_some(Packing::Zstd)
    }

    /// Prepares for the next member or frame.
    pub fn begin(&mut self) -> io::Result<()> {
        match self {
            Codec::Plain => Ok(()),
            Codec::Gzip(decoder) => {
                **decoder = gzip();
                Ok(())
            }
            Codec::Zstd(decoder) => decoder.reinit(),
        }
    }

    /// Unpacks some of `input` into `output`.
    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        match self {
            Codec::Plain => {
                let count = input.len().min(output.len());
                if let (Some(from), Some(to)) = (input.get(..count), output.get_mut(..count)) {
                    to.copy_from_slice(from);
                }
                Step { read: count, written: count, ended: Ok(false) }
            }
            Codec::Gzip(decoder) => {
                let before = (decoder.total_in(), decoder.total_out());
                let status = decoder.decompress(input, output, FlushDecompress::None);
                let ended = match status {
                    Ok(status) => Ok(status == Status::StreamEnd),
                    Err(error) => Err(format!("gzip: {}", error.message().unwrap_or("not deflated"))),
                };
                let (read, written) = (decoder.total_in() - before.0, decoder.total_out() - before.1);
                // A decoder cannot have read or written more than there was.
                Step { read: input.len().min(read as usize), written: output.len().min(written as usize), ended }
            }
            Codec::Zstd(decoder) => {
                let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(output));
                let ended = match decoder.run(&mut from, &mut to) {
                    Ok(hint) => Ok(hint == 0),
                    Err(error) => Err(format!("zstd: {error}")),
                };
                Step { read: from.pos(), written: to.pos(), ended }
            }
        }
    }

    /// Returns whether a member or frame seems to begin with `bytes`: the first [`MAGIC_BYTES`] of it, or all there are.
    pub fn begins(&self, bytes: &[u8]) -> bool {
        match self {
            Codec::Plain => true,
            // Method, no reserved flag.
            Codec::Gzip(_) => bytes.starts_with(&GZIP) && bytes.get(3).is_none_or(|flags| flags & 0xe0 == 0),
            Codec::Zstd(_) => {
                let is_frame = bytes.starts_with(&ZSTD) && bytes.get(4).is_none_or(|descriptor| descriptor & 8 == 0);
                is_frame || is_skippable(bytes)
            }
        }
    }

    /// Returns where in `bytes` a member or frame may begin. Behind damage this asks for more than [`Codec::begins`] does: that
    /// of a gzip member's header which every program writes in one of few ways, and no skippable frame, which holds nothing.
    pub fn find(&self, bytes: &[u8]) -> Option<usize> {
        let is_begun = |rest: &[u8]| match (self, rest) {
            (Codec::Gzip(_), [_, _, _, _, _, _, _, _, level, system, ..]) => {
                self.begins(rest) && matches!(level, 0 | 2 | 4) && (*system <= 13 || *system == 255)
            }
            (Codec::Zstd(_), rest) => rest.len() > ZSTD.len() && !is_skippable(rest) && self.begins(rest),
            _ => false,
        };
        let first = if matches!(self, Codec::Gzip(_)) { GZIP[0] } else { ZSTD[0] };
        memchr::memchr_iter(first, bytes).find(|at| bytes.get(*at..).is_some_and(is_begun))
    }
}

fn gzip() -> Decompress {
    Decompress::new_gzip(15)
}

fn is_skippable(bytes: &[u8]) -> bool {
    matches!(bytes.split_first(), Some((0x50..=0x5f, rest)) if rest.starts_with(&SKIPPABLE))
}
