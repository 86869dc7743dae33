//! Numbers in a person's format.

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

/// Formats a ratio by three digits: `0.04`, `1.07`, `12.3`, and from 100 on as a whole number, `17,900`.
pub fn three_digits(ratio: f64) -> String {
    match ratio {
        ratio if ratio < 9.995 => format!("{ratio:.2}"),
        ratio if ratio < 99.95 => format!("{ratio:.1}"),
        ratio => with_thousands(ratio.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(with_thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1, 2000].map(|n| counted(n, "shard")), ["0 shards", "1 shard", "2,000 shards"]);
        assert_eq!(
            [0.04, 1.068, 9.999, 12.34, 99.97, 17_900.4].map(three_digits),
            ["0.04", "1.07", "10.0", "12.3", "100", "17,900"]
        );
    }
}
