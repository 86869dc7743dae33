//! Numbers of strings in Parquet's delta encodings, where lengths are a list that begins with their number. The Parquet library
//! takes memory by it.

use std::io;

use super::header::{number, varint};

/// Returns the largest number of strings that `values` announce: in DELTA_LENGTH_BYTE_ARRAY, or in DELTA_BYTE_ARRAY, which has
/// a list of the lengths of prefixes before that.
pub(super) fn announced(mut values: &[u8], have_prefixes: bool) -> io::Result<u64> {
    let first = list(&mut values)?;
    // Where the first list takes all bytes, the library finds that the other is missing.
    let second = if have_prefixes && !values.is_empty() { list(&mut values)? } else { 0 };
    Ok(first.max(second))
}

/// Reads past a list in DELTA_BINARY_PACKED. Returns the number of its values. Blocks that are missing are none.
fn list(values: &mut &[u8]) -> io::Result<u64> {
    let (block, parts, count) = (varint(values)?, varint(values)?, varint(values)?);
    number(values)?;
    let Some(part) = block.checked_div(parts).filter(|part| *part > 0) else { return Ok(count) };
    let mut left = count.saturating_sub(1);
    while left > 0 && !values.is_empty() {
        number(values)?;
        for width in take(values, parts) {
            if left > 0 {
                take(values, u64::from(*width).saturating_mul(part) / 8);
                left = left.saturating_sub(part);
            }
        }
    }
    Ok(count)
}

/// Takes this number of `bytes` off the front, or all.
fn take<'v>(values: &mut &'v [u8], bytes: u64) -> &'v [u8] {
    let (taken, rest) = values.split_at(usize::try_from(bytes).unwrap_or(usize::MAX).min(values.len()));
    *values = rest;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_number_of_two_lists_is_found() {
        // Blocks of 128 values in 4 parts; 40 values, of which the first is 0; a least difference of 0, and widths of 1 and 2 bits.
        let prefixes = [&[0x80, 0x01, 4, 40, 0, 0, 1, 2, 0, 0][..], &[0xff; 4 + 8]].concat();
        let one_length = [0x80, 0x01, 4, 1, 6];
        let many_lengths = [0x80, 0x01, 4, 0x80, 0x80, 0x80, 0x08, 6];
        assert_eq!(announced(&prefixes, false).unwrap(), 40);
        assert_eq!(announced(&[&prefixes[..], &one_length].concat(), true).unwrap(), 40);
        assert_eq!(announced(&[&prefixes[..], &many_lengths].concat(), true).unwrap(), 1 << 24);
        assert_eq!(announced(&many_lengths, false).unwrap(), 1 << 24);
        assert!(announced(&[0x80], true).is_err());
        assert_eq!(announced(&[0x80, 0x01, 0, 9, 0], false).unwrap(), 9);
    }
}
