//! Durations as Go writes them: `300ms`, `1.5h`, `2m30s`.

use std::time::Duration;

/// The text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid duration \"{0}\"")]
pub struct BadDuration(pub String);

/// Units and their length in nanoseconds. Longer names first where one begins another.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3), // U+00B5, the micro sign
    ("μs", 1e3), // U+03BC, the Greek letter
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Reads a duration of zero or more.
///
/// # Errors
/// The text is no duration, or a negative one, or longer than 292 years.
pub fn parse(text: &str) -> Result<Duration, BadDuration> {
    let nanos = nanoseconds(text)?;
    u64::try_from(nanos)
        .map(Duration::from_nanos)
        .map_err(|_| BadDuration(text.to_owned()))
}

/// Writes a duration as Go does: `5m0s`, `25s`, `1.5s`, `300ms`.
pub fn show(duration: Duration) -> String {
    let decimal = |unit: u64, name: &str| {
        let nanos = duration.as_nanos() % 60_000_000_000;
        let unit = u128::from(unit);
        let digits = unit.ilog10() as usize;
        let text = format!("{}.{:0digits$}", nanos / unit, nanos % unit);
        format!("{}{name}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    let (hours, minutes) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60);
    match duration.as_nanos() {
        0 => "0s".to_owned(),
        1..1_000 => format!("{}ns", duration.as_nanos()),
        1_000..1_000_000 => decimal(1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(1_000_000, "ms"),
        1_000_000_000..60_000_000_000 => decimal(1_000_000_000, "s"),
        60_000_000_000..3_600_000_000_000 => format!("{minutes}m{}", decimal(1_000_000_000, "s")),
        _ => format!("{hours}h{minutes}m{}", decimal(1_000_000_000, "s")),
    }
}

/// Reads a duration of either sign, in nanoseconds.
pub fn nanoseconds(text: &str) -> Result<i64, BadDuration> {
    let bad = || BadDuration(text.to_owned());
    let (negative, mut rest) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let number: f64 = rest[..end].parse().map_err(|_| bad())?;
        rest = &rest[end..];
        let (unit, length) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit)).ok_or_else(bad)?;
        // `m` also begins `ms`, but that stands earlier in the list.
        rest = &rest[unit.len()..];
        total += number * length;
    }
    if total >= i64::MAX as f64 {
        return Err(bad());
    }
    let total = total.round() as i64;
    Ok(if negative { -total } else { total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_writes_them() {
        for (text, nanos) in [
            ("0", 0),
            ("300ms", 300_000_000),
            ("1.5h", 5_400_000_000_000),
            ("2m30s", 150_000_000_000),
            ("-5s", -5_000_000_000),
            ("+.5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("10us", 10_000),
            ("10µs", 10_000),
            ("10μs", 10_000),
            ("7ns", 7),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
        ] {
            assert_eq!(nanoseconds(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanos, text) in [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5µs"),
            (300_000_000, "300ms"),
            (1_500_000_000, "1.5s"),
            (25_000_000_000, "25s"),
            (60_500_000_000, "1m0.5s"),
            (300_000_000_000, "5m0s"),
            (5_400_000_000_000, "1h30m0s"),
        ] {
            assert_eq!(show(Duration::from_nanos(nanos)), text);
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_quoted_in_the_error() {
        for text in [
            "",
            "5",
            "s",
            "-",
            "1 s",
            "1d",
            "1.2.3s",
            ".s",
            "five",
            "1e3s",
            "99999999999h",
            "1sx",
        ] {
            let error = nanoseconds(text).expect_err(text);
            assert_eq!(error.to_string(), format!("invalid duration \"{text}\""));
        }
        assert!(parse("-1s").is_err());
    }
}
