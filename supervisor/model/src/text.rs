//! Text from strangers, made fit to show; times as text.

use std::time::SystemTime;

/// A time as logs have it: RFC 3339 in UTC, to the millisecond.
pub fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

/// Reads a time as [`time`] writes it.
///
/// # Errors
/// The text is none.
pub fn parse_time(text: &str) -> Result<SystemTime, humantime::TimestampError> {
    humantime::parse_rfc3339_weak(text)
}

/// True for letters that are not shown but change how others are: control characters, and those of Unicode that end a line or
/// turn the direction of writing, so that a text reads otherwise than it is.
pub fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A line that a program printed, without colours and whatever else would steer the terminal. Tabs and ends of lines become
/// spaces.
pub fn plain(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\x1b' => {
                // `ESC [ … letter` sets colours and moves the cursor; anything else is the escape and one letter.
                if letters.next() == Some('[') {
                    let _ = letters.by_ref().find(|c| matches!(c, '@'..='~'));
                }
            }
            '\t' | '\u{2028}' | '\u{2029}' => plain.push(' '),
            letter if steers(letter) => {}
            letter => plain.push(letter),
        }
    }
    plain
}

/// [`plain`] of each line.
pub fn plain_lines(text: &str) -> String {
    let lines: Vec<String> = text.trim_end().lines().map(plain).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_have_three_decimals() {
        for (nanos, text) in [
            (1_700_000_000_000_000_000, "2023-11-14T22:13:20.000Z"),
            (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123Z"),
            (1_700_000_000_120_000_000, "2023-11-14T22:13:20.120Z"),
        ] {
            assert_eq!(time(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn what_would_steer_the_terminal_is_left_out() {
        let cases = [
            ("plain", "plain"),
            ("\x1b[33;36mINFO\x1b[0m\tup", "INFO up"),
            ("a\x1b[2Jb\x1bcd\u{9b}e\r", "abde"),
            ("cut \x1b[3", "cut "),
            ("ab\u{202e}cd\u{2028}e\u{2066}f\u{feff}", "abcd ef"),
            ("שלום 👩‍🔧 naïve", "שלום 👩‍🔧 naïve"),
        ];
        for (line, text) in cases {
            assert_eq!(plain(line), text);
        }
    }
}
