//! Random ids and tokens from the operating system.

use std::fs::File;
use std::io::{self, Read};

/// `N` random bytes, fit for secrets.
fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// 128 random bits in hex.
pub fn token() -> io::Result<String> {
    Ok(format!("{:032x}", u128::from_le_bytes(bytes()?)))
}

/// A number in [0, 1), for jitter.
pub fn fraction() -> io::Result<f64> {
    Ok(f64::from(u32::from_le_bytes(bytes()?)) / 2f64.powi(32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_128_bits_and_differ() {
        let (a, b) = (token().unwrap(), token().unwrap());
        assert_eq!(a.len(), 32);
        assert_ne!(a, b);
        assert!((0.0..1.0).contains(&fraction().unwrap()));
    }
}
