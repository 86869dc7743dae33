//! Documents that are left out for where they come from.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::authority::{split, user_and_host, without_port};
use crate::clean::checks::{Checks, Limit};
use crate::clean::rule::Rule;

/// What is left out by its address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct AddressOptions {
    /// Hosts that are left out, and all below them. Empty for none.
    pub excluded_hosts: Vec<String>,
}

pub(crate) fn check(options: &AddressOptions, url: Option<&str>, checks: &mut Checks) -> ControlFlow<()> {
    let Some(host) = url.and_then(host) else { return ControlFlow::Continue(()) };
    if options.excluded_hosts.is_empty() {
        return ControlFlow::Continue(());
    }
    let excluded = options.excluded_hosts.iter().any(|excluded| is_below(host, excluded));
    checks.check(Rule::ExcludedHost, Limit::AtMost(0.0), f64::from(u8::from(excluded)))
}

/// Returns the host of a URL, as it is written there.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("//")?;
    // Browsers take a backslash for a slash.
    let authority = split(rest).0.split('\\').next()?;
    let (_, host) = user_and_host(authority);
    let host = if host.starts_with('[') { host } else { without_port(host) };
    Some(host.trim_end_matches('.')).filter(|host| !host.is_empty())
}

/// Returns whether a host is another, or below it.
fn is_below(host: &str, other: &str) -> bool {
    let Some(start) = host.len().checked_sub(other.len()) else { return false };
    let (before, end) = host.as_bytes().split_at(start);
    end.eq_ignore_ascii_case(other.as_bytes()) && before.last().is_none_or(|byte| *byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_whatever_is_around_it() {
        for (url, expected) in [
            ("https://en.wikipedia.org/wiki/Rust", Some("en.wikipedia.org")),
            ("http://user:word@Example.COM.:8080?x#y", Some("Example.COM")),
            ("//example.org", Some("example.org")),
            ("http://[::1]:80/", Some("[::1]:80")),
            ("http:///path", None),
            ("example.org/path", None),
            ("", None),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
    }

    #[test]
    fn hosts_below_one_that_is_left_out_are_left_out() {
        assert!(["wikipedia.org", "en.m.WikiPedia.org"].into_iter().all(|host| is_below(host, "wikipedia.org")));
        assert!(
            !["notwikipedia.org", "wikipedia.org.example", "org", "édia.org"]
                .into_iter()
                .any(|host| is_below(host, "wikipedia.org"))
        );
    }
}
