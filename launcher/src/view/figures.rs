//! Formats numbers and durations for people.

use std::time::Duration;

/// Formats a number as `4,210`.
pub fn with_thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a count, as in `1 shard` or `4,210 shards`.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", with_thousands(number), if number == 1 { "" } else { "s" })
}

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
    fn numbers_and_durations_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(with_thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1, 2000].map(|n| counted(n, "shard")), ["0 shards", "1 shard", "2,000 shards"]);
        assert_eq!(
            [0, 59, 60, 3599, 3600, 7500, 86400, 273_600].map(|s| in_words(Duration::from_secs(s))),
            ["0s", "59s", "1m00s", "59m59s", "1h00m", "2h05m", "1d00h", "3d04h"]
        );
    }
}
