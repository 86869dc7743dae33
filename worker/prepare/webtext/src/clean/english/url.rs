//! Addresses, which stay whole. spaCy: `URL_PATTERN` of `lang/tokenizer_exceptions.py`.

use super::affixes::is_lower;

/// Bytes of a word that may be an address: looking for one takes time that grows with the square of the length.
const MOST_BYTES: usize = 2048;

/// Returns whether a word is a URL, a host or a mail address.
pub(super) fn is_url(word: &str) -> bool {
    // All of them have a full stop, and few words do.
    if word.len() > MOST_BYTES || !word.contains('.') {
        return false;
    }
    let rest = match word.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => rest,
        _ => word,
    };
    is_host_and_path(rest) || rest.rmatch_indices('@').any(|(at, _)| at > 0 && is_host_and_path(&rest[at + 1..]))
}

fn is_scheme(text: &str) -> bool {
    text.len() > 1 && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '+' | '-' | '.'))
}

fn is_host_and_path(text: &str) -> bool {
    let authority = text.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if (2..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    is_name(host) || is_ip(host)
}

/// Labels between full stops, and a last one of letters.
fn is_name(host: &str) -> bool {
    let Some((labels, last)) = host.rsplit_once('.') else { return false };
    let length = last.chars().count();
    let inner = |c: char| c.is_ascii_alphanumeric() || ('\u{a1}'..='\u{ffff}').contains(&c);
    let label = |label: &str| {
        label.chars().count() <= 64
            && label.chars().next().is_some_and(inner)
            && label.chars().next_back().is_some_and(inner)
            && label.chars().all(|c| inner(c) || matches!(c, '_' | '-'))
    };
    (2..=63).contains(&length) && last.chars().all(is_lower) && labels.split('.').all(label)
}

/// Four numbers of a network that is not private.
fn is_ip(host: &str) -> bool {
    let Ok(address) = host.parse::<std::net::Ipv4Addr>() else { return false };
    let [first, .., last] = address.octets();
    !address.is_private()
        && !address.is_loopback()
        && !address.is_link_local()
        && (1..=223).contains(&first)
        && (1..=254).contains(&last)
}
