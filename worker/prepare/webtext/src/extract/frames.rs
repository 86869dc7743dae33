//! Messages between the processes: a length of four little-endian bytes, then as many bytes.

use std::io::{self, Read, Write};

/// First message of a child, after it has taken the limits.
pub(super) const READY: &[u8] = b"convoy-extract 1";
/// Longest message that is no page's body.
pub(super) const MESSAGE_BYTES: u64 = 1 << 30;

/// Writes a message.
pub(super) fn write(to: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(message)
}

/// Reads a message of at most `bytes_max` bytes; `None` where the stream ends before it.
pub(super) fn read(from: &mut impl Read, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    let mut filled = 0;
    while filled < length.len() {
        match from.read(&mut length[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u64::from(u32::from_le_bytes(length));
    if length > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message of {length} bytes, above {bytes_max}"),
        ));
    }
    // Memory grows with what arrives, not with what is announced.
    let mut message = Vec::new();
    from.take(length).read_to_end(&mut message)?;
    if u64::try_from(message.len()).ok() != Some(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_one_by_one_until_the_stream_ends() {
        let mut stream = Vec::new();
        write(&mut stream, b"one").unwrap();
        write(&mut stream, b"").unwrap();
        let mut from = stream.as_slice();
        assert_eq!(read(&mut from, 3).unwrap().as_deref(), Some(&b"one"[..]));
        assert_eq!(read(&mut from, 3).unwrap().as_deref(), Some(&b""[..]));
        assert_eq!(read(&mut from, 3).unwrap(), None);
    }

    #[test]
    fn long_and_cut_messages_are_errors() {
        assert_eq!(read(&mut &b"\x04\0\0\0abcd"[..], 3).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(&mut &b"\x04\0\0\0abc"[..], 4).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&mut &b"\x04\0"[..], 4).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
