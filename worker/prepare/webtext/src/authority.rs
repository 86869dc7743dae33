//! The authority of a URL, which is what stands between `//` and the path, and the host in it.
//!
//! What has a host at all, and whether case, port and `www.` matter, differs with the question, and does not live here: it is with
//! those who ask, which are rules of [`clean`](crate::clean), keys of [`deduplicate`](crate::deduplicate), and the stages of prepare.

/// Splits what is behind `//` into the authority, and path, query and fragment.
pub fn split(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

/// Splits an authority into the user, who may have a password, and the host with its port. The user is empty where none is given.
pub fn user_and_host(authority: &str) -> (&str, &str) {
    authority.rsplit_once('@').unwrap_or(("", authority))
}

/// Returns `host` without its port. The colons of an IPv6 address are in brackets.
pub fn without_port(host: &str) -> &str {
    let end = if host.starts_with('[') { host.find(']').map(|at| at + 1) } else { host.find(':') };
    host.split_at(end.unwrap_or(host.len())).0
}

/// Returns `host`, which is in lower case, without `www.` in front.
pub fn without_www(host: &str) -> &str {
    host.strip_prefix("www.").unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_ends_where_path_query_or_fragment_begins() {
        assert_eq!(split("a.example:80/b?c#d"), ("a.example:80", "/b?c#d"));
        assert_eq!(split("a.example?b/c"), ("a.example", "?b/c"));
        assert_eq!(split("a.example#b"), ("a.example", "#b"));
        assert_eq!(split("a.example"), ("a.example", ""));
        assert_eq!(split(""), ("", ""));
    }

    #[test]
    fn a_host_is_found_between_user_and_port() {
        for (authority, user, host) in [
            ("a.example", "", "a.example"),
            ("a.example:8080", "", "a.example"),
            ("user:word@a.example:80", "user:word", "a.example"),
            ("user@of@a.example", "user@of", "a.example"),
            ("[2001:db8::1]:80", "", "[2001:db8::1]"),
            ("[2001", "", "[2001"),
            (":80", "", ""),
        ] {
            let (found, rest) = user_and_host(authority);
            assert_eq!((found, without_port(rest)), (user, host), "{authority}");
        }
    }

    #[test]
    fn only_www_and_a_full_stop_in_front_are_left_out() {
        assert_eq!(
            ["www.a.example", "www2.a.example", "a.www.example"].map(without_www),
            ["a.example", "www2.a.example", "a.www.example"]
        );
    }
}
