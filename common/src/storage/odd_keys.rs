//! Keys in listings of object stores that no object of Convoy can have: `raw//a`, `../a`, `/a`, `a/`, and keys with control
//! characters or bytes that are not UTF-8.
//!
//! `object_store` fails the whole page that contains such a key, or takes it for another: `/a` and `a/` for `a`. This filter
//! removes them first, so that a folder can be used regardless of what others have put there. Consoles make keys that end in
//! `/` for folders. Each other odd key is named once in a warning.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService, ReqwestConnector,
};
use object_store::path::Path;

/// Elements of a listing, the key within them, and the ending of every key: for S3 and Google, then for Azure.
const ELEMENTS: [(&str, &str, &str); 4] =
    [("Contents", "Key", ""), ("CommonPrefixes", "Prefix", "/"), ("Blob", "Name", ""), ("BlobPrefix", "Name", "/")];

/// Largest number of keys that are remembered so as not to warn again.
const WARNINGS_MAX: usize = 100;

/// Makes HTTP clients that remove odd keys from listings.
#[derive(Debug)]
pub(super) struct WithoutOddKeys;

#[derive(Debug)]
struct Filter(HttpClient);

impl HttpConnector for WithoutOddKeys {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Filter(ReqwestConnector::default().connect(options)?)))
    }
}

#[async_trait]
impl HttpService for Filter {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let query = request.uri().query().unwrap_or_default();
        let lists =
            request.method() == "GET" && query.split('&').any(|pair| matches!(pair, "list-type=2" | "comp=list"));
        let response = self.0.execute(request).await?;
        if !lists || !response.status().is_success() {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let body = body.bytes().await?;
        let listing = without_odd_keys(&String::from_utf8_lossy(&body));
        Ok(HttpResponse::from_parts(head, HttpResponseBody::from(listing)))
    }
}

fn without_odd_keys(listing: &str) -> String {
    ELEMENTS.into_iter().fold(listing.to_owned(), |listing, of| filtered(&listing, of))
}

/// Returns `listing` without the elements `element` whose `key`, apart from its `suffix`, is odd.
fn filtered(listing: &str, (element, key, suffix): (&str, &str, &str)) -> String {
    let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
    let (mut kept, mut rest) = (String::with_capacity(listing.len()), listing);
    while let Some(length) = rest.find(&begin).and_then(|at| Some(at + rest[at..].find(&end)? + end.len())) {
        let (until, after) = rest.split_at(length);
        let (before, whole) = until.split_at(until.find(&begin).unwrap_or_default());
        kept.push_str(before);
        match between(whole, key).map(unescaped) {
            Some(key) if is_odd(key.strip_suffix(suffix).unwrap_or_default()) => warn_once(&key),
            _ => kept.push_str(whole),
        }
        rest = after;
    }
    kept + rest
}

fn between<'x>(whole: &'x str, key: &str) -> Option<&'x str> {
    let (_, after) = whole.split_once(&format!("<{key}>"))?;
    Some(after.split_once(&format!("</{key}>"))?.0)
}

/// Returns whether `object_store` would change `key`, or the listing does not give it as it is in the store.
fn is_odd(key: &str) -> bool {
    // U+FFFD stands for bytes that are not UTF-8.
    key.is_empty() || key.contains('\u{fffd}') || Path::parse(key).map_or(true, |path| path.as_ref() != key)
}

/// Decodes XML's `text`. Anything that is not a known reference stays as it is.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return text.into();
    }
    let mut pieces = text.split('&');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once(';').and_then(|(name, after)| Some((referred(name)?, after))) {
            Some((character, after)) => {
                plain.push(character);
                plain.push_str(after);
            }
            None => {
                plain.push('&');
                plain.push_str(piece);
            }
        }
    }
    plain.into()
}

fn referred(name: &str) -> Option<char> {
    let number = |digits: &str, radix| char::from_u32(u32::from_str_radix(digits, radix).ok()?);
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => match name.strip_prefix('#')?.strip_prefix(['x', 'X']) {
            Some(digits) => number(digits, 16),
            None => number(&name[1..], 10),
        },
    }
}

fn warn_once(key: &str) {
    static SAID: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if !key.ends_with('/') && said.len() < WARNINGS_MAX && said.insert(key.to_owned()) {
        tracing::warn!("the key {key:?} is left out of listings: Convoy's objects have no such names");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns those of `keys`, as XML writes them, that stay in a listing with elements `element`, each with a `key`.
    fn kept<'k>(keys: &[&'k str], element: &str, key: &str) -> Vec<&'k str> {
        let write = |text: &&str| format!("<{element}>\n<{key}>{text}</{key}><Size>1</Size></{element}>");
        let listing =
            |keys: &[&str]| format!("<List><Name>b</Name>{}<More/></List>", keys.iter().map(write).collect::<String>());
        let filtered = without_odd_keys(&listing(keys));
        let kept: Vec<&str> = keys.iter().filter(|text| filtered.contains(&write(text))).copied().collect();
        assert_eq!(filtered, listing(&kept), "what is around them stays");
        kept
    }

    #[test]
    fn keys_that_no_object_can_have_are_left_out_and_no_others() {
        let good = [
            "a",
            "a/b",
            "a/..b",
            "a/.b./c",
            "a b/c ",
            "&lt;a&gt; &amp;amp; &quot;",
            "é",
            "100%/&#x20AC;/&#8364;",
            "&x;",
        ];
        let odd = [
            "",
            "/",
            "/a",
            "a/",
            "raw//a",
            "..",
            "a/../b",
            "./a",
            "a/.",
            "a&#x1;b",
            "a&#10;b",
            "&#47;a",
            "a/&#x2e;&#46;/b",
            "a\u{fffd}b",
        ];
        let all = [&good[..], &odd].concat();
        assert_eq!(kept(&all, "Contents", "Key"), good);
        assert_eq!(kept(&all, "Blob", "Name"), good);
        let folders = |keys: &[&str]| keys.iter().map(|key| format!("{key}/")).collect::<Vec<_>>();
        let (all, good) = (folders(&all), folders(&good));
        assert_eq!(kept(&all.iter().map(String::as_str).collect::<Vec<_>>(), "CommonPrefixes", "Prefix"), good);
    }

    #[test]
    fn what_is_no_listing_stays_as_it_is() {
        for text in ["", "<Contents>", "<Contents><Key>..</Key>", "</Contents><Contents>", "<Contents>..</Contents>"] {
            assert_eq!(without_odd_keys(text), text);
        }
    }
}
