//! HTTP responses, as they lie in records.
//!
//! - [`media_type`]: Content-Type. [`chunked`]: transfer coding. [`encoding`], [`brotli`]: content encodings.
//!
//! HTTP's own Content-Length is not looked at: archives keep that of content before it was unpacked.

mod brotli;
mod chunked;
mod encoding;
pub(super) mod media_type;
mod unpacked;

use std::borrow::Cow;

use media_type::MediaType;
use unpacked::Unpacked;

use super::damage::{Fault, Wrong};
use super::page::Mend;
use super::warc::fields::{End, Fields, end_of_header};

/// Most encodings of one content. Servers use one; two are a mistake that happens.
const ENCODINGS: usize = 3;
/// Most interim responses (1xx) before the response.
const INTERIM: usize = 8;

/// Content of a record, without its encodings.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub status: Option<u16>,
    pub content_type: Option<MediaType>,
    pub content: Vec<u8>,
    /// Whether the end of the content is missing.
    pub is_cut: bool,
    pub mends: Vec<Mend>,
}

impl Message {
    /// Reads a response. Content without a header is content.
    pub fn of(message: &[u8], most: usize) -> Result<Self, Wrong> {
        let mut message = message;
        for _ in 0..INTERIM {
            if !message.starts_with(b"HTTP/") {
                break;
            }
            let end = end(message);
            let (header, body) =
                (message.get(..end.header).unwrap_or_default(), message.get(end.next..).unwrap_or_default());
            let status = status(header);
            if matches!(status, Some(100..=199)) && body.starts_with(b"HTTP/") {
                message = body;
                continue;
            }
            let fields = Fields::after_first_line(header);
            let mut read = decoded(fields, body, most)?;
            read.status = status;
            read.content_type = fields.get("Content-Type").map(|value| MediaType::of(&value));
            read.mends.extend((!end.has_blank_line).then_some(Mend::BlankLine));
            return Ok(read);
        }
        Message::of_content(message, None, most)
    }

    /// Takes content without a header.
    pub fn of_content(content: &[u8], content_type: Option<MediaType>, most: usize) -> Result<Self, Wrong> {
        if content.len() > most {
            return Err(too_long(most));
        }
        Ok(Message { content_type, content: content.to_vec(), ..Message::default() })
    }
}

/// Returns the end of a message's header. A line that begins with a tag is content, and the blank line before it is missing.
fn end(message: &[u8]) -> End {
    let found = end_of_header(message, |_, line| line.starts_with(b"<"));
    found.unwrap_or_else(|| {
        // No line end follows the last line.
        let last = memchr::memrchr(b'\n', message).map_or(message.len(), |at| at + 1);
        let is_content = message.get(last..).is_some_and(|line| line.starts_with(b"<"));
        let end = if is_content { last } else { message.len() };
        End { header: end, next: end, has_blank_line: !is_content }
    })
}

/// Returns the status on the first line of a header.
fn status(header: &[u8]) -> Option<u16> {
    let line = header.split(|byte| *byte == b'\n').next()?;
    let word = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(1)?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Returns the content of `body`.
fn decoded(fields: Fields<'_>, body: &[u8], most: usize) -> Result<Message, Wrong> {
    let mut read = Message::default();
    let mut content = Cow::Borrowed(body);
    if tokens(fields, "Transfer-Encoding").iter().any(|token| token == "chunked") && !body.is_empty() {
        match chunked::unchunk(body) {
            Some(unchunked) => {
                read.is_cut |= unchunked.is_cut;
                content = Cow::Owned(unchunked.content);
            }
            None => read.mends.push(Mend::NotChunked),
        }
    }
    let encodings = tokens(fields, "Content-Encoding");
    if encodings.len() > ENCODINGS {
        return Err((Fault::Encoding, format!("the content has {} encodings, one in another", encodings.len())));
    }
    for name in encodings.iter().rev().filter(|name| !matches!(name.as_str(), "identity" | "none")) {
        if content.is_empty() {
            break;
        }
        match encoding::unpack(name, &content, most) {
            Unpacked::Content { content: unpacked, is_cut } => {
                read.is_cut |= is_cut;
                content = Cow::Owned(unpacked);
            }
            Unpacked::AsItIs if read.mends.contains(&Mend::AlreadyUnpacked) => {}
            Unpacked::AsItIs => read.mends.push(Mend::AlreadyUnpacked),
            Unpacked::TooLong => return Err(too_long(most)),
            Unpacked::Damaged(reason) => return Err((Fault::Encoding, reason)),
        }
    }
    if content.len() > most {
        return Err(too_long(most));
    }
    read.content = content.into_owned();
    Ok(read)
}

/// Returns the words of all fields of this name, which are separated by commas, in lower case. No more than are of use.
fn tokens(fields: Fields<'_>, name: &'static str) -> Vec<String> {
    let values = fields.every(name).map(|value| String::from_utf8_lossy(&value).to_ascii_lowercase());
    let words = values.flat_map(|value| value.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>());
    words.filter(|word| !word.is_empty()).take(ENCODINGS + 1).collect()
}

fn too_long(most: usize) -> Wrong {
    (Fault::TooLong, format!("the content has more than {most} bytes"))
}
