//! A file whose content is another one from one moment to the next: never half of it, whatever happens meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use crate::failure::CliError;

/// Replaces the content of the file at `path`, which is expected to be `old`, by `new`. A symlink stays one: the file that
/// it leads to is replaced. Mode and owner stay.
///
/// # Errors
/// The file says something else by now, or the folder takes no new file. The old content is there then.
pub fn replace(path: &Path, old: &[u8], new: &[u8]) -> Result<(), CliError> {
    let real = path
        .canonicalize()
        .map_err(|error| failed(path, "cannot be found", &error))?;
    let folder = real.parent().unwrap_or(Path::new("/"));
    let fresh = TempFile::create(folder, &real)?;
    fresh
        .fill(&real, new)
        .map_err(|error| failed(&real, "cannot be replaced", &error))?;
    let now = fs::read(&real).map_err(|error| failed(&real, "cannot be read again", &error))?;
    if now != old {
        return Err(CliError::wrong(format!(
            "`{}` was changed by somebody else meanwhile; look at it and try again",
            path.display()
        )));
    }
    fs::rename(&fresh.path, &real).map_err(|error| failed(&real, "cannot be replaced", &error))?;
    // The name must outlive a power cut, too. Folders that refuse to be synced keep it all the same.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

fn failed(path: &Path, problem: &str, error: &io::Error) -> CliError {
    CliError::wrong(format!("`{}` {problem}: {error}", path.display()))
}

/// The new file beside the old one; goes away with this value unless it was renamed.
struct TempFile {
    path: PathBuf,
    file: File,
}

impl TempFile {
    fn create(folder: &Path, real: &Path) -> Result<Self, CliError> {
        let name = real.file_name().unwrap_or_default().to_string_lossy();
        let path = folder.join(format!(".{name}.{}.new", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| {
            let why = format!("no new file can be written beside `{}`: {error}", real.display());
            CliError::wrong(format!("{why}; let this user write into {}", folder.display()))
        })?;
        Ok(Self { path, file })
    }

    fn fill(&self, real: &Path, content: &[u8]) -> io::Result<()> {
        let like = fs::metadata(real)?;
        let own = self.file.metadata()?;
        (&self.file).write_all(content)?;
        if (like.uid(), like.gid()) != (own.uid(), own.gid()) {
            let owner = format!("owner {}:{}", like.uid(), like.gid());
            fchown(&self.file, Some(like.uid()), Some(like.gid()))
                .map_err(|error| io::Error::new(error.kind(), format!("its {owner} cannot be kept: {error}")))?;
        }
        self.file
            .set_permissions(fs::Permissions::from_mode(like.mode() & 0o7777))?;
        self.file.sync_all()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // After the rename there is nothing under this name.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).expect("a folder").count()
    }

    #[test]
    fn the_file_behind_a_symlink_is_replaced_with_its_mode() {
        let folder = tempfile::tempdir().expect("a folder");
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").expect("written");
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("allowed");
        symlink("real", &link).expect("linked");
        replace(&link, b"old", b"new").expect("replaced");
        assert_eq!(fs::read(&real).expect("there"), b"new");
        assert!(link.is_symlink());
        assert_eq!(fs::metadata(&real).expect("there").mode() & 0o7777, 0o640);
        assert_eq!(files(folder.path()), 2);
    }

    #[test]
    fn what_somebody_else_wrote_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let real = folder.path().join("real");
        fs::write(&real, "theirs").expect("written");
        let failure = replace(&real, b"old", b"new").expect_err("changed meanwhile");
        assert!(failure.message.contains("somebody else"), "{failure:?}");
        assert_eq!(fs::read(&real).expect("there"), b"theirs");
        assert_eq!(files(folder.path()), 1);
    }
}
