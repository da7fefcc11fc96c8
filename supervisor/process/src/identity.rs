//! Name of a running machine that no file system holds, so that no cleaner can take it away: an abstract UNIX socket for
//! each path under which its config goes.
//!
//! The lock in the runtime directory stays the first guard. This one finds a machine whose directory was removed, or lies
//! elsewhere because it was started from another session. Abstract names belong to a network namespace; containers that
//! share their host's differ in their root folder, which is a part of the name.

use std::path::{Path, PathBuf};

use crate::runtime_dir::RuntimeDirError;

/// Names of this machine, held as long as this lives.
#[derive(Debug, Default)]
pub struct IdentityClaim {
    #[cfg(target_os = "linux")]
    held: Vec<std::os::unix::net::UnixListener>,
}

/// Machine that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Process id of its core.
    pub pid: u32,
    /// Folder of its session's runtime directories.
    pub base: PathBuf,
}

/// Paths that a config goes by: as it was given, made absolute, and where that leads now. The first is the machine's identity:
/// links may be led elsewhere while it runs.
///
/// # Errors
/// The working directory is gone.
pub fn spellings(config: &Path) -> std::io::Result<Vec<PathBuf>> {
    let given = std::path::absolute(config)?;
    // The file may be away, and its folder there.
    let real = given.canonicalize().ok().or_else(|| {
        let (folder, name) = (given.parent()?, given.file_name()?);
        Some(folder.canonicalize().ok()?.join(name))
    });
    let real = real.filter(|real| *real != given);
    Ok(std::iter::once(given).chain(real).collect())
}

#[cfg(target_os = "linux")]
mod abstract_name {
    use std::ffi::OsStr;
    use std::fs;
    use std::io;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    use std::path::Path;

    use mainstay_model::machine_path;
    use mainstay_model::machine_path::machine_key;
    use nix::sys::socket::{getsockopt, sockopt};
    use tracing::warn;

    use super::{Holder, IdentityClaim, RuntimeDirError};
    use crate::runtime_dir::{uid, usable_session};

    /// Tries to take a name whose holder is gone when looked at.
    const TRIES: usize = 5;

    fn name(config: &Path) -> io::Result<SocketAddr> {
        let root = fs::metadata("/")?;
        let (uid, key) = (uid(), machine_key(config));
        SocketAddr::from_abstract_name(format!("mainstay/{uid}/{key}/{:x}-{:x}", root.dev(), root.ino()))
    }

    impl IdentityClaim {
        /// Takes the names of the config that goes by these paths.
        ///
        /// # Errors
        /// A machine of this user has one of them.
        pub fn take(configs: &[impl AsRef<Path>]) -> Result<Self, RuntimeDirError> {
            let mut held = Vec::new();
            for config in configs {
                let taken = name(config.as_ref()).and_then(|name| take_one(&name));
                match taken {
                    Ok(Ok(listener)) => held.push(listener),
                    Ok(Err(pid)) => return Err(RuntimeDirError::Running { pid }),
                    // The lock in the runtime directory is there all the same.
                    Err(error) => warn!("a second machine with this config may not be noticed: {error}"),
                }
            }
            Ok(Self { held })
        }

        /// Holder of one of these names, if it is a machine of this user.
        pub fn holder(configs: &[impl AsRef<Path>]) -> Option<Holder> {
            let holders = configs
                .iter()
                .filter_map(|config| holder(&name(config.as_ref()).ok()?).ok());
            let pid = holders.filter(|(user, _)| *user == uid()).find_map(|(_, pid)| pid)?;
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let xdg = environment
                .split(|byte| *byte == 0)
                .find_map(|variable| variable.strip_prefix(b"XDG_RUNTIME_DIR="));
            let xdg = xdg.and_then(|xdg| usable_session(OsStr::from_bytes(xdg).into()));
            Some(Holder {
                pid,
                base: machine_path::base(uid(), xdg.as_deref()),
            })
        }

        /// Sends away whoever looked for the holder.
        pub fn drain(&self) {
            for listener in &self.held {
                while listener.accept().is_ok() {}
            }
        }
    }

    /// The name, or the process that has it.
    fn take_one(name: &SocketAddr) -> io::Result<Result<UnixListener, Option<u32>>> {
        let mut tries = 0..TRIES;
        loop {
            let taken = match UnixListener::bind_addr(name) {
                Ok(listener) => {
                    listener.set_nonblocking(true)?;
                    return Ok(Ok(listener));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => error,
                Err(error) => return Err(error),
            };
            match holder(name) {
                // Any user may take any name: that must not keep a machine from starting.
                Ok((user, _)) if user != uid() => {
                    return Err(io::Error::other(format!("its name is taken by user {user}")));
                }
                Ok((_, pid)) => return Ok(Err(pid)),
                Err(_) if tries.next().is_some() => {}
                Err(_) => return Err(taken),
            }
        }
    }

    fn holder(name: &SocketAddr) -> io::Result<(u32, Option<u32>)> {
        let peer = getsockopt(&UnixStream::connect_addr(name)?, sockopt::PeerCredentials)?;
        // 0: it lives outside our namespace of processes.
        let pid = u32::try_from(peer.pid()).ok().filter(|pid| *pid != 0);
        Ok((peer.uid(), pid))
    }
}

#[cfg(not(target_os = "linux"))]
impl IdentityClaim {
    /// There are no abstract names here: the lock in the runtime directory is all.
    ///
    /// # Errors
    /// Never.
    pub fn take(_: &[impl AsRef<Path>]) -> Result<Self, RuntimeDirError> {
        Ok(Self::default())
    }

    /// Not known here.
    pub fn holder(_: &[impl AsRef<Path>]) -> Option<Holder> {
        None
    }

    /// Nothing to do.
    pub fn drain(&self) {}
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn one_machine_has_the_names_of_a_config_until_it_ends() {
        let temp = tempfile::tempdir().expect("a folder");
        let (link, real) = (temp.path().join("link.yaml"), temp.path().join("real.yaml"));
        let first = IdentityClaim::take(&[&link, &real]).expect("free");
        for config in [&link, &real] {
            match IdentityClaim::take(&[config]) {
                Err(RuntimeDirError::Running { pid }) => assert_eq!(pid, Some(std::process::id())),
                other => panic!("expected `Running`, got {other:?}"),
            }
        }
        first.drain();
        IdentityClaim::take(&[temp.path().join("other.yaml")]).expect("another config");
        drop(first);
        IdentityClaim::take(&[&real]).expect("free again");
    }

    #[test]
    fn a_config_goes_by_its_path_as_given_first_and_then_by_where_that_leads() {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = temp.path().canonicalize().expect("there");
        std::fs::create_dir(folder.join("v1")).expect("made");
        std::fs::write(folder.join("v1/a.yaml"), "").expect("written");
        symlink("v1", folder.join("data")).expect("linked");
        let of = |path: &str| spellings(&folder.join(path)).expect("absolute");
        assert_eq!(of("v1/a.yaml"), [folder.join("v1/a.yaml")]);
        assert_eq!(
            of("data/a.yaml"),
            [folder.join("data/a.yaml"), folder.join("v1/a.yaml")]
        );
        assert_eq!(
            of("data/none.yaml"),
            [folder.join("data/none.yaml"), folder.join("v1/none.yaml")]
        );
    }
}
