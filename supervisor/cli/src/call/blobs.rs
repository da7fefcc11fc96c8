//! Bytes in an answer: text in JSON, a note on a terminal, or a file with the right ending.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use prost_reflect::DynamicMessage;
use serde_json::Value;

use crate::failure::CliError;
use crate::human;

/// Limit of bytes that are worth showing on a terminal.
const SHOWN_ON_TERMINAL: usize = 64;

/// Position of some bytes in an answer.
#[derive(Clone, Copy)]
pub struct Blob<'a> {
    /// The message that holds them, whose other fields may say what they are.
    pub within: &'a DynamicMessage,
    /// The name of their field.
    pub field: &'a str,
}

/// Treatment of bytes.
pub enum BytesAs {
    /// Base64, as proto3's JSON has it: for other programs.
    Base64,
    /// Base64 while it is short, else a note about their size: for people.
    Note,
    /// A file each; the JSON then holds its path.
    Files(FileSaver),
}

impl BytesAs {
    /// The JSON that stands for these bytes.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn render(&self, bytes: &[u8], blob: Blob<'_>) -> Result<Value, CliError> {
        Ok(match self {
            Self::Files(saver) if !bytes.is_empty() => Value::from(saver.save(bytes, blob)?.display().to_string()),
            Self::Note if bytes.len() > SHOWN_ON_TERMINAL => Value::from(format!(
                "<{}; --out DIR writes them to a file>",
                human::bytes(bytes.len() as u64)
            )),
            _ => Value::from(BASE64_STANDARD.encode(bytes)),
        })
    }
}

/// Writes files into one folder and never over an existing one.
pub struct FileSaver {
    folder: PathBuf,
    stem: String,
    next: Cell<u32>,
}

impl FileSaver {
    /// Files go to `folder`, which is made if it is not there; their names begin with `stem`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(folder: &Path, stem: &str) -> Result<Self, CliError> {
        std::fs::create_dir_all(folder).map_err(|error| cannot("make the folder", folder, &error))?;
        Ok(Self {
            folder: folder.to_owned(),
            stem: file_name_part(stem),
            next: Cell::new(1),
        })
    }

    fn save(&self, bytes: &[u8], blob: Blob<'_>) -> Result<PathBuf, CliError> {
        let source = text_field(blob.within, "source_name").map(|source| format!("-{}", file_name_part(&source)));
        let source = source.filter(|source| source.len() > 1).unwrap_or_default();
        let ending = ending(bytes, blob);
        loop {
            let number = self.next.replace(self.next.get() + 1);
            let path = self.folder.join(format!("{}{source}-{number:04}.{ending}", self.stem));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    file.write_all(bytes).map_err(|error| cannot("write", &path, &error))?;
                    return Ok(path);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(cannot("write", &path, &error)),
            }
        }
    }
}

fn cannot(action: &str, path: &Path, error: &io::Error) -> CliError {
    CliError::wrong(format!("cannot {action} `{}`: {error}", path.display()))
}

/// File ending by the neighbours of the bytes, else by their content.
fn ending(bytes: &[u8], blob: Blob<'_>) -> String {
    let mime_type = text_field(blob.within, "mime_type").or_else(|| text_field(blob.within, "content_type"));
    let by_content = || looks_like(bytes).unwrap_or(if blob.field.ends_with("pcd") { "pcd" } else { "bin" });
    mime_type
        .and_then(|mime_type| ending_of_mime_type(&mime_type))
        .unwrap_or_else(|| by_content().to_owned())
}

/// `image/jpeg` is `jpg`, `image/vnd.viam.dep` is `dep`; `None` when the type says nothing about the form.
fn ending_of_mime_type(mime_type: &str) -> Option<String> {
    let essence = mime_type.split([';', '+']).next()?.trim().to_ascii_lowercase();
    let (_, subtype) = essence.split_once('/')?;
    let known = match subtype {
        "jpeg" => "jpg",
        "plain" => "txt",
        "octet-stream" => return None,
        other => other.rsplit('.').next().unwrap_or(other),
    };
    let known = known.strip_prefix("x-").unwrap_or(known);
    let is_plain = !known.is_empty() && known.chars().all(|c| c.is_ascii_alphanumeric());
    is_plain.then(|| known.to_owned())
}

fn looks_like(bytes: &[u8]) -> Option<&'static str> {
    let starts: [(&[u8], &str); 7] = [
        (b"\xff\xd8\xff", "jpg"),
        (b"\x89PNG", "png"),
        (b"VERSION", "pcd"),
        (b"# .PCD", "pcd"),
        (b"GIF8", "gif"),
        (b"DEPTHMAP", "dep"),
        (b"RIFF", "wav"),
    ];
    let found = starts.into_iter().find(|(start, _)| bytes.starts_with(start));
    found.map(|(_, ending)| ending)
}

fn text_field(message: &DynamicMessage, name: &str) -> Option<String> {
    let value = message.get_field_by_name(name)?;
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Names come from the machine; none may lead out of the folder.
fn file_name_part(name: &str) -> String {
    name.replace(|c: char| !c.is_alphanumeric() && c != '-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_follow_the_mime_type() {
        let cases = [
            ("image/jpeg", Some("jpg")),
            ("image/png", Some("png")),
            ("pointcloud/pcd", Some("pcd")),
            ("image/vnd.viam.dep", Some("dep")),
            ("image/vnd.viam.rgba", Some("rgba")),
            ("Image/JPEG; q=1", Some("jpg")),
            ("audio/x-wav", Some("wav")),
            ("application/octet-stream", None),
            ("image/../../etc", None),
            ("", None),
        ];
        for (mime_type, ending) in cases {
            assert_eq!(ending_of_mime_type(mime_type).as_deref(), ending, "{mime_type}");
        }
    }

    #[test]
    fn bytes_are_known_by_how_they_start() {
        assert_eq!(looks_like(b"\xff\xd8\xff\xe0"), Some("jpg"));
        assert_eq!(looks_like(b"VERSION .7"), Some("pcd"));
        assert_eq!(looks_like(b"hello"), None);
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        assert_eq!(file_name_part("../remote:cam/1"), "___remote_cam_1");
    }
}
