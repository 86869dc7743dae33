//! Divides sources into units of work: large objects are split where their layout allows it, and small ones are joined.

use std::ops::Range;

use super::source::{Layout, Packing, Source};

/// Smallest and largest size of a unit, in bytes of the inputs; approximate.
const UNIT_BYTES: [u64; 2] = [1 << 20, 32 << 20];
/// Number of units between these sizes, for ranks to share evenly.
const UNITS: u64 = 64;
/// Largest number of objects in a unit, since every object costs a request.
const UNIT_PIECES: usize = 1024;

/// Documents that one rank reads, piece after piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Pieces to read.
    pub pieces: Vec<Piece>,
    /// Bytes of the inputs in these pieces.
    pub bytes: u64,
}

/// An object or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Number of the source.
    pub source: u32,
    /// Range in which the piece's documents begin: the first byte of a line, or the first page of a row group.
    pub range: Range<u64>,
}

/// Divides `sources` into units. The division does not depend on the number of ranks.
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
