//! Position of a process among the cgroups: mountinfo shows where version 2 is mounted, `/proc/self/cgroup` the path in it.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use mainstay_model::machine_path;

/// Cgroup of a process: its path as the kernel shows it, and its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupPath {
    /// The path in `/proc/PID/cgroup`.
    pub path: PathBuf,
    /// The directory that shows it.
    pub directory: PathBuf,
}

impl CgroupPath {
    /// Our own place; `None` where cgroups of version 2 are not mounted or do not show us.
    pub(super) fn own() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        Self::parse(&mounts, &own)
    }

    /// Reads `/proc/PID/mountinfo` and `/proc/PID/cgroup`, see proc(5) and cgroups(7).
    pub(super) fn parse(mountinfo: &str, cgroup: &str) -> Option<Self> {
        let path = unified(cgroup)?;
        mountinfo.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            if after.split(' ').next() != Some("cgroup2") {
                return None;
            }
            let mut fields = before.split(' ').skip(3);
            let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
            let below = path.strip_prefix(&root).ok()?;
            // Joining nothing would end the path with a slash.
            let directory = if below.as_os_str().is_empty() {
                point
            } else {
                point.join(below)
            };
            Some(Self {
                path: path.clone(),
                directory,
            })
        })
    }

    pub(super) fn join(&self, name: &str) -> Self {
        Self {
            path: self.path.join(name),
            directory: self.directory.join(name),
        }
    }

    /// Parent cgroup of the machine's, seen from a core or guardian that may have moved to its leaf.
    pub(super) fn base(self, leaf: &str) -> Self {
        if self.path.file_name() != Some(leaf.as_ref()) {
            return self;
        }
        let up = |path: PathBuf| path.parent().map(Path::to_owned).unwrap_or(path);
        Self {
            path: up(self.path),
            directory: up(self.directory),
        }
    }
}

/// The path of a process in the hierarchy of version 2, from its `/proc/PID/cgroup`.
pub fn unified(cgroup: &str) -> Option<PathBuf> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    // Outside what this container may see, or removed under our feet.
    (!path.starts_with("/..") && !path.ends_with(" (deleted)")).then(|| path.into())
}

/// Undoes the octal escapes of mountinfo: `\040` is a space.
fn unescape(text: &str) -> PathBuf {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = text.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        match octal.and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 4;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    std::ffi::OsStr::from_bytes(&plain).into()
}

/// The name of the directory for the machine whose sockets lie in `runtime`.
pub(super) fn name(runtime: &Path) -> String {
    format!("mainstay-{}", machine_path::machine_key(runtime))
}
