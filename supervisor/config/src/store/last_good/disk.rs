//! Disk operations of the store, each one step: a test can end the world after any of them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A disk, or a simulation of one.
pub trait Disk {
    /// Makes the folder with mode 0700; its parent exists. That it is there already is no error.
    ///
    /// # Errors
    /// The file system refuses.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes a new file with mode 0600 and this content, without forcing it to the disk. A file of that name is replaced.
    ///
    /// # Errors
    /// The file system refuses, for example because it is full.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Forces a file's content, or a folder's list of names, to the disk.
    ///
    /// # Errors
    /// The disk fails.
    fn sync(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name in the same folder; a file that has it is replaced.
    ///
    /// # Errors
    /// The file system refuses.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// The file system refuses.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The content of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// There is none, it is longer, or the disk fails.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;
    /// The names in a folder, sorted.
    ///
    /// # Errors
    /// There is none, or it is not ours alone.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
}

/// The disk of this machine.
#[derive(Debug, Clone, Copy)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            done => done,
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // A left-over may have other rights, or be a link.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(path)?.write_all(bytes)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        private(path)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            // Our own names are plain; what else lies there is none of our business.
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }
}

/// Checks that the folder is private: a user who could put files into it could choose what the machine runs.
fn private(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let user = nix::unistd::geteuid().as_raw();
    let problem = if !metadata.is_dir() {
        "it is no folder; remove it".to_owned()
    } else if metadata.uid() != user {
        format!(
            "it belongs to user {} and this runs as user {user}; run as that user, or give another state directory",
            metadata.uid()
        )
    } else if metadata.mode() & 0o077 != 0 {
        return fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, problem))
}

/// The folders on the way to `path` that do not exist, outermost first; none if `path` exists.
pub fn missing_folders(path: &Path) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> = path
        .ancestors()
        .take_while(|folder| !folder.exists())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    missing
}
