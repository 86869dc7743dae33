//! The header of a WARC record.

use super::fields::Fields;
use crate::pages::counts::Skipped;
use crate::pages::http::media_type::MediaType;
use crate::pages::page::Kind;

/// Header of a record, as far as it is of use.
pub(super) struct Head {
    /// What to do with the record.
    pub purpose: Purpose,
    /// Content-Length, if it is a number.
    pub bytes: Option<u64>,
    pub url: Option<String>,
    pub date: Option<String>,
    pub content_type: Option<MediaType>,
    /// Media type that the archive found by looking at the content.
    pub identified: Option<MediaType>,
    /// Whether the record is truncated by its own word, or the first of several parts.
    pub is_truncated: bool,
}

/// What to do with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Page(Kind),
    Skip(Skipped),
}

impl Head {
    /// Reads the header, whose first line is the version.
    pub fn of(header: &[u8]) -> Self {
        let fields = Fields::after_first_line(header);
        let media_type = |name| fields.get(name).map(|value| MediaType::of(&value));
        let bytes = fields.get("Content-Length").and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok());
        let content_type = media_type("Content-Type");
        let url = fields.text("WARC-Target-URI").map(|url| {
            // Wget writes <https://host/>, as the grammar of WARC 1.0 has it.
            url.strip_prefix('<').and_then(|url| url.strip_suffix('>')).map(str::to_owned).unwrap_or(url)
        });
        let part = fields.text("WARC-Segment-Number");
        Head {
            purpose: purpose(fields.text("WARC-Type").unwrap_or_default(), content_type.as_ref()),
            bytes,
            url,
            date: fields.text("WARC-Date"),
            content_type,
            identified: media_type("WARC-Identified-Payload-Type"),
            is_truncated: fields.get("WARC-Truncated").is_some() || part.is_some_and(|part| part == "1"),
        }
    }
}

fn purpose(record_type: String, content_type: Option<&MediaType>) -> Purpose {
    let is_http = content_type.is_none_or(|content_type| content_type.name == "application/http");
    match record_type.to_ascii_lowercase().as_str() {
        "response" if is_http => Purpose::Page(Kind::Response),
        "response" => Purpose::Skip(Skipped::NotHttp),
        "resource" => Purpose::Page(Kind::Resource),
        "conversion" => Purpose::Page(Kind::Conversion),
        "warcinfo" => Purpose::Skip(Skipped::WarcInfo),
        "request" => Purpose::Skip(Skipped::Request),
        "metadata" => Purpose::Skip(Skipped::Metadata),
        "revisit" => Purpose::Skip(Skipped::Revisit),
        "continuation" => Purpose::Skip(Skipped::Continuation),
        _ => Purpose::Skip(Skipped::Other),
    }
}
