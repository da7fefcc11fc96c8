//! Identity of the file that a path led to at some moment, so that a later look shows whether it was replaced or rewritten.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Identity of one state of a file. Changed rights keep it; a new time stamp does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMark {
    /// Path of the file, links followed.
    pub path: PathBuf,
    device: u64,
    inode: u64,
    /// Size in bytes.
    length: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl FileMark {
    /// Looks at what `path` leads to now.
    ///
    /// # Errors
    /// Error of the file system, for example that there is nothing.
    pub fn of(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let metadata = std::fs::metadata(&path)?;
        Ok(Self {
            path,
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_replaced_rewritten_or_relinked_file_has_another_mark_and_a_left_one_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, other, link) = (
            folder.path().join("a"),
            folder.path().join("b"),
            folder.path().join("link"),
        );
        fs::write(&file, "one").expect("written");
        fs::write(&other, "one").expect("written");
        std::os::unix::fs::symlink("a", &link).expect("linked");
        let first = FileMark::of(&link).expect("it is there");
        assert_eq!(first, FileMark::of(&file).expect("it is there"));
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
        assert_eq!(first, FileMark::of(&link).expect("it is there"));
        fs::write(&file, "three").expect("written");
        let second = FileMark::of(&link).expect("it is there");
        assert_ne!(first, second);
        fs::remove_file(&link).expect("removed");
        std::os::unix::fs::symlink("b", &link).expect("linked");
        assert_ne!(second, FileMark::of(&link).expect("it is there"));
        assert!(FileMark::of(&folder.path().join("none")).is_err());
    }
}
