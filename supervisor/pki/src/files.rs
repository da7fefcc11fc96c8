//! Files of certificates and keys: read with a bound, and written whole, for their owner alone if they are secret.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Longest file that is read, in bytes: a chain of a hundred certificates fits.
const LONGEST: u64 = 1 << 20;

/// Reads a regular file.
///
/// # Errors
/// The system refuses, or it is no such file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for whoever writes to it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    Ok(bytes)
}

/// Makes a folder that only its owner can look into, and those above it. What root makes belongs to whom the first folder above
/// belongs that was there: the machine may run as another user than the command line.
///
/// # Errors
/// The system refuses.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        make_folder(above)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => give_to_owner_of_folder(folder),
    }
}

/// Writes a file for its owner alone, under another name first, so that a reader finds the old content or the new.
///
/// # Errors
/// The system refuses.
pub fn write(path: &Path, content: &str) -> io::Result<()> {
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    // Left by a process of the same number that was killed.
    let _absent = fs::remove_file(&draft);
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        give_to_owner_of_folder(&draft)?;
        fs::rename(&draft, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().inspect_err(|_| {
        let _absent = fs::remove_file(&draft);
    })
}

fn give_to_owner_of_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|_| nix::unistd::geteuid().is_root()) else {
        return Ok(());
    };
    let owner = fs::metadata(folder)?;
    std::os::unix::fs::lchown(path, Some(owner.uid()), Some(owner.gid()))
}
