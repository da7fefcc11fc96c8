//! Lock file of a runtime directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::RuntimeDirError;

/// Name of the lock file, inside a runtime directory. It holds the process id of the core, for messages only.
pub(super) const LOCK_FILE: &str = "lock";

/// Content of the lock file while a guardian clears away what a dead core left.
pub(super) const ENDING: &str = "ending";

/// Locks the directory's lock file; `None` when that file was removed meanwhile.
pub(super) fn take_lock(dir: &Path) -> Result<Option<File>, RuntimeDirError> {
    let path = dir.join(LOCK_FILE);
    let failed = |action| {
        let path = path.clone();
        move |source| RuntimeDirError::Io { action, path, source }
    };
    let mut file = match open_lock(dir, true) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("open")(source)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            return Err(match text.trim() {
                ENDING => RuntimeDirError::Ending,
                pid => RuntimeDirError::Running { pid: pid.parse().ok() },
            });
        }
        Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
    }
    if !is_at(&file, &path) {
        return Ok(None);
    }
    write_lock(&mut file, &std::process::id().to_string()).map_err(failed("write"))?;
    Ok(Some(file))
}

pub(super) fn open_lock(dir: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(dir.join(LOCK_FILE))
}

/// True if `file` is what lies at `path` now.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| {
        file.metadata()
            .is_ok_and(|ours| (there.dev(), there.ino()) == (ours.dev(), ours.ino()))
    })
}

pub(super) fn write_lock(file: &mut File, text: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{text}")
}
