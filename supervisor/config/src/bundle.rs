//! The files that a config is made of, as raw bytes: what is watched, kept as last good, and read into values.
//!
//! Their `include` keys alone tell that they belong together. Nothing of the environment is in here: what it is put
//! in for is written as it stands in the files.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use mainstay_model::{Source, SourceSpan};
use sha2::{Digest, Sha256};

use crate::diagnostic::{Diagnostic, Refused, Severity};
use crate::include::{MAX_DEPTH, MAX_FILES};
use crate::secrets;
use crate::{document, include};

/// Longest config file, in bytes. A thousand resources take a fraction of one megabyte.
pub const MAX_SIZE: u64 = 64 << 20;
/// Limit for all files together, in bytes.
const MAX_TOTAL: u64 = 4 * MAX_SIZE;

/// A config as it lies on the disk.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigFiles {
    /// The config file, as its path was given.
    pub path: PathBuf,
    /// The file itself first, then what it includes, in the order in which it is named. Each once.
    pub files: Vec<RawFile>,
}

/// File of a config, with its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct RawFile {
    /// The path of the config file as given; of an included file that of the including one with its own put to it.
    pub path: PathBuf,
    /// The content.
    pub text: Arc<[u8]>,
}

impl fmt::Debug for RawFile {
    /// Without the content, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RawFile");
        shown
            .field("path", &self.path)
            .field("bytes", &self.text.len())
            .finish()
    }
}

impl fmt::Debug for ConfigFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl ConfigFiles {
    /// A config of one file that includes none.
    #[must_use]
    pub fn single(path: impl Into<PathBuf>, text: impl AsRef<[u8]>) -> Self {
        let path = path.into();
        let text = Arc::from(text.as_ref());
        let files = vec![RawFile {
            path: path.clone(),
            text,
        }];
        Self { path, files }
    }

    /// Reads the config file at `path` and all that it includes. What is in them is not judged here, so a text that is no
    /// config is no error: [`parse`](crate::parse) says all that is wrong with it.
    ///
    /// # Errors
    /// A file cannot be read, is too large, or includes itself; or there are too many.
    pub fn gather(path: &Path, read: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>) -> Result<Self, Refused> {
        Self::gather_with(path, &crate::load_context::environment(), read)
    }

    /// [`ConfigFiles::gather`] with another environment than that of this process: a variable may hold brackets or quotes, and
    /// then decides which text is a key.
    ///
    /// # Errors
    /// As for [`ConfigFiles::gather`].
    pub fn gather_with(
        path: &Path,
        environment: &BTreeMap<String, String>,
        read: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<Self, Refused> {
        match Self::gather_partly(path, environment, read)? {
            (files, missing) if missing.is_empty() => Ok(files),
            (_, diagnostics) => Err(Refused {
                diagnostics,
                config: None,
                complete: false,
            }),
        }
    }

    /// [`ConfigFiles::gather_with`] that goes on without the included files that cannot be read, and says which.
    ///
    /// # Errors
    /// The config file itself cannot be read.
    pub(super) fn gather_partly(
        path: &Path,
        environment: &BTreeMap<String, String>,
        read: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<(Self, Vec<Diagnostic>), Refused> {
        let mut gathering = Gathering {
            environment,
            read,
            files: Vec::new(),
            total: 0,
            missing: Vec::new(),
        };
        gathering
            .file(path.to_owned(), &mut Vec::new(), None)
            .map_err(|diagnostic| Refused::from(*diagnostic))?;
        let files = Self {
            path: path.to_owned(),
            files: gathering.files,
        };
        Ok((files, gathering.missing))
    }

    /// SHA-256 over the contents and the paths relative to the config file, in hexadecimal digits. Equal digests mean
    /// that nothing changed, wherever the files lie.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (number, file) in self.files.iter().enumerate() {
            // The config file itself may have any name.
            let path = if number == 0 {
                Path::new("")
            } else {
                self.relative(&file.path)
            };
            for part in [path.as_os_str().as_encoded_bytes(), &file.text] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The path of one of the files as seen from the folder of the config file.
    #[must_use]
    pub fn relative<'p>(&self, path: &'p Path) -> &'p Path {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        path.strip_prefix(folder).unwrap_or(path)
    }
}

/// The path that `written` in the file `from` means. Without `.` parts, so that one file has one path; `..` stays, because it
/// may lead through a link.
pub(super) fn beside(from: &Path, written: &str) -> PathBuf {
    let folder = from.parent().unwrap_or(Path::new(""));
    let joined = folder.join(written);
    joined.components().filter(|part| *part != Component::CurDir).collect()
}

struct Gathering<'a> {
    environment: &'a BTreeMap<String, String>,
    read: &'a mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
    files: Vec<RawFile>,
    total: u64,
    /// Included files that are not among them, and why.
    missing: Vec<Diagnostic>,
}

impl Gathering<'_> {
    /// Reads a file and what it includes. `above` are those that led here, `asked` is where it is named.
    fn file(
        &mut self,
        path: PathBuf,
        above: &mut Vec<PathBuf>,
        asked: Option<(&Arc<Source>, &SourceSpan)>,
    ) -> Result<(), Box<Diagnostic>> {
        let refused = |message: String, help: &str| {
            let place = asked.map_or_else(|| SourceSpan::file(&path), |(_, place)| place.clone());
            let diagnostic = Diagnostic::new(Severity::Refused, message, place).with_help(help);
            Box::new(match asked {
                Some((source, _)) => diagnostic.with_source(Arc::clone(source)),
                None => diagnostic,
            })
        };
        let what = match asked {
            None => "the config".to_owned(),
            Some(_) => format!("the included `{}`", path.display()),
        };
        if above.contains(&path) {
            let way: Vec<String> = above
                .iter()
                .chain([&path])
                .map(|path| path.display().to_string())
                .collect();
            let message = format!("{what} includes itself: {}", way.join(" → "));
            return Err(refused(message, "remove one of the includes"));
        }
        if self.files.iter().any(|file| file.path == path) {
            return Ok(());
        }
        if above.len() >= MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} files include each other in a row");
            return Err(refused(message, "include it from a file further up"));
        }
        if self.files.len() >= MAX_FILES {
            let message = format!("the config has more than {MAX_FILES} files");
            return Err(refused(message, "put some of them together"));
        }
        let bytes = (self.read)(&path).map_err(|error| {
            let help = match error.kind() {
                io::ErrorKind::NotFound if asked.is_some() => {
                    "is the path right? it starts at the folder of the file that includes it"
                }
                io::ErrorKind::NotFound => "is the path right?",
                io::ErrorKind::PermissionDenied => "let the user that runs this read it",
                io::ErrorKind::IsADirectory => "name the file in it",
                _ => "it must be a readable file",
            };
            refused(format!("{what} cannot be read: {error}"), help)
        })?;
        let size = bytes.len() as u64;
        self.total += size;
        if size > MAX_SIZE {
            let message = format!("{what} is larger than {} MiB", MAX_SIZE >> 20);
            return Err(refused(message, "is it the right file?"));
        }
        if self.total > MAX_TOTAL {
            let message = format!(
                "the files of the config are larger than {} MiB together",
                MAX_TOTAL >> 20
            );
            return Err(refused(message, "are these the right files?"));
        }
        let text: Arc<[u8]> = bytes.into();
        self.files.push(RawFile {
            path: path.clone(),
            text: Arc::clone(&text),
        });
        // Most files include nothing, and need not be read twice.
        if !include::mentioned(&text) {
            return Ok(());
        }
        let source = Arc::new(Source::new(
            [(&*path, document::decode(&text).0)],
            secrets::in_unread_text,
        ));
        let document = document::read(&source, 0, self.environment);
        source.hide(document.hidden);
        above.push(path);
        for (written, span) in include::written(&document.root) {
            let from = above.last().map_or(Path::new(""), PathBuf::as_path);
            let place = source.place(span);
            if source.slice(span).contains('$') {
                // Refused when it is parsed. No value of the environment may become a path in here.
                continue;
            }
            if let Err(problem) = self.file(beside(from, written), above, Some((&source, &place)))
                // That there are too many is said once.
                && self.missing.iter().all(|said| said.message != problem.message)
            {
                self.missing.push(*problem);
            }
        }
        above.pop();
        Ok(())
    }
}
