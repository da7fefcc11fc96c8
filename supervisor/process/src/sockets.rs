//! The names of a module's two sockets: short enough for every system, one of a kind for every start.

use std::io;
use std::path::{Path, PathBuf};

use mainstay_model::machine_path::MAX_SOCKET_PATH_LEN;

/// Room that the shortest socket name needs behind the directory: `/`, 8 characters, `/9999999999.sock`.
const SHORTEST: usize = 1 + 8 + 16;

/// The runtime directory's path is so long that no socket fits into it.
#[derive(Debug, thiserror::Error)]
#[error(
    "module socket base path would result in a path greater than the OS limit of {MAX_SOCKET_PATH_LEN} characters: {}; \
     set XDG_RUNTIME_DIR to a shorter path", .0.display()
)]
pub struct TooLong(PathBuf);

/// The directory in which a module's sockets lie, and nothing else: it can be the module's own.
#[derive(Debug, Clone)]
pub struct Sockets {
    directory: PathBuf,
}

/// Makes sure that a module's sockets fit into `directory`, whatever its name.
pub fn check(directory: &Path) -> Result<(), TooLong> {
    Sockets::new(directory, &"m".repeat(200)).map(|_| ())
}

impl Sockets {
    /// Names for the sockets of module `name` below `directory`. A name that does not fit is cut, and a hash of the
    /// whole keeps it apart from others with the same beginning.
    pub fn new(directory: &Path, name: &str) -> Result<Self, TooLong> {
        let used = directory.as_os_str().len();
        let room = (MAX_SOCKET_PATH_LEN - SHORTEST + 8)
            .checked_sub(used)
            .ok_or_else(|| TooLong(directory.into()))?;
        // `:` stands in built-in names only; `+` cannot stand in a configured one, so nothing clashes.
        let name = name.replace(':', "+");
        let stem = if name.len() <= room {
            name
        } else if room >= 8 {
            let start: String = name
                .chars()
                .take(room.saturating_sub(9))
                .filter(char::is_ascii)
                .collect();
            format!(
                "{start}{}{:08x}",
                if start.is_empty() { "" } else { "-" },
                hash(name.as_bytes())
            )
        } else {
            return Err(TooLong(directory.into()));
        };
        Ok(Self {
            directory: directory.join(stem),
        })
    }

    /// Directory of the sockets.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes that directory, for our own user alone.
    pub fn make_directory(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().mode(0o700).create(&self.directory)
    }

    /// Makes that directory if it is missing: a cleaner may have removed it.
    pub fn make_directory_again(&self) -> io::Result<()> {
        match self.make_directory() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    /// Removes that directory with all that is in it; the module has ended. One that is gone already is fine.
    pub fn remove_directory(&self) {
        match std::fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(directory = %self.directory.display(), "cannot remove a module's sockets: {error}");
            }
            _ => {}
        }
    }

    /// The name of the runtime directory in which they lie.
    pub fn key(&self) -> String {
        self.directory.parent().map(key).unwrap_or_default()
    }

    /// The socket on which the core answers this module.
    pub fn parent(&self) -> PathBuf {
        self.directory.join("parent.sock")
    }

    /// The socket on which the module's process number `life` listens; a new one at every start, so that a late
    /// writer to an old one meets nobody.
    pub fn module(&self, life: u64) -> PathBuf {
        self.directory.join(format!("{life}.sock"))
    }

    /// Removes the module socket of `life`; one that is gone already is fine.
    pub fn remove(&self, life: u64) -> io::Result<()> {
        match std::fs::remove_file(self.module(life)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

/// The name of a runtime directory.
pub fn key(runtime: &Path) -> String {
    let name = runtime.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// FNV-1a, 32 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>): stable across versions, unlike the standard hasher.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_fits_and_differs() {
        for directory in [
            "/tmp/mainstay-0/0123456789ab".to_owned(),
            format!("/{}", "d".repeat(76)),
        ] {
            let directory = Path::new(&directory);
            let long = "m".repeat(200);
            let longer = format!("{long}x");
            let mut seen = std::collections::HashSet::new();
            for name in ["a", "builtin:fake", "builtin-fake", &long, &longer] {
                let sockets = Sockets::new(directory, name).expect("fits");
                for path in [sockets.parent(), sockets.module(1), sockets.module(9_999_999_999)] {
                    assert!(
                        path.as_os_str().len() <= MAX_SOCKET_PATH_LEN,
                        "{}: {}",
                        path.display(),
                        path.as_os_str().len()
                    );
                    assert!(seen.insert(path.clone()), "{} twice", path.display());
                }
            }
        }
    }

    #[test]
    fn a_directory_without_room_is_refused_with_the_cure() {
        let error = Sockets::new(Path::new(&"d".repeat(90)), "module").expect_err("too long");
        assert!(error.to_string().contains("XDG_RUNTIME_DIR"), "{error}");
    }
}
