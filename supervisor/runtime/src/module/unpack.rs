//! Unpacks a module's tarball (`.tgz`, `.tar.gz`): nothing outside its own folder is written or pointed at, and neither
//! its size nor the number of its files is without bounds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

/// Longest header extension (a long name, or PAX records), in bytes: the reader keeps it in memory.
const MAX_EXTENSION_LEN: u64 = 64 * 1024;
/// Links that are followed before a chain of them counts as a circle, which leads nowhere.
const MAX_HOPS: u32 = 40;

/// Limits of what may come out of one tarball.
#[derive(Debug, Clone, Copy)]
pub struct UnpackLimits {
    /// Bytes of the unpacked archive.
    pub bytes: u64,
    /// Files, folders and links.
    pub entries: u64,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            bytes: 8 << 30,
            entries: 500_000,
        }
    }
}

/// Failure to unpack a tarball. None of its files are left then.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The tarball cannot be read, or is no gzip-compressed tar archive, or is cut off.
    #[error("cannot read it as a gzip-compressed tar archive: {0}; build it with `tar czf`")]
    Unreadable(#[source] io::Error),
    /// The content is larger than allowed.
    #[error("unpacked it is larger than {0} bytes, which is more than a module may need; make it smaller")]
    TooLarge(u64),
    /// The tarball has more entries than allowed.
    #[error("it holds more than {0} files; make them fewer")]
    TooMany(u64),
    /// An entry would be written elsewhere.
    #[error("its entry `{}` leads out of the archive's own folder; build it from inside that folder", .0.display())]
    Escapes(PathBuf),
    /// A link points elsewhere.
    #[error(
        "its link `{}` points to `{}`, which is outside of the archive; pack the file itself (`tar --dereference`)",
        .link.display(), .target.display()
    )]
    LinkOut { link: PathBuf, target: PathBuf },
    /// An entry that a module cannot need: a device, a pipe, a sparse file.
    #[error("its entry `{}` is a {kind}; only files, folders and links are unpacked", .entry.display())]
    Kind { entry: PathBuf, kind: &'static str },
    /// A file cannot be written.
    #[error("cannot write its entry `{}`: {source}", .entry.display())]
    Write { entry: PathBuf, source: io::Error },
    /// The caller gave up.
    #[error("unpacking it was given up")]
    GivenUp,
}

/// Unpacks `archive` into the folder `into`, which is empty. Takes as long as the disk needs; `give_up` ends it early.
///
/// The archive is read twice: to its end first, so that a damaged or unbounded one is refused before anything is written.
///
/// # Errors
/// See [`UnpackError`]. `into` may hold a part of it then.
pub fn unpack(archive: &Path, into: &Path, limits: UnpackLimits, give_up: &AtomicBool) -> Result<(), UnpackError> {
    survey(open(archive, limits, give_up)?, limits)?;
    let mut reader = open(archive, limits, give_up)?;
    reader.set_overwrite(false);
    let mut links = BTreeMap::new();
    let mut seen = 0;
    for entry in reader.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        seen += 1;
        if seen > limits.entries {
            return Err(UnpackError::TooMany(limits.entries));
        }
        write(&mut entry, into, &mut links)?;
    }
    match links
        .iter()
        .find(|(link, target)| !stays_inside(link.parent().unwrap_or(Path::new("")), target, &links))
    {
        Some((link, target)) => Err(UnpackError::LinkOut {
            link: link.clone(),
            target: target.clone(),
        }),
        None => Ok(()),
    }
}

/// The decompressed archive, no more of it than the limit.
struct LimitedReader<'a> {
    inner: MultiGzDecoder<BufReader<File>>,
    left: u64,
    limit: u64,
    give_up: &'a AtomicBool,
}

/// Our own reasons to stop reading, on their way through the tar reader.
#[derive(Debug, thiserror::Error)]
enum StopReading {
    #[error("larger than {0} bytes")]
    TooLarge(u64),
    #[error("given up")]
    GivenUp,
}

impl Read for LimitedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.give_up.load(Ordering::Relaxed) {
            return Err(io::Error::other(StopReading::GivenUp));
        }
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other(StopReading::TooLarge(self.limit)))?;
        Ok(read)
    }
}

fn open<'a>(
    path: &Path,
    limits: UnpackLimits,
    give_up: &'a AtomicBool,
) -> Result<Archive<LimitedReader<'a>>, UnpackError> {
    let file = File::open(path).map_err(UnpackError::Unreadable)?;
    let inner = MultiGzDecoder::new(BufReader::with_capacity(128 * 1024, file));
    Ok(Archive::new(LimitedReader {
        inner,
        left: limits.bytes,
        limit: limits.bytes,
        give_up,
    }))
}

/// Error of reading: our own limits separated from errors of the archive.
fn unreadable(error: io::Error) -> UnpackError {
    match cut(&error) {
        Some(StopReading::TooLarge(limit)) => UnpackError::TooLarge(*limit),
        Some(StopReading::GivenUp) => UnpackError::GivenUp,
        None => UnpackError::Unreadable(error),
    }
}

/// The tar reader wraps the errors that it passes on.
fn cut(error: &io::Error) -> Option<&StopReading> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = error.get_ref().map(|inner| inner as _);
    while let Some(error) = source {
        if let Some(cut) = error.downcast_ref::<StopReading>() {
            return Some(cut);
        }
        source = match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as _),
            None => error.source(),
        };
    }
    None
}

/// Reads all headers, and the data to its end, without believing or keeping any of it.
fn survey(mut archive: Archive<LimitedReader<'_>>, limits: UnpackLimits) -> Result<(), UnpackError> {
    let mut seen: u64 = 0;
    for entry in archive.entries().map_err(unreadable)?.raw(true) {
        let entry = entry.map_err(unreadable)?;
        let header = entry.header();
        let kind = header.entry_type();
        let name = || PathBuf::from(String::from_utf8_lossy(&entry.path_bytes()).into_owned());
        let extension = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions();
        if extension && entry.size() > MAX_EXTENSION_LEN {
            let source = io::Error::other(format!("a header of {} bytes", entry.size()));
            return Err(UnpackError::Unreadable(source));
        }
        if !extension {
            refuse_kind(kind, name)?;
            seen += 1;
        }
        if seen > limits.entries {
            return Err(UnpackError::TooMany(limits.entries));
        }
        if entry.size() > limits.bytes {
            return Err(UnpackError::TooLarge(limits.bytes));
        }
    }
    if seen == 0 {
        return Err(UnpackError::Unreadable(io::Error::other("it is empty")));
    }
    // Only its end tells whether it is whole.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(unreadable)?;
    Ok(())
}

fn refuse_kind(kind: EntryType, entry: impl FnOnce() -> PathBuf) -> Result<(), UnpackError> {
    let kind = match kind {
        EntryType::Regular | EntryType::Continuous | EntryType::Directory | EntryType::Link | EntryType::Symlink => {
            return Ok(());
        }
        EntryType::GNUSparse => "sparse file",
        EntryType::Char | EntryType::Block => "device",
        EntryType::Fifo => "pipe",
        _ => "thing of an unknown kind",
    };
    Err(UnpackError::Kind { entry: entry(), kind })
}

fn write(
    entry: &mut Entry<'_, LimitedReader<'_>>,
    into: &Path,
    links: &mut BTreeMap<PathBuf, PathBuf>,
) -> Result<(), UnpackError> {
    let named = entry.path().map_err(unreadable)?.into_owned();
    refuse_kind(entry.header().entry_type(), || named.clone())?;
    let Some(path) = inside(&named) else {
        return Err(UnpackError::Escapes(named));
    };
    // Nothing is written through a link, wherever that leads.
    if path.ancestors().skip(1).any(|parent| links.contains_key(parent)) {
        return Err(UnpackError::Escapes(named));
    }
    let kind = entry.header().entry_type();
    if kind.is_symlink() || kind.is_hard_link() {
        let target = entry.link_name().map_err(unreadable)?.unwrap_or_default().into_owned();
        if kind.is_symlink() {
            links.insert(path, target);
        } else if inside(&target).is_none_or(|target| target.ancestors().any(|part| links.contains_key(part))) {
            return Err(UnpackError::LinkOut { link: named, target });
        }
    }
    match entry.unpack_in(into) {
        Ok(true) => Ok(()),
        Ok(false) => Err(UnpackError::Escapes(named)),
        Err(error) if cut(&error).is_some() => Err(unreadable(error)),
        Err(source) => Err(UnpackError::Write { entry: named, source }),
    }
}

/// A relative path without `.` parts; `None` if it is absolute or has a `..` in it.
pub fn inside(path: &Path) -> Option<PathBuf> {
    path.components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect()
}

/// True if `target`, seen from `folder`, stays within the archive, whatever links it leads through.
fn stays_inside(folder: &Path, target: &Path, links: &BTreeMap<PathBuf, PathBuf>) -> bool {
    let mut at = folder.to_owned();
    let mut left: Vec<OsString> = Vec::new();
    let push = |left: &mut Vec<OsString>, path: &Path| {
        left.extend(path.components().rev().map(|part| part.as_os_str().to_owned()));
    };
    push(&mut left, target);
    let mut hops = 0;
    while let Some(part) = left.pop() {
        match Path::new(&part).components().next() {
            None | Some(Component::CurDir) => {}
            Some(Component::ParentDir) => {
                if !at.pop() {
                    return false;
                }
            }
            Some(Component::Normal(name)) => {
                at.push(name);
                if let Some(next) = links.get(&at) {
                    hops += 1;
                    if hops > MAX_HOPS {
                        return true;
                    }
                    at.pop();
                    push(&mut left, next);
                }
            }
            Some(Component::RootDir | Component::Prefix(_)) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests;
