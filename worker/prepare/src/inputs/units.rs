//! Sources to units of work: large objects are divided where their layout allows it, small ones go together.

use std::ops::Range;

use super::source::{Layout, Packing, Source};

/// A unit is about so much of the inputs at least, and at most.
const UNIT_BYTES: [u64; 2] = [1 << 20, 32 << 20];
/// In between, the inputs are divided into so many, for ranks to share evenly.
const UNITS: u64 = 64;
/// The most objects in a unit, since every one costs a request.
const UNIT_PIECES: usize = 1024;

/// Documents that one rank reads, one piece after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// What to read.
    pub pieces: Vec<Piece>,
    /// How many bytes of the inputs these are.
    pub bytes: u64,
}

/// An object or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The number of the source.
    pub source: u32,
    /// The documents that begin here: lines whose first byte, or row groups whose first page is in this range.
    pub range: Range<u64>,
}

/// Divides the work, the same for any number of ranks.
pub fn units(sources: &[Source]) -> Vec<Unit> {
    let all: u64 = sources.iter().map(|source| source.bytes).sum();
    let unit_bytes = (all / UNITS).clamp(UNIT_BYTES[0], UNIT_BYTES[1]);
    let mut units: Vec<Unit> = Vec::new();
    for piece in sources.iter().flat_map(|source| pieces(source, unit_bytes)) {
        let bytes = piece.range.end - piece.range.start;
        match units.last_mut() {
            Some(unit) if unit.bytes + bytes <= unit_bytes && unit.pieces.len() < UNIT_PIECES => {
                unit.pieces.push(piece);
                unit.bytes += bytes;
            }
            _ => units.push(Unit { pieces: vec![piece], bytes }),
        }
    }
    units
}

fn pieces(source: &Source, unit_bytes: u64) -> impl Iterator<Item = Piece> + use<> {
    let can_be_divided = source.kind.packing == Packing::Plain && source.kind.layout != Layout::Text;
    let step = if can_be_divided { unit_bytes } else { source.bytes.max(1) };
    let (number, bytes) = (source.number, source.bytes);
    (0..bytes.max(1))
        .step_by(step as usize)
        .map(move |start| Piece { source: number, range: start..bytes.min(start + step) })
}
