//! Paths of a running machine: the key of its config, its runtime directory, its control socket. Reads no file system.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Longest path of a UNIX socket, in bytes. Linux allows 107 and macOS 103; the smaller keeps configs portable.
pub const MAX_SOCKET_PATH_LEN: usize = 103;

/// Name of the socket for the command line, inside a runtime directory.
pub const CONTROL_SOCKET: &str = "control.sock";

/// Key of a machine in the names of its runtime directory and cgroups: the first 12 hex digits of the SHA-256 of its
/// config's path, absolute and as it was given. Links are not resolved, because they may lead elsewhere while it runs.
pub fn machine_key(config: &Path) -> String {
    let digest = Sha256::digest(config.as_os_str().as_bytes());
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The runtime directory of the machine that runs `config`, an absolute path. Reads nothing but its arguments.
pub fn for_config(config: &Path, uid: u32, xdg: Option<&Path>) -> PathBuf {
    base(uid, xdg).join(machine_key(config))
}

/// The directory in which all runtime directories of one user lie.
pub fn base(uid: u32, xdg: Option<&Path>) -> PathBuf {
    match xdg {
        Some(xdg) => xdg.join("mainstay"),
        None => PathBuf::from(format!("/tmp/mainstay-{uid}")),
    }
}
