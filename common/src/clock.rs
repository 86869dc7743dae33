//! The wall clock, for people: nothing is decided by it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the time since 1970, or zero if the clock is set to an earlier time.
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Returns the seconds since 1970.
pub fn unix_s() -> u64 {
    since_1970().as_secs()
}

/// Returns the milliseconds since 1970.
pub fn unix_ms() -> u64 {
    since_1970().as_millis() as u64
}
