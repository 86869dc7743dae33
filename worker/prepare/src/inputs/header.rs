//! Sizes in the header of a Parquet page, which is in Thrift's compact protocol. The Parquet library takes memory by them, and
//! does not give them away before.

use std::io::{self, Read};

/// Numbers of the fields of the sizes.
const UNPACKED: i64 = 2;
const PACKED: i64 = 3;

/// Types of fields.
const STRUCT: u8 = 12;
/// Structs in a struct that are skipped. Headers have two levels.
const DEPTH_MAX: u32 = 8;

/// Sizes of a page in bytes, as its header has them. The library refuses negative ones, which are 0 here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub unpacked: u64,
    pub packed: u64,
}

/// Reads the header of a page.
pub(super) fn sizes(header: &mut impl Read) -> io::Result<Sizes> {
    let (mut unpacked, mut packed, mut before) = (0, 0, 0);
    while let Some((id, kind)) = field(header, before)? {
        match id {
            UNPACKED => unpacked = number(header)?,
            PACKED => packed = number(header)?,
            _ => skip(header, kind, DEPTH_MAX)?,
        }
        before = id;
    }
    let size = |number| u64::try_from(number).unwrap_or(0);
    Ok(Sizes { unpacked: size(unpacked), packed: size(packed) })
}

/// Reads the number and the type of the field after the field `before`; `None` at the end of the struct.
fn field(header: &mut impl Read, before: i64) -> io::Result<Option<(i64, u8)>> {
    let (difference, kind) = halves(byte(header)?);
    Ok(match (difference, kind) {
        (_, 0) => None,
        (0, kind) => Some((number(header)?, kind)),
        (difference, kind) => Some((before.saturating_add(i64::from(difference)), kind)),
    })
}

/// Reads past a value of the type `kind`.
fn skip(header: &mut impl Read, kind: u8, depth: u32) -> io::Result<()> {
    let Some(depth) = depth.checked_sub(1) else { return Err(no_sense()) };
    match kind {
        // The type of a field says whether it is true.
        1 | 2 => Ok(()),
        3 => skip_bytes(header, 1),
        4..=6 => varint(header).map(drop),
        7 => skip_bytes(header, 8),
        8 => {
            let bytes = varint(header)?;
            skip_bytes(header, bytes)
        }
        9 | 10 => skip_list(header, depth),
        STRUCT => {
            while let Some((_, kind)) = field(header, 0)? {
                skip(header, kind, depth)?;
            }
            Ok(())
        }
        _ => Err(no_sense()),
    }
}

fn skip_list(header: &mut impl Read, depth: u32) -> io::Result<()> {
    let (length, kind) = halves(byte(header)?);
    let length = if length == 15 { varint(header)? } else { length.into() };
    // In a list, true and false have a byte each.
    let kind = if kind <= 2 { 3 } else { kind };
    (0..length).try_for_each(|_| skip(header, kind, depth))
}

fn skip_bytes(header: &mut impl Read, bytes: u64) -> io::Result<()> {
    match io::copy(&mut header.take(bytes), &mut io::sink())? {
        skipped if skipped < bytes => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Reads a number with a sign.
pub(super) fn number(header: &mut impl Read) -> io::Result<i64> {
    let bits = varint(header)?;
    Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
}

/// Reads a number without a sign, in groups of seven bits, the lowest first.
pub(super) fn varint(header: &mut impl Read) -> io::Result<u64> {
    let mut bits = 0;
    for shift in (0..64).step_by(7) {
        let byte = byte(header)?;
        bits |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(bits);
        }
    }
    Err(no_sense())
}

fn halves(byte: u8) -> (u8, u8) {
    (byte >> 4, byte & 0x0f)
}

fn byte(header: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    header.read_exact(&mut byte).map(|()| byte[0])
}

fn no_sense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "damaged: the header of a page in it makes no sense")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_found_among_fields_of_every_type() {
        let check = |header: &[u8], expected: Option<(u64, u64)>| {
            let found = sizes(&mut &header[..]).ok();
            assert_eq!(found, expected.map(|(unpacked, packed)| Sizes { unpacked, packed }), "{header:02x?}");
        };
        // A data page as writers have it: type 0, 300 bytes, 12 packed, and a struct with statistics in it.
        let statistics = [0x5c, 0x18, 0x02, b'a', b'b', 0x16, 0x06, 0x21, 0x00];
        let of_data = [&[0x2c, 0x15, 0x08, 0x15, 0x00][..], &statistics, &[0x00, 0x00]].concat();
        let header = [&[0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0x18][..], &of_data].concat();
        check(&header, Some((300, 12)));
        (0..header.len()).for_each(|end| check(&header[..end], None));
        // Fields with their whole numbers, in another order, and the largest size.
        check(&[0x05, 0x06, 0x18, 0x05, 0x04, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x00], Some((i32::MAX as u64, 12)));
        check(&[0x25, 0x01, 0x00], Some((0, 0)));
        // Lists, doubles and bytes that no version has.
        check(&[0x25, 0x06, 0x79, 0x21, 0, 1, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0x13, 9, 0x00], Some((3, 0)));
        check(&[0x25, 0x06, 0x0b, 0x20, 0x01, 0x88, 0, 0], None);
        check(&[0xff; 20], None);
        check(&[0x1c; 20], None);
    }
}
