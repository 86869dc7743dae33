//! Decides which parts of a URL are secret, and shown to nobody: user and password, and the query of a web address, which may be a
//! signature that opens the object to anyone who has it. Where a URL cannot be shown in part, [`may_hold_secret`] says whether
//! it can be shown at all.

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

/// Returns whether `url` may hold a secret, so that nobody should see it: a user or password, or a query.
///
/// Only web addresses have queries, but somebody may have written a signed one with the scheme of an object store. There, `?` is
/// taken for the beginning of a query even where it is escaped. Where `takes_patterns` says that `?` may be part of a pattern,
/// that needs a `name=value` among what follows.
pub fn may_hold_secret(url: &str, takes_patterns: bool) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let text = decoded(rest);
    let mut queries = text.match_indices('?').map(|(at, _)| &text[at + 1..]);
    let has_query = match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => rest.contains('#') || queries.next().is_some(),
        _ if takes_patterns => queries.any(|query| query.split('&').any(is_parameter)),
        _ => queries.any(|query| !query.is_empty()),
    };
    has_query || may_have_user(url)
}

/// Returns whether `part` of what may be a query looks like `name=value`.
fn is_parameter(part: &str) -> bool {
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~".contains(c));
    part.split_once('=').is_some_and(|(name, _)| is_name(name))
}

fn may_have_user(url: &str) -> bool {
    match Url::parse(url) {
        Ok(parsed) => refusal(&parsed).is_some() || parsed.host_str().is_some_and(|host| decoded(host).contains('@')),
        // The place of a password in it is unknown.
        Err(_) => decoded(url).contains('@'),
    }
}

/// Returns `text` with every `%XX` replaced by the byte that it stands for.
fn decoded(text: &str) -> String {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, after @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => digit(*high).zip(digit(*low)).map(|(high, low)| (16 * high + low) as u8),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns scheme and server of `url`, without anything that may be secret.
pub fn server(url: &str) -> String {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let parsed = Url::parse(url).ok();
    // An escaped host may be one with a password in front of it.
    let host = parsed.as_ref().and_then(Url::host_str).filter(|host| !host.contains('%'));
    format!("{scheme}://{}", host.unwrap_or("..."))
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

    #[test]
    fn a_query_is_a_secret_in_any_spelling_and_a_question_mark_is_none_where_it_may_be_a_pattern() {
        for (url, is_secret, is_secret_where_patterns_are_taken) in [
            ("/data/a?b=c", false, false),
            ("s3://bucket/a.txt", false, false),
            ("s3://bucket/100%/a%20b%zz.txt", false, false),
            ("s3://bucket/a.txt?", false, false),
            ("s3://bucket/part-?.jsonl", true, false),
            ("s3://bucket/??/day=?/x=1/*.txt", true, false),
            ("s3://bucket/what%3F.txt", true, false),
            ("s3://bucket/a.txt?TOKEN", true, false),
            ("s3://bucket/a.txt?X-Amz-Signature=f00", true, true),
            ("s3://bucket/a.txt?versionId&X-Amz-Signature=f00", true, true),
            ("s3://bucket/a.txt?X%2DAmz-Signature=f00", true, true),
            ("s3://bucket/a.txt%3Fsig%3Df00", true, true),
            ("s3://bucket/a.txt%3fversionId%26sig%3df00", true, true),
            ("az://box/a?.txt?sig=f00", true, true),
            ("https://host/a.txt", false, false),
            ("https://host/part-?.txt", true, true),
            ("https://host/a.txt%3Fsig", true, true),
            ("HTTPS://host/a.txt#token", true, true),
        ] {
            assert_eq!(may_hold_secret(url, false), is_secret, "{url}");
            assert_eq!(may_hold_secret(url, true), is_secret_where_patterns_are_taken, "{url}");
        }
    }

    #[test]
    fn a_user_is_a_secret_and_a_container_of_azures_is_none() {
        for (url, is_secret, shown) in [
            ("abfss://container@account.dfs.core.windows.net/a", false, "abfss://account.dfs.core.windows.net"),
            ("abfss://container:hunter2@account/a", true, "abfss://account"),
            ("s3://bucket/a@b", false, "s3://bucket"),
            ("s3://key@bucket/part-?.txt", true, "s3://bucket"),
            ("s3://KEY:SECRET@bucket/a", true, "s3://bucket"),
            ("s3://KEY:SEC/RET@bucket/a", true, "s3://..."),
            ("s3://KEY%3ASECRET%40bucket/a", true, "s3://..."),
            ("https://user:hunter2@host:1/a", true, "https://host"),
        ] {
            assert_eq!(may_hold_secret(url, true), is_secret, "{url}");
            assert_eq!(server(url), shown, "{url}");
        }
    }
}
