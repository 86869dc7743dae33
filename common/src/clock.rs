//! The clock of the day, for people: nothing is decided by it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970; zero where the clock is set to before.
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Seconds since 1970.
pub fn unix_s() -> u64 {
    since_1970().as_secs()
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    since_1970().as_millis() as u64
}
