//! The texts that make up one config, as they were read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::complaint::{Complaint, Grade, Place, Refused};

/// One file of a config, raw: before any substitution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// Its content.
    pub text: Arc<[u8]>,
}

/// A config file and all that it includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The path of the config as it was given.
    pub path: PathBuf,
    /// The file itself first, then what it includes.
    pub files: Vec<RawFile>,
}

impl Bundle {
    /// Reads `path` and what it includes with `read`.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn gather(path: &Path, read: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>) -> Result<Self, Refused> {
        let text = read(path).map_err(|error| Refused {
            complaints: vec![Complaint::new(
                Grade::Refused,
                format!("the config cannot be read: {error}"),
                Place::file(path),
            )],
        })?;
        let file = RawFile {
            path: path.to_owned(),
            text: text.into(),
        };
        Ok(Self {
            path: path.to_owned(),
            files: vec![file],
        })
    }

    /// SHA-256, in hex, of all paths (relative to the first file) and contents.
    #[must_use]
    pub fn digest(&self) -> String {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let mut hash = Sha256::new();
        for file in &self.files {
            let path = file.path.strip_prefix(folder).unwrap_or(&file.path);
            hash.update(path.as_os_str().as_encoded_bytes());
            hash.update([0]);
            hash.update((file.text.len() as u64).to_le_bytes());
            hash.update(&file.text);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
