//! Check of a module's program file: runnable, or unpackable; else the problem and its cure.

use std::fs;
use std::io;
use std::path::Path;

/// File at the path of a program.
#[derive(Debug)]
pub enum Executable {
    /// A file that this process may execute.
    Program,
    /// A file that it may not execute.
    NotExecutable,
    /// Directory, device, or the like: no regular file.
    NoFile,
    /// The file could not be looked at.
    Nothing(io::Error),
}

/// Fault of a program's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramProblem {
    /// Cause in the words of peers: `stat /opt/gear: no such file or directory`.
    pub cause: String,
    /// Cure.
    pub help: String,
}

/// Looks at the real file system.
#[must_use]
pub fn on_disk(path: &Path) -> Executable {
    match fs::metadata(path) {
        Err(error) => Executable::Nothing(error),
        Ok(metadata) if !metadata.is_file() => Executable::NoFile,
        Ok(_) if nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_err() => Executable::NotExecutable,
        Ok(_) => Executable::Program,
    }
}

impl Executable {
    /// True if a module can be made of it. What is unpacked (`tarball`) need not be executable itself.
    #[must_use]
    pub fn serves(&self, tarball: bool) -> bool {
        match self {
            Self::Program => true,
            Self::NotExecutable => tarball,
            Self::NoFile | Self::Nothing(_) => false,
        }
    }

    /// Problem of the file; `None` if it serves. `shown` is its path as people may see it.
    #[must_use]
    pub fn problem(&self, shown: &str, tarball: bool) -> Option<ProgramProblem> {
        if self.serves(tarball) {
            return None;
        }
        let (cause, help) = match self {
            Self::Program | Self::NotExecutable => ("not executable".to_owned(), format!("chmod +x {shown}")),
            Self::NoFile => ("not a file".to_owned(), "name the program in it".to_owned()),
            Self::Nothing(error) if error.kind() == io::ErrorKind::NotFound => (
                "no such file or directory".to_owned(),
                "build or install it, or correct the path; relative paths start at the folder of the config".to_owned(),
            ),
            Self::Nothing(error) => (error.to_string(), "let this user read the way to it".to_owned()),
        };
        let help = not_yet(shown).filter(|_| !tarball).map_or(help, str::to_owned);
        Some(ProgramProblem {
            cause: format!("stat {shown}: {cause}"),
            help,
        })
    }
}

/// The cure for paths that mean something to others and not, or not yet, to us.
fn not_yet(path: &str) -> Option<&'static str> {
    if path.contains("${") {
        Some("the placeholder in it cannot be replaced; a warning says why")
    } else if path.ends_with(".tar.gz") || path.ends_with(".tgz") {
        Some("only modules with `type: local` have their archive unpacked; add it, or name the program itself")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_serves_as_what_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("run");
        let serves = |path: &Path| [false, true].map(|tarball| on_disk(path).serves(tarball));
        assert_eq!(serves(&file), [false, false]);
        assert_eq!(serves(folder.path()), [false, false]);
        fs::write(&file, "").expect("written");
        assert_eq!(serves(&file), [false, true]);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("ours");
        assert_eq!(serves(&file), [true, true]);
        assert_eq!(on_disk(&file).problem("run", false), None);
    }
}
