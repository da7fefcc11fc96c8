//! The configs that worked, and those that were refused, on the disk.
//!
//! One folder per config, `STATE/last-good/STEM-HASH/`, with `good-N` (N counts up; the last two are kept) and `rejected-N-DIGEST`
//! (the last eight). A file is written under another name, forced to the disk, renamed, and the folder is forced, before
//! anything older is removed: whenever the power goes, an older or a newer one is there, whole. Texts are raw, before substitution, so that
//! secrets from the environment never reach the disk.

mod disk;
mod format;
mod prune;

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

pub use self::prune::UNUSED;
use crate::ConfigFiles;
use crate::store::last_good::disk::{Disk, RealDisk, missing_folders};
use crate::store::last_good::format::{Record, hex};
use crate::store::state_dir::StateFolders;

/// Configs that worked: the last one, and the one before in case the last is damaged.
const GENERATIONS: usize = 2;
/// Rejected configs that are remembered.
const REJECTED: usize = 8;
/// Longest text of a rejected config that is kept, in bytes; of longer ones only hash and reasons are.
const REJECTED_TEXT: usize = 4 << 20;
/// Reasons that are kept, and characters of each.
const REASONS: usize = 50;
const REASON_LENGTH: usize = 2000;
/// Longest file of the store that is read, in bytes: more than all that a config may hold.
const LONGEST: u64 = 256 << 20;
/// Characters of the config's name in the folder's.
const STEM: usize = 32;

const GOOD: &str = "good-";
const REJECT: &str = "rejected-";
/// File name of what is not whole yet. One name is enough: a machine has one writer.
const UNFINISHED: &str = "unfinished";

/// A config that worked.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptConfig {
    /// Texts of the config.
    pub bundle: ConfigFiles,
    /// Counts up with each one that was kept.
    pub revision: u64,
    /// Time of keeping.
    pub saved: SystemTime,
}

/// Rejection of a config: reasons and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Reasons, one line each, without secrets.
    pub reasons: Vec<String>,
    /// Time of the rejection.
    pub at: SystemTime,
}

/// Failure of the store. Nothing of the machine depends on it: warn, and go on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The environment names no place.
    #[error(
        "there is no place for the last good config: set HOME, XDG_STATE_HOME or STATE_DIRECTORY to an absolute path"
    )]
    NoPlace,
    /// The disk is full, read-only or broken, or the place is not ours.
    #[error("cannot {action} `{}`, so {consequence}", path.display())]
    Disk {
        /// Action that failed.
        action: &'static str,
        /// File or folder of the action.
        path: PathBuf,
        /// Consequence of the failure.
        consequence: &'static str,
        /// Error of the system.
        source: io::Error,
    },
    /// The folder has files, and none of them is whole.
    #[error("what is kept in `{}` is damaged; remove it", folder.display())]
    Damaged {
        /// Folder of the files.
        folder: PathBuf,
    },
}

/// The store of one config. Cheap to make; every call blocks for as long as the disk takes.
#[derive(Debug, Clone)]
pub struct LastGood<D = RealDisk> {
    /// `None` where there is no place.
    folder: Option<PathBuf>,
    disk: D,
}

impl LastGood {
    /// Store of the config at `path`, which is taken as it is given: links are not resolved, because a link is often all
    /// that stays the same.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        Self::within(StateFolders::here().state_directory().as_deref(), path)
    }

    /// The same with a state directory of the caller's choice; without one, nothing can be kept.
    #[must_use]
    pub fn within(state: Option<&Path>, path: &Path) -> Self {
        Self::on(RealDisk, state, path)
    }
}

impl<D: Disk> LastGood<D> {
    fn on(disk: D, state: Option<&Path>, path: &Path) -> Self {
        let folder = state.map(|state| state.join("last-good").join(key(path)));
        Self { folder, disk }
    }

    /// Folder of this config's files; `None` where there is no place for them.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Folder for the keys of this config's machine; `None` where there is no place for them. Beside the configs that are kept, so
    /// that nothing which forgets those forgets the keys.
    #[must_use]
    pub fn keys_folder(&self) -> Option<PathBuf> {
        let folder = self.folder.as_deref()?;
        Some(folder.parent()?.parent()?.join("keys").join(folder.file_name()?))
    }

    /// Folder for what makes this computer a part of a machine; `None` where there is no place for it.
    #[must_use]
    pub fn part_folder(&self) -> Option<PathBuf> {
        let folder = self.folder.as_deref()?;
        Some(folder.parent()?.parent()?.join("parts").join(folder.file_name()?))
    }

    /// The last config that worked, if any did.
    ///
    /// # Errors
    /// The disk cannot be read, or what is there is damaged.
    pub fn read(&self) -> Result<Option<KeptConfig>, StoreError> {
        let folder = self.place()?;
        let names = self.names(folder)?;
        let good = numbered(&names, GOOD);
        for (_, name) in good.iter().rev() {
            if let Some(record) = self.record(&folder.join(name))? {
                return Ok(Some(KeptConfig {
                    bundle: record.bundle,
                    revision: record.number,
                    saved: record.at,
                }));
            }
        }
        if good.is_empty() {
            Ok(None)
        } else {
            Err(StoreError::Damaged {
                folder: folder.to_owned(),
            })
        }
    }

    /// Keeps a config that works, and gives its revision. The one that is kept already is not written again.
    ///
    /// # Errors
    /// The disk is full, read-only or broken: what was kept before is still there.
    pub fn keep(&self, bundle: &ConfigFiles) -> Result<u64, StoreError> {
        self.keep_as(bundle, 0)
    }

    /// [`LastGood::keep`], with this revision at least: what was kept before may have been removed from the disk.
    ///
    /// # Errors
    /// As for [`LastGood::keep`].
    pub fn keep_as(&self, bundle: &ConfigFiles, least: u64) -> Result<u64, StoreError> {
        // One that cannot be read is no reason not to keep a new one.
        if let Ok(Some(kept)) = self.read()
            && kept.bundle.path == bundle.path
            && kept.bundle.digest() == bundle.digest()
        {
            return Ok(kept.revision);
        }
        let folder = self.prepared()?;
        let names = self.names(folder)?;
        let good = numbered(&names, GOOD);
        let number = (good.last().map_or(0, |(number, _)| *number) + 1).max(least);
        let record = Record {
            bundle: bundle.clone(),
            number,
            at: SystemTime::now(),
            reasons: Vec::new(),
        };
        self.put(folder, &format!("{GOOD}{number:010}"), &record)?;
        // Whatever is whole among the older ones outlives whatever is not.
        let mut whole = 1;
        for (_, name) in good.iter().rev() {
            let path = folder.join(name);
            if whole < GENERATIONS && matches!(self.record(&path), Ok(Some(_))) {
                whole += 1;
            } else {
                self.remove(&path);
            }
        }
        Ok(number)
    }

    /// True if some config is kept, whole or not.
    #[must_use]
    pub fn holds_something(&self) -> bool {
        let names = self.place().and_then(|folder| self.names(folder)).unwrap_or_default();
        !numbered(&names, GOOD).is_empty()
    }

    /// Remembers that this config was refused, and why. The oldest of many are forgotten.
    ///
    /// # Errors
    /// The disk is full, read-only or broken.
    pub fn reject(&self, bundle: &ConfigFiles, reasons: &[String]) -> Result<(), StoreError> {
        let folder = self.prepared()?;
        let names = self.names(folder)?;
        let rejected = numbered(&names, REJECT);
        let number = rejected.last().map_or(0, |(number, _)| *number) + 1;
        let digest = bundle.digest();
        let mut bundle = bundle.clone();
        if bundle.files.iter().map(|file| file.text.len()).sum::<usize>() > REJECTED_TEXT {
            bundle.files.clear();
        }
        let record = Record {
            bundle,
            number,
            at: SystemTime::now(),
            reasons: bounded(reasons),
        };
        self.put(folder, &format!("{REJECT}{number:010}-{digest}"), &record)?;
        let (same, others): (Vec<_>, Vec<_>) = rejected.iter().partition(|(_, name)| is_about(name, &digest));
        let too_many = (others.len() + 1).saturating_sub(REJECTED);
        for (_, name) in same.into_iter().chain(others.into_iter().take(too_many)) {
            self.remove(&folder.join(name));
        }
        Ok(())
    }

    /// Rejection of the config with this [`ConfigFiles::digest`], if it was rejected.
    #[must_use]
    pub fn rejection(&self, digest: &str) -> Option<Rejection> {
        let path = self.rejected(digest).pop()?;
        let record = self.record(&path).ok().flatten();
        // Its name alone says that it was refused.
        Some(record.map_or_else(
            || Rejection {
                reasons: vec![format!(
                    "it was refused; the record of why is damaged (`{}`)",
                    path.display()
                )],
                at: SystemTime::UNIX_EPOCH,
            },
            |record| Rejection {
                reasons: record.reasons,
                at: record.at,
            },
        ))
    }

    /// Forgets that the config with this [`ConfigFiles::digest`] was refused.
    pub fn pardon(&self, digest: &str) {
        for path in self.rejected(digest) {
            self.remove(&path);
        }
        if let Some(folder) = &self.folder {
            // Without it a pardon may not outlive a power cut, no more.
            let _best_effort = self.disk.sync(folder);
        }
    }

    fn rejected(&self, digest: &str) -> Vec<PathBuf> {
        let Some(folder) = &self.folder else { return Vec::new() };
        let names = self.names(folder).unwrap_or_default();
        let about = numbered(&names, REJECT)
            .into_iter()
            .filter(|(_, name)| is_about(name, digest));
        about.map(|(_, name)| folder.join(name)).collect()
    }

    fn place(&self) -> Result<&Path, StoreError> {
        self.folder.as_deref().ok_or(StoreError::NoPlace)
    }

    /// Makes the folder of this config, for its user alone, if it is not there.
    ///
    /// # Errors
    /// There is no place for it, or the disk refuses.
    pub fn prepared(&self) -> Result<&Path, StoreError> {
        let folder = self.place()?;
        for missing in missing_folders(folder) {
            self.disk
                .make_folder(&missing)
                .and_then(|()| missing.parent().map_or(Ok(()), |parent| self.disk.sync(parent)))
                .map_err(|source| unsaved("make", &missing, source))?;
        }
        Ok(folder)
    }

    /// Writes a file so that it is there whole or not at all.
    fn put(&self, folder: &Path, name: &str, record: &Record) -> Result<(), StoreError> {
        let (unfinished, path) = (folder.join(UNFINISHED), folder.join(name));
        let bytes = record.to_bytes();
        let written = self
            .disk
            .write(&unfinished, &bytes)
            .and_then(|()| self.disk.sync(&unfinished));
        if let Err(source) = written {
            // It may be what fills the disk.
            self.remove(&unfinished);
            return Err(unsaved("write", &unfinished, source));
        }
        self.disk
            .rename(&unfinished, &path)
            .and_then(|()| self.disk.sync(folder))
            .map_err(|source| unsaved("write", &path, source))
    }

    /// Removes a file; if that fails, it is removed the next time.
    fn remove(&self, path: &Path) {
        let _next_time = self.disk.remove(path);
    }

    /// `None` if the file is gone or not whole.
    fn record(&self, path: &Path) -> Result<Option<Record>, StoreError> {
        match self.disk.read(path, LONGEST) {
            Ok(bytes) => Ok(Record::from_bytes(&bytes)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::FileTooLarge) => Ok(None),
            Err(source) => Err(unread(path, source)),
        }
    }

    fn names(&self, folder: &Path) -> Result<Vec<String>, StoreError> {
        match self.disk.list(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(|source| unread(folder, source)),
        }
    }
}

fn unsaved(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Disk {
        action,
        path: path.to_owned(),
        consequence: "this config cannot be gone back to after a restart",
        source,
    }
}

fn unread(path: &Path, source: io::Error) -> StoreError {
    StoreError::Disk {
        action: "read",
        path: path.to_owned(),
        consequence: "nobody knows which config worked last",
        source,
    }
}

/// The folder's name: readable, and its own for each path.
fn key(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let digest = hex(&Sha256::digest(path.as_os_str().as_bytes())[..8]);
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let stem: String = stem.chars().take(STEM).map(plain).collect();
    format!("{stem}-{digest}")
}

/// Files of one kind with their numbers, in the order of these.
fn numbered<'a>(names: &'a [String], kind: &str) -> Vec<(u64, &'a str)> {
    let number = |name: &&'a String| {
        let digits = name.strip_prefix(kind)?.split('-').next()?;
        Some((digits.parse().ok()?, name.as_str()))
    };
    let mut numbered: Vec<_> = names.iter().filter_map(|name| number(&name)).collect();
    numbered.sort();
    numbered
}

fn is_about(name: &str, digest: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(_, about)| about == digest)
}

fn bounded(reasons: &[String]) -> Vec<String> {
    let mut bounded: Vec<String> = reasons
        .iter()
        .take(REASONS)
        .map(|reason| reason.chars().take(REASON_LENGTH).collect())
        .collect();
    if reasons.len() > REASONS {
        bounded.push(format!("and {} more", reasons.len() - REASONS));
    }
    bounded
}

#[cfg(test)]
mod tests;
