//! Parts of a URL by which pages are one: a simple rule, which knows no site's own ways.

use crate::authority::{split, user_and_host, without_www};

/// Returns what is compared of a URL. Returns `None` if it has no host.
///
/// 1. White space around it, the scheme `http` or `https`, and the fragment are left out.
/// 2. The host becomes lower case, without `www.` in front, a full stop behind it, and the ports 80 and 443.
/// 3. Slashes at the end of the path are left out, and so is a `?` with nothing behind it.
///
/// Path and query keep their case, their order and their escapes. A URL without a scheme is taken for one of `http`.
pub fn comparable(url: &str) -> Option<String> {
    let url = url.trim();
    let rest = without_scheme(url)?;
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, path) = split(rest);
    let authority = authority.to_ascii_lowercase();
    let (user, host) = user_and_host(&authority);
    let host = host.strip_suffix(":80").or(host.strip_suffix(":443")).unwrap_or(host);
    let host = without_www(host.trim_end_matches('.'));
    if host.is_empty() {
        return None;
    }
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let (path, at) = (path.trim_end_matches('/'), if user.is_empty() { "" } else { "@" });
    let mark = if query.is_empty() { "" } else { "?" };
    Some([user, at, host, path, mark, query].concat())
}

/// Returns what is behind `http://`, `https://` or `//`. Returns `None` for another scheme.
fn without_scheme(url: &str) -> Option<&str> {
    let Some((scheme, rest)) = url.split_once("//") else { return Some(url) };
    match scheme {
        "" => Some(rest),
        _ if scheme.eq_ignore_ascii_case("http:") || scheme.eq_ignore_ascii_case("https:") => Some(rest),
        _ if scheme.ends_with(':') && !scheme.contains(['/', '?', '#']) => None,
        // Two slashes within the path or the query of a URL without a scheme.
        _ => Some(url),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scheme_www_port_fragment_and_slashes_at_the_end_make_no_difference() {
        for url in [
            "https://example.org/a/b",
            "http://www.Example.ORG:80/a/b/",
            " HTTPS://example.org.:443/a/b//#part ",
            "//example.org/a/b?",
            "example.org/a/b/?#",
        ] {
            assert_eq!(comparable(url).as_deref(), Some("example.org/a/b"), "{url}");
        }
        assert_eq!(comparable("http://www.example.org"), comparable("https://example.org/"));
    }

    #[test]
    fn path_query_host_and_port_make_a_difference() {
        let urls = [
            "https://example.org/a",
            "https://example.org/A",
            "https://example.org/a?b=1&c=2",
            "https://example.org/a?c=2&b=1",
            "https://example.org/a?b=/",
            "https://m.example.org/a",
            "https://example.org:8080/a",
            "https://user@example.org/a",
            "example.org/a//b",
            "example.org/a?b=http://example.org",
        ];
        let mut compared: Vec<String> = urls.iter().filter_map(|url| comparable(url)).collect();
        compared.sort_unstable();
        compared.dedup();
        assert_eq!(compared.len(), urls.len());
    }

    #[test]
    fn what_has_no_host_is_not_compared() {
        for url in ["", "http://", "https:///path", "ftp://example.org/a", "?query", "#part"] {
            assert_eq!(comparable(url), None, "{url}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_without_a_panic(url in any::<String>(), rest in "[a-zA-Z:@./?#w]{0,30}") {
            comparable(&url);
            if let Some(compared) = comparable(&format!("http://{rest}")) {
                prop_assert!(!compared.is_empty() && !compared.contains('#'));
            }
        }
    }
}
