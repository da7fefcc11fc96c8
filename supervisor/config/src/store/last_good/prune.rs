//! Removal of what configs left that are gone: trials and robots of other days.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{GOOD, LastGood, RealDisk, numbered};

/// Time without use after which the state of a config that is gone goes, too.
pub const UNUSED: Duration = Duration::from_secs(90 * 86_400);
/// Age at which the state of a running config is marked as in use again.
const MARK_AGE: Duration = Duration::from_secs(86_400);
/// File with the absolute path of a config that was given by a relative one.
const PATH: &str = "config-path";

impl LastGood {
    /// Marks what is kept as in use, and notes where its config is, if that cannot be told from its path as it was given.
    pub fn mark_used(&self, config: &Path) {
        let Some(folder) = &self.folder else { return };
        let old = |path: &Path| age(path).is_none_or(|age| age >= MARK_AGE);
        let names = self.names(folder).unwrap_or_default();
        if let Some((_, newest)) = numbered(&names, GOOD).pop().filter(|(_, name)| old(&folder.join(name))) {
            let touched = File::open(folder.join(newest)).and_then(|file| file.set_modified(SystemTime::now()));
            // The config is not seen as used, which matters when it is gone for months.
            let _read_only = touched;
        }
        let path = folder.join(PATH);
        if config.is_relative()
            && folder.is_dir()
            && old(&path)
            && let Ok(absolute) = std::path::absolute(config)
        {
            let _read_only = fs::write(path, absolute.as_os_str().as_bytes());
        }
    }

    /// Removes all that is kept of this config.
    pub fn forget(&self) {
        let Some(folder) = &self.folder else { return };
        // A leftover of some hundred bytes is nothing to complain about.
        let _best_effort = fs::remove_dir_all(folder);
        // The folder of all configs, if there are no others.
        let _others = folder.parent().map(fs::remove_dir);
    }

    /// Removes what other configs left that are gone and were not used for `unused`. Returns their paths.
    pub fn prune_others(&self, unused: Duration) -> Vec<PathBuf> {
        let Some((all, own)) = self.folder.as_deref().and_then(|own| Some((own.parent()?, own))) else {
            return Vec::new();
        };
        let folders = fs::read_dir(all)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let mut pruned: Vec<PathBuf> = folders
            .filter(|folder| folder != own && fs::symlink_metadata(folder).is_ok_and(|there| there.is_dir()))
            .filter(|folder| newest(folder).is_some_and(|age| age >= unused))
            .filter_map(|folder| {
                let config = config_of(&folder).filter(|config| is_gone(config))?;
                fs::remove_dir_all(&folder).ok().map(|()| config)
            })
            .collect();
        pruned.sort();
        pruned
    }
}

fn age(path: &Path) -> Option<Duration> {
    fs::symlink_metadata(path).ok()?.modified().ok()?.elapsed().ok()
}

/// Age of the newest file in a folder.
fn newest(folder: &Path) -> Option<Duration> {
    let files = fs::read_dir(folder).ok()?.flatten();
    // The age of one from the future is not known, and then nothing is removed.
    let ages: Option<Vec<Duration>> = files.map(|file| age(&file.path())).collect();
    ages?.into_iter().min()
}

/// Absolute path of the config whose state lies in `folder`, if it is known.
fn config_of(folder: &Path) -> Option<PathBuf> {
    if let Ok(path) = fs::read(folder.join(PATH)) {
        return Some(PathBuf::from(std::ffi::OsString::from_vec(path)));
    }
    let store = LastGood {
        folder: Some(folder.to_owned()),
        disk: RealDisk,
    };
    let kept = store.read().ok().flatten()?;
    Some(kept.bundle.path).filter(|path| path.is_absolute())
}

fn is_gone(config: &Path) -> bool {
    fs::metadata(config)
        .is_err_and(|error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConfigFiles;

    #[test]
    fn only_what_is_gone_and_was_not_used_for_long_is_removed() {
        let temp = tempfile::tempdir().expect("a folder");
        let state = temp.path().join("state");
        let there = temp.path().join("there.yaml");
        fs::write(&there, "").expect("written");
        let store = |config: &Path| LastGood::within(Some(&state), config);
        let keep = |config: &Path, old: bool| {
            let store = store(config);
            store.keep(&ConfigFiles::single(config, "a")).expect("kept");
            store.mark_used(config);
            let folder = store.folder().expect("a place").to_owned();
            for file in fs::read_dir(&folder).expect("there").flatten().filter(|_| old) {
                let at = SystemTime::now() - UNUSED - MARK_AGE;
                File::open(file.path()).expect("there").set_modified(at).expect("ours");
            }
            folder
        };
        let gone = temp.path().join("gone.yaml");
        let own = keep(&temp.path().join("own.yaml"), true);
        let kept = [keep(&there, true), keep(&temp.path().join("young.yaml"), false), own];
        let removed = [keep(&gone, true), keep(Path::new("relative-and-gone.yaml"), true)];
        // Its path as given is relative, and it is there.
        let manifest = keep(Path::new("Cargo.toml"), true);
        let pruned = store(&temp.path().join("own.yaml")).prune_others(UNUSED);
        assert_eq!(pruned.len(), 2, "{pruned:?}");
        assert!(pruned.contains(&gone));
        assert!(kept.iter().all(|folder| folder.exists()) && manifest.exists());
        assert!(removed.iter().all(|folder| !folder.exists()));
        assert!(
            store(&temp.path().join("other.yaml")).prune_others(UNUSED).len() == 1,
            "its own is another's"
        );
    }

    #[test]
    fn what_runs_is_marked_as_used() {
        let temp = tempfile::tempdir().expect("a folder");
        let config = temp.path().join("a.yaml");
        let store = LastGood::within(Some(temp.path()), &config);
        store.mark_used(&config);
        assert!(
            store.folder().is_some_and(|folder| !folder.exists()),
            "looking leaves nothing"
        );
        store.keep(&ConfigFiles::single(&config, "a")).expect("kept");
        let file = store.folder().expect("a place").join("good-0000000001");
        let old = SystemTime::now() - 2 * MARK_AGE;
        File::open(&file).expect("there").set_modified(old).expect("ours");
        store.mark_used(&config);
        assert!(age(&file).is_some_and(|age| age < MARK_AGE));
    }
}
