//! The cgroups that a machine made, written down in its runtime directory before each is made, so that whoever clears
//! that directory (the core, its guardian, the next start) also ends and removes them.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use super::place::CgroupPath;
use super::{files, sweep};

/// Name of the record, inside a runtime directory: one absolute path per line.
const RECORD: &str = "cgroups";

/// Writes down `cgroup` in the runtime directory `directory`. Call it *before* the cgroup is made. One that is noted and
/// was never made, or is gone already, does no harm.
///
/// # Errors
/// The path is relative, leaves itself by `..`, or holds a line end; or the file system refuses.
pub fn note(directory: &Path, cgroup: &Path) -> io::Result<()> {
    if !usable(cgroup) {
        let text = format!("`{}` is no absolute path of a cgroup", cgroup.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let mut record = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(directory.join(RECORD))?;
    // In one piece: a core that is killed here leaves a whole line or none.
    record.write_all(&[cgroup.as_os_str().as_bytes(), b"\n"].concat())
}

/// Kills what lives in and below the noted cgroups, and removes them. Returns those that are still there.
pub fn remove_noted(directory: &Path) -> Vec<PathBuf> {
    let mut left: Vec<PathBuf> = noted(directory).into_iter().rev().collect();
    left.retain(|cgroup| {
        if cgroup.join("cgroup.procs").exists() {
            sweep::clear(cgroup).is_err()
        } else {
            // No cgroup: never made, or something else by that name, which stays unless it is empty.
            fs::remove_dir(cgroup).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
        }
    });
    left
}

/// Number of processes in the cgroups that are noted in a runtime directory.
pub fn noted_processes(directory: &Path) -> usize {
    let noted = noted(directory);
    let members: BTreeSet<_> = noted.iter().flat_map(|cgroup| files::members_below(cgroup)).collect();
    members.len()
}

/// The noted cgroups, outer ones first, but for the leaf of core and guardian, seen from inside: `sweep` leaves it first.
fn noted(directory: &Path) -> BTreeSet<PathBuf> {
    let text = fs::read_to_string(directory.join(RECORD)).unwrap_or_default();
    let own = CgroupPath::own();
    let mut noted = read(&text);
    noted.retain(|cgroup| own.as_ref().is_none_or(|own| !own.directory.starts_with(cgroup)));
    noted
}

/// The usable lines, each once, outer cgroups before inner ones.
fn read(text: &str) -> BTreeSet<PathBuf> {
    text.lines().map(PathBuf::from).filter(|path| usable(path)).collect()
}

fn usable(path: &Path) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    path.is_absolute() && path.components().all(plain) && !path.as_os_str().as_bytes().contains(&b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noted_cgroups_are_removed_inner_ones_first_and_strangers_stay() {
        let temp = tempfile::tempdir().unwrap();
        let (outer, inner) = (temp.path().join("outer"), temp.path().join("outer/inner"));
        let full = temp.path().join("full");
        fs::create_dir_all(&inner).unwrap();
        fs::create_dir_all(full.join("something")).unwrap();
        for cgroup in [&outer, &inner, &full, &temp.path().join("never-made"), &outer] {
            note(temp.path(), cgroup).unwrap();
        }
        assert_eq!(remove_noted(temp.path()), std::slice::from_ref(&full));
        assert!(!outer.exists() && full.join("something").exists());
        assert!(remove_noted(Path::new("/nowhere")).is_empty());
    }

    #[test]
    fn a_path_that_could_lead_elsewhere_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        for path in ["relative", "/sys/fs/cgroup/../x", "/a\nb"] {
            let error = note(temp.path(), Path::new(path)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
        }
        assert!(read("relative\n/a/../b\n\n").is_empty());
    }

    #[test]
    fn a_cgroup_is_told_to_kill_before_it_is_removed() {
        let temp = tempfile::tempdir().unwrap();
        let cgroup = temp.path().join("life");
        fs::create_dir(&cgroup).unwrap();
        fs::write(cgroup.join("cgroup.kill"), "").unwrap();
        fs::write(cgroup.join("cgroup.procs"), "").unwrap();
        note(temp.path(), &cgroup).unwrap();
        // A plain directory with a file in it cannot be removed, unlike a cgroup.
        assert_eq!(remove_noted(temp.path()), std::slice::from_ref(&cgroup));
        assert_eq!(fs::read_to_string(cgroup.join("cgroup.kill")).unwrap(), "1");
    }
}
