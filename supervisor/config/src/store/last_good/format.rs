//! A config with its revision, or with the reasons against it, as the bytes of one file, and back. Pure.
//!
//! The first line carries a hash of all that follows it, the second a JSON object that says what it is and how long each text is; the
//! texts follow as they were read, so that a person can find their config in it.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{ConfigFiles, RawFile};

const MAGIC: &str = "mainstay config 1 sha256 ";

/// Record in one file of the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The config. Of a rejected one that is very long, only the path.
    pub bundle: ConfigFiles,
    /// Counts up with each config that was kept, or rejected.
    pub number: u64,
    /// Time of writing, in whole milliseconds.
    pub at: SystemTime,
    /// Reasons of the rejection.
    pub reasons: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    config: Text,
    number: u64,
    /// Milliseconds since 1970.
    at_ms: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    files: Vec<FileHeader>,
}

#[derive(Serialize, Deserialize)]
struct FileHeader {
    path: Text,
    bytes: usize,
}

/// A path: text, or bytes where it is none.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<&OsStr> for Text {
    fn from(text: &OsStr) -> Self {
        text.to_str().map_or_else(
            || Self::Bytes(text.as_bytes().to_vec()),
            |text| Self::Text(text.to_owned()),
        )
    }
}

impl From<Text> for PathBuf {
    fn from(text: Text) -> Self {
        match text {
            Text::Text(text) => text.into(),
            Text::Bytes(bytes) => std::ffi::OsString::from_vec(bytes).into(),
        }
    }
}

impl Record {
    /// The bytes of its file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = Header {
            config: self.bundle.path.as_os_str().into(),
            number: self.number,
            at_ms: self
                .at
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_millis() as u64),
            reasons: self.reasons.clone(),
            files: self
                .bundle
                .files
                .iter()
                .map(|file| FileHeader {
                    path: file.path.as_os_str().into(),
                    bytes: file.text.len(),
                })
                .collect(),
        };
        let mut body = serde_json::to_vec(&header).expect("plain data is always JSON");
        body.push(b'\n');
        for file in &self.bundle.files {
            body.extend_from_slice(&file.text);
            body.push(b'\n');
        }
        let mut bytes = format!("{MAGIC}{}\n", hash(&body)).into_bytes();
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Record in `bytes`; `None` if they are not exactly what was written.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (first, body) = split_line(bytes)?;
        if first.strip_prefix(MAGIC.as_bytes())? != hash(body).as_bytes() {
            return None;
        }
        let (header, mut texts) = split_line(body)?;
        let header: Header = serde_json::from_slice(header).ok()?;
        let mut files = Vec::new();
        for file in header.files {
            let (text, rest) = texts.split_at_checked(file.bytes)?;
            texts = rest.strip_prefix(b"\n")?;
            files.push(RawFile {
                path: file.path.into(),
                text: text.into(),
            });
        }
        Some(Self {
            bundle: ConfigFiles {
                path: header.config.into(),
                files,
            },
            number: header.number,
            at: UNIX_EPOCH.checked_add(Duration::from_millis(header.at_ms))?,
            reasons: header.reasons,
        })
    }
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let file = |path: &[u8], text: &[u8]| RawFile {
            path: OsStr::from_bytes(path).into(),
            text: text.into(),
        };
        Record {
            bundle: ConfigFiles {
                path: "rover.yaml".into(),
                files: vec![
                    file(b"rover.yaml", b"include: [b.yaml]\n"),
                    file(b"b-\xff.yaml", b"\xff\n\n\0"),
                    file(b"empty", b""),
                ],
            },
            number: 7,
            at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            reasons: vec!["no such model\nanywhere".to_owned()],
        }
    }

    #[test]
    fn what_is_written_is_read_whatever_bytes_it_holds() {
        let record = record();
        assert_eq!(Record::from_bytes(&record.to_bytes()), Some(record));
    }

    #[test]
    fn one_changed_or_missing_byte_makes_it_unreadable() {
        let bytes = record().to_bytes();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Record::from_bytes(&changed), None, "byte {at}");
            assert_eq!(Record::from_bytes(&bytes[..at]), None, "cut at {at}");
        }
    }
}
