//! Durations, sizes and times as a person reads them.

use std::time::Duration;

/// A length of time with two units at most: `12 ms`, `1.4 s`, `41 s`, `3 min 20 s`, `3 h 12 min`, `2 d 4 h`.
pub fn duration(length: Duration) -> String {
    let (ms, s) = (length.as_millis(), length.as_secs());
    match s {
        0 => format!("{ms} ms"),
        1..10 => format!("{:.1} s", length.as_secs_f64()),
        10..60 => format!("{s} s"),
        60..3_600 => pair(s, 60, "min", "s"),
        3_600..86_400 => pair(s / 60, 60, "h", "min"),
        _ => pair(s / 3_600, 24, "d", "h"),
    }
}

fn pair(small: u64, per: u64, large_unit: &str, small_unit: &str) -> String {
    match small % per {
        0 => format!("{} {large_unit}", small / per),
        rest => format!("{} {large_unit} {rest} {small_unit}", small / per),
    }
}

/// A size in decimal units: `812 B`, `4.1 MB`, `61.0 MB`, `1.2 GB`.
pub fn bytes(size: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if size < 1_000 {
        return format!("{size} B");
    }
    let mut scaled = size as f64 / 1_000.0;
    let mut unit = 0;
    while scaled >= 999.5 && unit + 1 < UNITS.len() {
        scaled /= 1_000.0;
        unit += 1;
    }
    let decimals = usize::from(scaled < 99.95);
    format!("{scaled:.decimals$} {}", UNITS[unit])
}

/// A fraction of one processor: 0.08 is `8.0%`.
pub fn percent(fraction: f64) -> String {
    format!("{:.1}%", fraction * 100.0)
}

/// `1 module`, `3 modules`.
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Reads a duration from the command line.
///
/// # Errors
/// Says what a duration looks like when the text is none.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    mainstay_model::duration::parse(text)
        .map_err(|_| format!("`{text}` is no duration; write one like `200ms`, `1.5s` or `2m30s`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        let cases = [
            (0, "0 ms"),
            (12, "12 ms"),
            (999, "999 ms"),
            (1_040, "1.0 s"),
            (41_900, "41 s"),
            (60_000, "1 min"),
            (200_000, "3 min 20 s"),
            (3 * 3_600_000 + 12 * 60_000 + 59_000, "3 h 12 min"),
            (52 * 3_600_000, "2 d 4 h"),
        ];
        for (ms, text) in cases {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn sizes_have_three_digits_at_most() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (4_096, "4.1 kB"),
            (4_100_000, "4.1 MB"),
            (61_000_000, "61.0 MB"),
            (141_000_000, "141 MB"),
            (999_900_000, "1.0 GB"),
        ];
        for (size, text) in cases {
            assert_eq!(bytes(size), text);
        }
    }
}
