//! Formats numbers and durations for people.

use std::time::Duration;

pub use common::figures::{counted, with_thousands};

/// Formats a duration by its two largest units: `45s`, `1m32s`, `2h05m`, `3d04h`.
pub fn in_words(duration: Duration) -> String {
    let s = duration.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(
            [0, 59, 60, 3599, 3600, 7500, 86400, 273_600].map(|s| in_words(Duration::from_secs(s))),
            ["0s", "59s", "1m00s", "59m59s", "1h00m", "2h05m", "1d00h", "3d04h"]
        );
    }
}
