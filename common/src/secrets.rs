//! Decides which parts of a URL are shown: no user and password, and no query of a web address, which may be a signature
//! that opens the object to anyone who has it.

use std::borrow::Cow;

use url::Url;

/// Schemes of Azure.
const AZURES: [&str; 4] = ["az", "azure", "abfs", "abfss"];

/// Returns whether `c` ends a URL in the middle of a text.
fn ends_a_url(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '(' | ')' | '`')
}

/// Returns `text` with every URL in it in a form that may be shown, printed and stored: without user and password, and for
/// `http(s)://` without what comes after the path.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return text.into();
    }
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("://") {
        let (before, after) = (&rest[..at], &rest[at + 3..]);
        let is_web = before.ends_with("http") || before.ends_with("https");
        let url = &after[..after.find(ends_a_url).unwrap_or(after.len())];
        let authority = &url[..url.find(['/', '?', '#']).unwrap_or(url.len())];
        // Azure puts container@account there, which is no secret.
        let is_azures = AZURES.iter().any(|scheme| before.ends_with(scheme));
        let user = authority.rfind('@').filter(|at| !is_azures || authority[..*at].contains(':'));
        let address = &url[user.map_or(0, |at| at + 1)..];
        let end = address.find(['?', '#']).filter(|_| is_web).unwrap_or(address.len());
        shown.extend([before, "://", &address[..end]]);
        rest = &after[url.len()..];
    }
    (shown + rest).into()
}

/// Returns what may be shown of `url`, which cannot be parsed, so that the place of a password in it is unknown.
pub(crate) fn unparsed(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) if rest.contains('@') => format!("{scheme}://..."),
        _ => without_secrets(url).into_owned(),
    }
}

/// Returns what is wrong with the user and password in `url`, if it has any, since nothing sends them.
pub(crate) fn refusal(url: &Url) -> Option<&'static str> {
    let is_azures = AZURES.contains(&url.scheme()) && url.password().is_none();
    let has_user = !url.username().is_empty() || url.password().is_some();
    (has_user && !is_azures).then_some("it has a user or password in it, which are not sent; leave them out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_signatures_are_left_out_of_whatever_is_shown() {
        for (text, expected) in [
            ("/data/a?b#c@d", "/data/a?b#c@d"),
            ("s3://bucket/a?.txt", "s3://bucket/a?.txt"),
            ("s3://KEY:SECRET@bucket/a@b", "s3://bucket/a@b"),
            ("abfss://container@account.dfs.core.windows.net/a", "abfss://container@account.dfs.core.windows.net/a"),
            ("https://user:p%40ss@host:1/a/b.txt", "https://host:1/a/b.txt"),
            ("https://token@host", "https://host"),
            ("s3://token@bucket/a", "s3://bucket/a"),
            ("https://host?X-Amz-Signature=f00", "https://host"),
            ("http://u:p@[::1]:9000/a?sig=x/y@z#f", "http://[::1]:9000/a"),
            (
                "GET https://host/a.txt?sig=f00 failed (https://u:p@host/b) as \"http://h/?k=1\" says",
                "GET https://host/a.txt failed (https://host/b) as \"http://h/\" says",
            ),
        ] {
            assert_eq!(without_secrets(text), expected, "{text}");
        }
        assert_eq!(unparsed("http://user:pa/ss@host:x/a"), "http://...");
    }
}
