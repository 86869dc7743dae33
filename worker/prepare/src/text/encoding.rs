//! Finds the encoding of bytes that are not UTF-8.

/// Number of first bytes by which UTF-16 is recognised.
const LOOKED_AT: usize = 1024;

/// Returns why `content` is not UTF-8; `None` where it is.
pub(crate) fn not_utf8(content: &[u8]) -> Option<String> {
    if let Some(name) = wide(content) {
        return Some(format!("not UTF-8 but {name}; convert it, for example with iconv -f {name} -t UTF-8"));
    }
    let at = std::str::from_utf8(content).err()?.valid_up_to();
    let byte = content[at];
    Some(format!(
        "not UTF-8 at byte {at} ({byte:#04x}); convert it from the encoding that it has, for example with iconv -f LATIN1 -t \
         UTF-8"
    ))
}

/// Returns the encoding of text with characters of two or four bytes. It shows by its byte order mark, or by its zeros, which
/// would be characters in UTF-8.
fn wide(content: &[u8]) -> Option<&'static str> {
    match content {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Some("UTF-16"),
        _ => {}
    }
    let start = &content[..content.len().min(LOOKED_AT) / 4 * 4];
    memchr::memchr(0, start)?;
    let mut zeros = [0; 4];
    start.iter().zip((0..4).cycle()).for_each(|(byte, place)| zeros[place] += usize::from(*byte == 0));
    let most = |place: usize| zeros[place] * 16 > start.len() * 3;
    match [most(0), most(1), most(2), most(3)] {
        [false, true, true, true] => Some("UTF-32LE"),
        [true, true, true, false] => Some("UTF-32BE"),
        [false, true, false, true] => Some("UTF-16LE"),
        [true, false, true, false] => Some("UTF-16BE"),
        _ => None,
    }
}
