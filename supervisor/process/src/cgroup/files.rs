//! Files of a cgroup: its controllers, its processes, its counters.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use mainstay_model::cgroup::Controllers;
use nix::unistd::Pid;

/// Reads a list such as that in `cgroup.controllers`.
pub(super) fn controllers(path: &Path) -> Controllers {
    Controllers::parse(&fs::read_to_string(path).unwrap_or_default())
}

pub(super) fn enable(directory: &Path, controller: &str) -> io::Result<()> {
    write(&directory.join("cgroup.subtree_control"), &format!("+{controller}"))
}

pub(super) fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

pub(super) fn members(directory: &Path) -> io::Result<Vec<Pid>> {
    let text = fs::read_to_string(directory.join("cgroup.procs"))?;
    Ok(text
        .lines()
        .filter_map(|line| line.parse().ok().map(Pid::from_raw))
        .collect())
}

pub(super) fn members_below(directory: &Path) -> Vec<Pid> {
    let mut all = members(directory).unwrap_or_default();
    for below in children(directory) {
        all.extend(members_below(&below));
    }
    all
}

/// The number behind `key` in a file of lines `key number`; 0 where there is none.
pub(super) fn count(path: &Path, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

/// Writes to a control file, in one call, without making it.
pub(super) fn write(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}
