//! Places of runtime directories, and who else may reach into them.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use mainstay_model::machine_path;

use super::RuntimeDirError;

/// Config and session directory of the machine that the packages' systemd unit runs, as a user of its own.
const SERVICE_CONFIG: &str = "/etc/mainstay/machine.yaml";
const SERVICE_SESSION: &str = "/run/mainstay";

/// The session's run-time directory, if the session has a usable one: absolute, present and owned by this user.
/// After `sudo` the variable often still names the other user's.
pub fn xdg_runtime_dir() -> Option<PathBuf> {
    usable_session(std::env::var_os("XDG_RUNTIME_DIR")?.into())
}

pub(crate) fn usable_session(path: PathBuf) -> Option<PathBuf> {
    let metadata = fs::metadata(&path).ok()?;
    (path.is_absolute() && metadata.is_dir() && metadata.uid() == uid()).then_some(path)
}

/// The user whose machines these are.
pub fn uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Runtime directories in which this user may find a machine: all of its own, whether or not one is alive in them; where there
/// are none, that of the service, which lets its group in.
pub fn all(bases: &[PathBuf]) -> Vec<PathBuf> {
    let own = of_user(bases);
    if own.is_empty() {
        service().into_iter().collect()
    } else {
        own
    }
}

/// The runtime directory of the service, if it runs. Only root can put something there.
fn service() -> Option<PathBuf> {
    let session = Path::new(SERVICE_SESSION);
    let path = machine_path::for_config(Path::new(SERVICE_CONFIG), uid(), Some(session));
    fs::symlink_metadata(&path)
        .is_ok_and(|metadata| metadata.is_dir())
        .then_some(path)
}

/// Every runtime directory of this user, sorted. Directories that somebody else could have put there are left out.
pub(super) fn of_user(bases: &[PathBuf]) -> Vec<PathBuf> {
    let private = bases.iter().filter(|base| check_private(base).is_ok());
    let mut found: Vec<PathBuf> = private
        .filter_map(|base| fs::read_dir(base).ok())
        .flat_map(|entries| entries.filter_map(Result::ok))
        .map(|entry| entry.path())
        .filter(|path| check_private(path).is_ok())
        .collect();
    found.sort();
    found
}

/// Makes `path` and all above it, then makes sure that it is ours alone.
pub(super) fn make_private(path: &Path) -> Result<(), RuntimeDirError> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => {}
        // Something that is not a directory lies there; the check below says what.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => {
            return Err(RuntimeDirError::Io {
                action: "make",
                path: path.to_owned(),
                source,
            });
        }
    }
    check_private(path)
}

/// True if the directory's group may pass through it, and nobody else but its owner: whoever made it wants the machines in it
/// to be reached by that group. (Everybody may pass where a module has a user of its own, see `sandbox::user`.)
pub(crate) fn is_open_to_group(directory: &Path) -> bool {
    fs::symlink_metadata(directory).is_ok_and(|metadata| metadata.permissions().mode() & 0o011 == 0o010)
}

pub(super) fn open_to_group(path: &Path) -> Result<(), RuntimeDirError> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o710)).map_err(|source| RuntimeDirError::Io {
        action: "open",
        path: path.to_owned(),
        source,
    })
}

/// Refuses a directory in which another user could put or replace something. Does not follow a symlink at `path`.
pub(crate) fn check_private(path: &Path) -> Result<(), RuntimeDirError> {
    let metadata = fs::symlink_metadata(path).map_err(|source| RuntimeDirError::Io {
        action: "look at",
        path: path.to_owned(),
        source,
    })?;
    let problem = if metadata.is_symlink() {
        "is a symlink"
    } else if !metadata.is_dir() {
        "is not a directory"
    } else if metadata.uid() != uid() {
        "belongs to another user"
    } else if metadata.permissions().mode() & 0o066 != 0 {
        // Passing through is all that others may do, to a directory of their own: see `sandbox::user`.
        "is open to other users"
    } else {
        return Ok(());
    };
    Err(RuntimeDirError::NotPrivate {
        path: path.to_owned(),
        problem,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use mainstay_model::machine_path::{CONTROL_SOCKET, MAX_SOCKET_PATH_LEN, for_config};

    use super::*;
    use crate::runtime_dir::RuntimeDir;

    #[test]
    fn a_path_depends_on_config_user_and_session_alone() {
        let config = Path::new("/etc/rover.yaml");
        let cases = [
            (Some(Path::new("/run/user/1000")), "/run/user/1000/mainstay/"),
            (None, "/tmp/mainstay-1000/"),
        ];
        for (xdg, start) in cases {
            let path = for_config(config, 1000, xdg);
            let key = path
                .to_str()
                .unwrap()
                .strip_prefix(start)
                .expect("lies in the user's directory");
            // `printf %s /etc/rover.yaml | sha256sum`
            assert_eq!(key, "7afdb91e706f");
            assert!(path.join(CONTROL_SOCKET).as_os_str().len() <= MAX_SOCKET_PATH_LEN);
        }
        assert_ne!(
            for_config(config, 1000, None),
            for_config(Path::new("/etc/other.yaml"), 1000, None)
        );
    }

    #[test]
    fn a_directory_that_others_could_touch_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let real = temp.path().join("real");
        make_private(&real).unwrap();
        symlink(&real, temp.path().join("link")).unwrap();
        fs::write(temp.path().join("file"), "").unwrap();
        make_private(&temp.path().join("open")).unwrap();
        fs::set_permissions(temp.path().join("open"), fs::Permissions::from_mode(0o755)).unwrap();
        for (name, problem) in [
            ("link", "is a symlink"),
            ("file", "is not a directory"),
            ("open", "is open to other users"),
        ] {
            let base = temp.path().join(name);
            let error = RuntimeDir::create(&base.join("abc")).unwrap_err();
            assert!(error.to_string().contains(problem), "{name}: {error}");
            assert!(of_user(&[base]).is_empty());
        }
    }
}
