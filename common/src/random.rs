//! Random ids, secrets and jitter, from the operating system.

use crate::hex::hex;

/// Returns `N` random bytes, fit for secrets.
fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // As for the standard library's maps, which need random bytes too, nothing works without.
    getrandom::fill(&mut bytes).unwrap_or_else(|error| panic!("the operating system gives no random bytes: {error}"));
    bytes
}

/// Returns 64 random bits in hexadecimal: enough for a unique id, too few for a secret.
pub fn random_hex() -> String {
    hex(&bytes::<8>())
}

/// Returns 128 random bits in hexadecimal, fit for a secret.
pub fn token() -> String {
    hex(&bytes::<16>())
}

/// Returns a random number from 0 up to, but not including, 1, for jitter.
pub fn fraction() -> f64 {
    f64::from(u32::from_le_bytes(bytes())) / 2f64.powi(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_tokens_have_their_length_and_differ() {
        for (random, digits) in [(random_hex as fn() -> String, 16), (token, 32)] {
            let (first, second) = (random(), random());
            assert_eq!((first.len(), second.len()), (digits, digits));
            assert!(first != second && first.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        }
        assert!((0.0..1.0).contains(&fraction()));
    }
}
