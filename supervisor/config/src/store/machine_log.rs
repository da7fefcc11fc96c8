//! The log of a machine on the disk: one JSON object per line, in two files beside the last good config. It outlives the core;
//! the core writes it, and the core and the command line read it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mainstay_model::Level;
use serde::{Deserialize, Serialize};

/// Size after which a new file is begun, in bytes.
pub const MAX_SIZE: u64 = 4 << 20;
/// Files that are kept, the present one included.
pub const KEEP: u32 = 2;
/// Longest line that is read, in bytes.
const LONGEST: u64 = 1 << 20;
/// File name; the one before has `.1` behind it.
const NAME: &str = "log";

/// Line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Time.
    #[serde(with = "time")]
    pub time: SystemTime,
    /// Level.
    #[serde(with = "level")]
    pub level: Level,
    /// Module that it is from or about; empty for the core alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub module: String,
    /// Origin: `core`, or of a module `stdout`, `stderr`, `log` or `build`.
    pub stream: String,
    /// Text; may have several lines.
    pub text: String,
    /// Start of the core that wrote it, in milliseconds since 1970.
    pub run: u64,
    /// Number within that run, counted from 0.
    pub number: u64,
}

/// The file in the folder of a config ([`LastGood::folder`](super::LastGood::folder)).
#[must_use]
pub fn path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

/// Gives each record that is kept to `each`, oldest first. Lines that are none are passed over: the power may have gone while
/// one was written.
pub fn read(folder: &Path, mut each: impl FnMut(LogRecord)) {
    let present = path(folder);
    let files = (1..KEEP).rev().map(|number| present.with_extension(number.to_string()));
    for file in files.chain([present.clone()]) {
        let Ok(file) = File::open(file) else { continue };
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            match reader.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => serde_json::from_slice(&line).map_or((), &mut each),
            }
        }
    }
}

/// Times as RFC 3339.
mod time {
    use std::time::SystemTime;

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&mainstay_model::text::time(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        mainstay_model::text::parse_time(&text).map_err(D::Error::custom)
    }
}

/// Levels by their words in a config.
mod level {
    use mainstay_model::Level;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(level.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Level, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[test]
    fn records_come_back_in_order_and_what_is_none_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let record = |number| LogRecord {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123 + number),
            level: Level::Warn,
            module: if number == 1 { String::new() } else { "eyes".into() },
            stream: "stderr".into(),
            text: "one\n\"two\" \u{1}".into(),
            run: 7,
            number,
        };
        let line = |number| serde_json::to_string(&record(number)).expect("text") + "\n";
        let path = path(folder.path());
        fs::write(path.with_extension("1"), line(0) + "{\"time\":\n\n" + &line(1)).expect("written");
        let cut = line(3);
        fs::write(&path, line(2) + &cut[..cut.len() / 2]).expect("written");
        let mut found = Vec::new();
        read(folder.path(), |record| found.push(record));
        assert_eq!(found, [record(0), record(1), record(2)]);
        assert!(line(1).starts_with(r#"{"time":"2023-11-14T22:13:20.124Z","level":"warn","stream":"stderr","#));
    }
}
