//! Media types, as Content-Type has them.

/// Media type and charset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::pages) struct MediaType {
    /// Type and subtype in lower case, without parameters.
    pub name: String,
    /// Charset in lower case.
    pub charset: Option<String>,
}

impl MediaType {
    /// Reads the value of a Content-Type.
    pub fn of(value: &[u8]) -> Self {
        let value = String::from_utf8_lossy(value).to_ascii_lowercase();
        // Some servers send one header after another, joined by commas.
        let mut parts = value.split([';', ',']);
        let name = parts.next().unwrap_or_default().trim().to_owned();
        let charset = parts.find_map(|part| {
            let (key, charset) = part.split_once('=')?;
            let charset = charset.trim().trim_matches(['"', '\'']).trim();
            (key.trim() == "charset" && !charset.is_empty()).then(|| charset.to_owned())
        });
        MediaType { name, charset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_charsets_are_found_as_servers_write_them() {
        let check = |value: &str, name: &str, charset: Option<&str>| {
            let charset = charset.map(str::to_owned);
            assert_eq!(MediaType::of(value.as_bytes()), MediaType { name: name.to_owned(), charset }, "{value}");
        };
        check("text/html", "text/html", None);
        check("Text/HTML;Charset=\"UTF-8\"", "text/html", Some("utf-8"));
        check("text/html; a=b; charset = 'iso-8859-1' ; c", "text/html", Some("iso-8859-1"));
        check("text/html, text/html; charset=x", "text/html", Some("x"));
        check("text/html; charset=", "text/html", None);
        check("charset=utf-8", "charset=utf-8", None);
        check("", "", None);
        check("application/http; msgtype=response", "application/http", None);
    }
}
