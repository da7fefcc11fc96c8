//! Severity of a printed line, guessed from the formats that loggers commonly use. A stream is no sign: many loggers write
//! everything to stderr.

use serde::Deserialize;
use serde::de::IgnoredAny;
use tracing::Level;

/// Words at the beginning of a line that are looked at.
const HEAD_WORDS: usize = 8;

/// The level that the line itself names; `None` if it names none.
///
/// Recognised are, with and without time in front: Python's `logging` (`WARNING:root:…`, `… - name - ERROR - …`, the
/// Viam SDK's tabs), Go's zap (console and JSON), C++ Boost.Log and spdlog (`[time] [thread] [warning] …`), glog
/// (`E0102 03:04:05.678 …`), ESP-IDF (`W (123) …`), Rust's `tracing` and `env_logger`, loguru, ROS, logfmt
/// (`level=warn`), systemd's `<3>`, JSON with a `level`, and the first lines of Python tracebacks and of Go, Rust and
/// C++ aborts. The words that speak of a level elsewhere in a message do not count.
pub fn guess(line: &str) -> Option<Level> {
    let line = line.trim_start_matches('\u{feff}');
    // A continuation of the line before says nothing by itself.
    if line.starts_with(char::is_whitespace) && !line.starts_with('\t') {
        return None;
    }
    let line = line.trim_start();
    if line.starts_with('{') {
        return json(line);
    }
    letter(line)
        .or_else(|| syslog(line))
        .or_else(|| abort(line))
        .or_else(|| head(line))
        .or_else(|| logfmt(line))
}

/// The level that a word stands for, in any case.
pub fn word(word: &str) -> Option<Level> {
    const WORDS: [(Level, &[&str]); 5] = [
        (Level::TRACE, &["trace", "trc"]),
        (Level::DEBUG, &["debug", "dbg"]),
        (Level::INFO, &["info", "inf", "notice"]),
        (Level::WARN, &["warn", "warning", "wrn"]),
        (
            Level::ERROR,
            &[
                "error",
                "err",
                "critical",
                "fatal",
                "panic",
                "dpanic",
                "severe",
                "emergency",
            ],
        ),
    ];
    let found = WORDS
        .iter()
        .find(|(_, words)| words.iter().any(|known| known.eq_ignore_ascii_case(word)));
    found.map(|(level, _)| *level)
}

/// A level among the words at the head: after nothing but times, brackets and what stands between separators.
fn head(line: &str) -> Option<Level> {
    let mut after_separator = false;
    let mut after_time = false;
    let mut open = false;
    for (index, token) in line.split_ascii_whitespace().take(HEAD_WORDS).enumerate() {
        if matches!(token, "-" | "|" | "--" | "–" | ":") {
            after_separator = true;
            continue;
        }
        let bracketed = open || token.starts_with(['[', '<', '(']);
        let core = token.trim_matches(['[', ']', '<', '>', '(', ')', '|', ',', ';', '-']);
        let (core, colon) = match core.split_once(':') {
            Some((before, _)) if word(before).is_some() => (before, true),
            _ => (core, false),
        };
        if let Some(level) = word(core) {
            let shouted = core.bytes().all(|byte| byte.is_ascii_uppercase());
            let first = index == 0;
            // A small word alone may as well be the message: `error` is one, `error in line 3` is not.
            let set_apart = bracketed || after_separator || (colon && (first || after_time)) || tabbed(line, token);
            if (shouted && (colon || set_apart || after_time)) || set_apart || (shouted && first && alone(line, token))
            {
                return Some(level);
            }
            return None;
        }
        let time = time_like(core);
        open = bracketed && !token.ends_with([']', '>', ')', ':']);
        if !(time || bracketed || after_separator) {
            return None;
        }
        after_time |= time || bracketed;
        after_separator = false;
    }
    None
}

/// `INFO  message` and `INFO\tmessage`: set apart by more than one space.
fn alone(line: &str, token: &str) -> bool {
    line.strip_prefix(token)
        .is_some_and(|rest| rest.starts_with("  ") || rest.starts_with('\t'))
}

/// Stands between tabs, as in zap's and the Viam SDK's console formats.
fn tabbed(line: &str, token: &str) -> bool {
    line.split('\t').any(|field| field.trim() == token)
}

/// A date, a time of day, seconds since something, a thread number: with digits, and nothing that a word would have.
fn time_like(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let letters = text.bytes().filter(u8::is_ascii_alphabetic).count();
    digits > 0 && (letters <= 2 || text.starts_with("0x") || (text.contains(['T', '-']) && digits >= 8))
}

/// glog's `E0102 03:04:05` and ESP-IDF's `E (1234)`.
fn letter(line: &str) -> Option<Level> {
    let (first, rest) = line.split_at_checked(1)?;
    let level = match first {
        "V" => Level::TRACE,
        "D" => Level::DEBUG,
        "I" => Level::INFO,
        "W" => Level::WARN,
        "E" | "F" => Level::ERROR,
        _ => return None,
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let glog = matches!(digits, 4 | 8) && rest[digits..].starts_with(' ') && rest[digits..].contains(':');
    let number = rest.strip_prefix(" (").and_then(|rest| rest.split_once(')'));
    let idf = number.is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    (glog || idf).then_some(level)
}

/// systemd's prefix: `<3>` and so on.
fn syslog(line: &str) -> Option<Level> {
    let (number, _) = line.strip_prefix('<')?.split_once('>')?;
    Some(match number {
        "0" | "1" | "2" | "3" => Level::ERROR,
        "4" => Level::WARN,
        "5" | "6" => Level::INFO,
        "7" => Level::DEBUG,
        _ => return None,
    })
}

/// Level of a line that a program prints when it ends against its will.
fn abort(line: &str) -> Option<Level> {
    const BEGINNINGS: [&str; 7] = [
        "Traceback (most recent call last)",
        "Fatal Python error",
        "panic: ",
        "fatal error: ",
        "terminate called ",
        "Segmentation fault",
        "free(): ",
    ];
    let rust = line.starts_with("thread '") && line.contains("' panicked at ");
    let rust = rust || (line.starts_with("thread '") && line.contains(") panicked at "));
    let malloc = line.starts_with("realloc(): ") || line.starts_with("malloc(): ") || line.starts_with("double free");
    (rust || malloc || BEGINNINGS.iter().any(|beginning| line.starts_with(beginning))).then_some(Level::ERROR)
}

/// `level=warning` as a word of its own.
fn logfmt(line: &str) -> Option<Level> {
    let keys = ["level=", "lvl=", "severity="];
    let value = line
        .split_ascii_whitespace()
        .take(HEAD_WORDS)
        .find_map(|token| keys.iter().find_map(|key| token.strip_prefix(key)))?;
    word(value.trim_matches('"'))
}

/// The level of a JSON entry, as a word, or as a number in the way of pino and bunyan.
fn json(line: &str) -> Option<Level> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(
            alias = "lvl",
            alias = "severity",
            alias = "levelname",
            alias = "log.level",
            alias = "L",
            alias = "Level"
        )]
        level: Said,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Said {
        Word(String),
        Number(u64),
        Other(IgnoredAny),
    }
    match serde_json::from_str::<Entry>(line).ok()?.level {
        Said::Word(text) => word(&text),
        Said::Number(0..=19) => Some(Level::TRACE),
        Said::Number(20..=29) => Some(Level::DEBUG),
        Said::Number(30..=39) => Some(Level::INFO),
        Said::Number(40..=49) => Some(Level::WARN),
        Said::Number(_) => Some(Level::ERROR),
        Said::Other(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cases: &[(&str, Option<Level>)]) {
        for (line, expected) in cases {
            assert_eq!(guess(line), *expected, "{line:?}");
        }
    }

    #[test]
    fn loggers_of_python_are_understood() {
        check(&[
            ("WARNING:root:the bus is slow", Some(Level::WARN)),
            ("ERROR:my.driver:gone", Some(Level::ERROR)),
            ("CRITICAL:root:", Some(Level::ERROR)),
            (
                "2025-11-21 16:40:00,123\t\tINFO\t\tviam.rpc.server (server.py:112)\tServing on /tmp/m.sock",
                Some(Level::INFO),
            ),
            (
                "2025-11-21 16:40:00,123\t\tDEBUG\t\trdk:component:sensor/s1 (main.py:3)\tERROR is only a word here",
                Some(Level::DEBUG),
            ),
            ("2025-11-21 16:40:00,123 - my.driver - ERROR - gone", Some(Level::ERROR)),
            (
                "2025-11-21 16:40:00.123 | WARNING  | a.b:run:12 - slow",
                Some(Level::WARN),
            ),
            ("2025-11-21 16:40:00,123 ERROR gone", Some(Level::ERROR)),
            ("Traceback (most recent call last):", Some(Level::ERROR)),
            ("  File \"main.py\", line 3, in <module>", None),
        ]);
    }

    #[test]
    fn loggers_of_go_are_understood() {
        check(&[
            (
                "2025-11-21T16:40:00.123Z\tWARN\tgear.motor\tgear/main.go:12\tslow\t{\"ms\": 3}",
                Some(Level::WARN),
            ),
            ("2025-11-21T16:40:00.123+0100\tinfo\tup", Some(Level::INFO)),
            (
                "{\"level\":\"error\",\"ts\":1700000000.1,\"caller\":\"a.go:1\",\"msg\":\"gone\"}",
                Some(Level::ERROR),
            ),
            (
                "{\"ts\":1,\"severity\":\"WARNING\",\"message\":\"slow\"}",
                Some(Level::WARN),
            ),
            ("{\"level\":30,\"msg\":\"pino\"}", Some(Level::INFO)),
            ("{\"level\":{\"a\":1}}", None),
            ("{\"speed\":1}", None),
            ("{not json", None),
            (
                "time=\"2025-11-21T16:40:00Z\" level=warning msg=\"slow\"",
                Some(Level::WARN),
            ),
            ("2025/11/21 16:40:00 listening", None),
            ("panic: runtime error: index out of range", Some(Level::ERROR)),
        ]);
    }

    #[test]
    fn loggers_of_other_languages_are_understood() {
        check(&[
            (
                "[2025-11-21 16:40:00.123456] [0x00007f3a] [warning] slow",
                Some(Level::WARN),
            ),
            ("[2025-11-21 16:40:00.123] [my logger] [error] gone", Some(Level::ERROR)),
            (
                "2025-11-21 16:40:00.123456 [Viam SDK] <info> [main.cpp:3] up",
                Some(Level::INFO),
            ),
            ("E1121 16:40:00.123456 4188 lidar.cc:88] gone", Some(Level::ERROR)),
            ("W20251121 16:40:00.123456 4188 lidar.cc:88] slow", Some(Level::WARN)),
            ("I (1234) wifi: up", Some(Level::INFO)),
            ("2025-11-21T16:40:00.123456Z  WARN gear: slow", Some(Level::WARN)),
            ("[2025-11-21T16:40:00Z ERROR gear] gone", Some(Level::ERROR)),
            ("thread 'main' panicked at src/main.rs:3:5:", Some(Level::ERROR)),
            ("thread 'main' (4188) panicked at src/main.rs:3:5:", Some(Level::ERROR)),
            ("realloc(): invalid next size", Some(Level::ERROR)),
            ("[INFO] [1700000000.123] [node]: up", Some(Level::INFO)),
            ("<4>slow", Some(Level::WARN)),
            ("ERROR: gone", Some(Level::ERROR)),
            ("error: gone", Some(Level::ERROR)),
            ("Warning: slow", Some(Level::WARN)),
            ("[debug] x = 3", Some(Level::DEBUG)),
            ("INFO  up", Some(Level::INFO)),
        ]);
    }

    #[test]
    fn words_of_a_message_are_no_level() {
        check(&[
            ("", None),
            ("scan 88121 ok", None),
            ("error rate is 3 %", None),
            ("info desk open", None),
            ("there was an ERROR: gone", None),
            ("8 ERRORS found", None),
            ("reading took 3 ms, warning threshold is 5", None),
            ("Infos: three", None),
            ("I2C bus 1", None),
            ("E5 is a note", None),
            ("<b>fat</b>", None),
            ("12:00:00 all is well", None),
            ("é", None),
            ("\u{fffd}\u{fffd}", None),
        ]);
    }
}
