//! Runtime directory of a machine: its sockets, and the lock that keeps a second core away from the same config.
//!
//! One directory per config file, so that the command line finds a machine by its config and several machines live
//! side by side: `$XDG_RUNTIME_DIR/mainstay/<key>/`, or `/tmp/mainstay-<uid>/<key>/` where the session offers no
//! run-time directory. `<key>` is the start of a hash of its path as given, because the whole path of a config would not fit into a
//! socket's. Everything in it belongs to one user alone: the directory is what closes the module side to others.

mod lock;
mod places;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use mainstay_model::machine_path::CONTROL_SOCKET;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use tracing::info;

use crate::cgroup;
use crate::cgroup::{Tree, record};
use crate::guardian::LockSender;
use lock::{ENDING, LOCK_FILE, is_at, open_lock, take_lock, write_lock};
pub use places::{all, uid, xdg_runtime_dir};
pub(crate) use places::{check_private, is_open_to_group, usable_session};
use places::{make_private, of_user, open_to_group};

/// Folders that are touched below a runtime directory: the sockets of each module.
const TOUCH_DEPTH: u32 = 2;

/// Failure to use a runtime directory.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeDirError {
    /// Another core already runs the same config.
    #[error(
        "this config is running already{}; stop that machine first, or look at it with `mainstay status --machine CONFIG`",
        .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    Running {
        /// Process id that the other core wrote down.
        pid: Option<u32>,
    },
    /// The core of the same config has just died, and what it left behind is being put away.
    #[error("a machine with this config has just ended, and its modules are still being ended; try again in a second")]
    Ending,
    /// Another user could put things where the sockets belong.
    #[error("`{}` {problem}: remove it, or set XDG_RUNTIME_DIR to a private directory", .path.display())]
    NotPrivate {
        /// The directory in question.
        path: PathBuf,
        /// Fault of the directory's owner or permissions.
        problem: &'static str,
    },
    /// The system refused.
    #[error("cannot {action} `{}`: {source}", .path.display())]
    Io {
        /// Action that failed.
        action: &'static str,
        /// File or directory of the action.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
}

/// A runtime directory that this process holds. Dropping it removes the directory and lets the next core in.
#[derive(Debug)]
pub struct RuntimeDir {
    path: PathBuf,
    held: Arc<Mutex<HeldDirectory>>,
    stale: bool,
    killed: usize,
}

/// The lock, and what is to be made anew if it is missed.
#[derive(Debug)]
struct HeldDirectory {
    /// The lock ends with the file, also when the process is killed. `None` once the directory is given up.
    lock: Option<File>,
    /// Permissions of the directory and of the one above it: a module's own user passes through them.
    modes: [u32; 2],
}

/// Keeper of a runtime directory that a cleaner may remove.
#[derive(Debug)]
pub struct RuntimeDirKeeper {
    path: PathBuf,
    held: Arc<Mutex<HeldDirectory>>,
    /// Guardian, which holds the lock, too.
    guardian: LockSender,
    /// Cgroups that are noted in it.
    cgroups: Option<Arc<Tree>>,
}

fn locked(held: &Mutex<HeldDirectory>) -> MutexGuard<'_, HeldDirectory> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RuntimeDir {
    /// Makes the directory (mode 0700), takes its lock and removes what a core that was killed left in it.
    ///
    /// # Errors
    /// Another core holds the lock; the directory, or the one above it, is a symlink, belongs to somebody else or is
    /// open to others; or the file system refuses.
    pub fn create(path: &Path) -> Result<Self, RuntimeDirError> {
        if let Some(base) = path.parent() {
            make_private(base)?;
        }
        loop {
            // A core that is just leaving removes the directory and the file in it between our steps; a lock on a
            // removed file excludes nobody, so begin again.
            match make_private(path) {
                Err(RuntimeDirError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
                made => made?,
            }
            let Some(lock) = take_lock(path)? else { continue };
            if path.parent().is_some_and(is_open_to_group) {
                open_to_group(path)?;
            }
            let killed = record::noted_processes(path);
            record::remove_noted(path);
            let stale = clear(path)? > 0;
            let held = HeldDirectory {
                lock: Some(lock),
                modes: [0o700; 2],
            };
            return Ok(Self {
                path: path.to_owned(),
                held: Arc::new(Mutex::new(held)),
                stale,
                killed,
            });
        }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True if something lay in it: its last core and that one's guardian were killed together.
    pub fn was_stale(&self) -> bool {
        self.stale
    }

    /// Number of processes in the cgroups of that core, which were killed with them.
    pub fn killed(&self) -> usize {
        self.killed
    }

    /// Copy of the lock's descriptor. Its holder holds the lock as well.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn lock(&self) -> io::Result<OwnedFd> {
        let held = locked(&self.held);
        let lock = held.lock.as_ref().ok_or(io::ErrorKind::NotFound)?;
        lock.as_fd().try_clone_to_owned()
    }

    /// Keeper of the directory, until this is dropped. `guardian` gets each new lock.
    pub fn keeper(&self, guardian: LockSender, cgroups: Option<Arc<Tree>>) -> RuntimeDirKeeper {
        RuntimeDirKeeper {
            path: self.path.clone(),
            held: self.held.clone(),
            guardian,
            cgroups,
        }
    }

    /// Path of the control socket, which the command line connects to.
    pub fn control_socket(&self) -> PathBuf {
        self.path.join(CONTROL_SOCKET)
    }
}

impl RuntimeDirKeeper {
    /// Makes the directory and its lock anew if they are missing.
    ///
    /// # Errors
    /// Another core has taken the place, or the file system refuses.
    pub fn renew_if_missing(&self) -> Result<(), RuntimeDirError> {
        let mut held = locked(&self.held);
        // Given up: the machine has ended.
        let Some(lock) = &held.lock else { return Ok(()) };
        let both = [Some(self.path.as_path()), self.path.parent()];
        if is_at(lock, &self.path.join(LOCK_FILE)) {
            held.modes = both.map(|path| path.and_then(mode).unwrap_or(0o700));
            return Ok(());
        }
        if let Some(base) = self.path.parent() {
            make_private(base)?;
        }
        make_private(&self.path)?;
        for (path, mode) in both.into_iter().zip(held.modes) {
            // What it was is known to be private enough.
            let _as_it_is = path.map(|path| fs::set_permissions(path, fs::Permissions::from_mode(mode)));
        }
        // Gone again already: the next look comes soon.
        let Some(lock) = take_lock(&self.path)? else {
            return Ok(());
        };
        // A guardian that is gone is noticed elsewhere.
        let _gone = self.guardian.send(&lock);
        held.lock = Some(lock);
        if let Some(cgroups) = &self.cgroups {
            cgroups.note_again();
        }
        info!(directory = %self.path.display(), "the runtime directory was removed under the machine; made it anew");
        Ok(())
    }

    /// Marks everything in it as in use for cleaners that go by age, if it was not for `age`.
    pub fn touch(&self, age: Duration) {
        if locked(&self.held).lock.is_some() {
            touch(&self.path, age, TOUCH_DEPTH);
            let _gone = self.path.parent().map(|base| touch(base, age, 0));
        }
    }
}

fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|metadata| metadata.mode() & 0o7777)
}

fn touch(path: &Path, age: Duration, depth: u32) {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return;
    };
    let old = |time: io::Result<SystemTime>| {
        time.ok()
            .and_then(|time| time.elapsed().ok())
            .is_some_and(|is| is >= age)
    };
    if old(metadata.modified()) || old(metadata.accessed()) {
        let now = TimeSpec::UTIME_NOW;
        let _not_ours = utimensat(AT_FDCWD, path, &now, &now, UtimensatFlags::NoFollowSymlink);
    }
    if depth > 0 && metadata.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            touch(&entry.path(), age, depth - 1);
        }
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        // Nobody makes it anew behind us; the lock is held to the end.
        let _lock = locked(&self.held).lock.take();
        // A machine that failed to start may have made them already.
        let _left = record::remove_noted(&self.path);
        remove(&self.path);
    }
}

/// A runtime directory whose core is dead, locked while what is in it is put away.
#[derive(Debug)]
pub struct Leftover {
    path: PathBuf,
    // Held to the end.
    _lock: File,
}

impl Leftover {
    /// Takes charge of what a dead core left at `path`, with the `lock` that it handed over, if it did. `None` if nothing is
    /// there, or another core has taken it over.
    pub fn take(path: PathBuf, lock: Option<OwnedFd>) -> Option<Self> {
        check_private(&path).ok()?;
        let mut lock = match lock {
            Some(lock) => File::from(lock),
            None => {
                let lock = open_lock(&path, false).ok()?;
                lock.try_lock().ok()?;
                lock
            }
        };
        if !is_at(&lock, &path.join(LOCK_FILE)) {
            return None;
        }
        // A core that starts now waits a moment instead of giving up.
        let _full = write_lock(&mut lock, ENDING);
        Some(Self { path, _lock: lock })
    }

    /// Removes it, and the cgroups that are noted in it; returns those that could not be removed.
    pub fn remove(self) -> Vec<PathBuf> {
        let left = record::remove_noted(&self.path);
        let _elsewhere = cgroup::sweep(&self.path);
        remove(&self.path);
        left
    }
}

/// Removes what dead cores left in `base`, the directory `own` apart, and returns what it removed. Whatever is locked
/// belongs to somebody alive.
pub fn sweep(base: &Path, own: &Path) -> Vec<PathBuf> {
    let mut others = of_user(&[base.to_owned()]);
    others.retain(|path| {
        let leftover = (path != own).then(|| Leftover::take(path.clone(), None)).flatten();
        leftover.map(Leftover::remove).is_some()
    });
    others
}

/// Best effort: what stays behind is removed by the next start. The lock file goes last, still locked.
fn remove(path: &Path) {
    let _ = clear(path);
    let _ = fs::remove_file(path.join(LOCK_FILE));
    let _ = fs::remove_dir(path);
}

/// Removes everything in `dir` but the lock file, and counts it. Symlinks are removed, not followed.
fn clear(dir: &Path) -> Result<usize, RuntimeDirError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RuntimeDirError::Io {
            action: "clear",
            path,
            source,
        }
    };
    let mut count = 0;
    for entry in fs::read_dir(dir).map_err(failed(dir))? {
        let entry = entry.map_err(failed(dir))?;
        if entry.file_name() == OsStr::new(LOCK_FILE) {
            continue;
        }
        count += 1;
        let path = entry.path();
        let is_dir = entry.file_type().map_err(failed(&path))?.is_dir();
        let removed = if is_dir {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(failed(&path))?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_directory_is_private_and_goes_with_its_owner() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("mainstay/abc");
        let dir = RuntimeDir::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(dir.control_socket(), "").unwrap();
        drop(dir);
        assert!(!path.exists());
    }

    #[test]
    fn a_base_that_a_group_may_pass_hands_that_down_as_far_as_the_control_socket() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().join("mainstay");
        for (of_base, of_machine, of_control) in [(0o710, 0o710, 0o770), (0o700, 0o700, 0o700), (0o711, 0o700, 0o700)] {
            let _there = fs::create_dir(&base);
            fs::set_permissions(&base, fs::Permissions::from_mode(of_base)).unwrap();
            let dir = RuntimeDir::create(&base.join("abc")).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let _listener = runtime
                .block_on(async { crate::path_listener::PathListener::bind(dir.control_socket()) })
                .unwrap();
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(
                (mode(dir.path()), mode(&dir.control_socket())),
                (of_machine, of_control),
                "{of_base:o}"
            );
            let module = crate::sockets::Sockets::new(dir.path(), "wheels").unwrap();
            module.make_directory().unwrap();
            assert_eq!(mode(module.directory()), 0o700, "{of_base:o}");
        }
    }

    #[test]
    fn two_cores_of_one_config_exclude_each_other() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("mainstay/abc");
        let first = RuntimeDir::create(&path).unwrap();
        match RuntimeDir::create(&path) {
            Err(RuntimeDirError::Running { pid }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("expected `Running`, got {other:?}"),
        }
        drop(first);
        RuntimeDir::create(&path).expect("free again");
    }

    #[test]
    fn what_a_killed_core_left_behind_is_removed() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("mainstay/abc");
        let outside = temp.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("keep"), "").unwrap();
        make_private(path.parent().unwrap()).unwrap();
        make_private(&path.join("inner")).unwrap();
        fs::write(path.join("inner/m.sock"), "").unwrap();
        fs::write(path.join(LOCK_FILE), "99").unwrap();
        symlink(&outside, path.join("link")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let dir = RuntimeDir::create(&path).unwrap();
        assert!(dir.was_stale());
        let left: Vec<_> = fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, [LOCK_FILE]);
        assert!(outside.join("keep").exists(), "symlinks are not followed");
    }

    #[test]
    fn what_a_dead_core_left_is_held_by_who_puts_it_away() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("mainstay/abc");
        let core = RuntimeDir::create(&path).unwrap();
        assert!(!core.was_stale());
        fs::write(core.control_socket(), "").unwrap();
        assert!(Leftover::take(path.clone(), None).is_none(), "the core lives");
        let lock = core.lock().unwrap();
        // As if killed: nothing of it runs, not even its drop.
        std::mem::forget(core);
        let leftover = Leftover::take(path.clone(), Some(lock)).expect("nobody else has it");
        assert!(matches!(RuntimeDir::create(&path), Err(RuntimeDirError::Ending)));
        assert!(leftover.remove().is_empty());
        assert!(!path.exists());
        let next = RuntimeDir::create(&path).expect("free again");
        drop(next);
        assert!(Leftover::take(path, None).is_none(), "nothing is there");
    }

    #[test]
    fn a_late_guardian_leaves_the_next_core_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("mainstay/abc");
        let first = RuntimeDir::create(&path).unwrap();
        let lock = first.lock().unwrap();
        drop(first);
        let second = RuntimeDir::create(&path).expect("free");
        assert!(Leftover::take(path, Some(lock)).is_none(), "its own lock file is gone");
        assert!(second.path().join(LOCK_FILE).exists());
    }

    #[test]
    fn what_is_removed_under_a_running_core_is_made_anew_and_held() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("mainstay/abc");
        let core = RuntimeDir::create(&path).unwrap();
        let keeper = core.keeper(LockSender::default(), None);
        keeper.renew_if_missing().unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711)).unwrap();
        keeper.renew_if_missing().unwrap();
        for missing in [path.join(LOCK_FILE), path.clone(), path.parent().unwrap().to_owned()] {
            if missing.is_dir() {
                fs::remove_dir_all(&missing).unwrap();
            } else {
                fs::remove_file(&missing).unwrap();
            }
            keeper.renew_if_missing().unwrap();
            assert!(matches!(
                RuntimeDir::create(&path),
                Err(RuntimeDirError::Running { .. })
            ));
            assert_eq!(mode(&path), Some(0o711));
        }
        // Whoever was faster has it; what it holds is left alone.
        fs::remove_dir_all(&path).unwrap();
        let other = RuntimeDir::create(&path).unwrap();
        assert!(matches!(
            keeper.renew_if_missing(),
            Err(RuntimeDirError::Running { .. })
        ));
        drop(other);
        drop(core);
        keeper.renew_if_missing().unwrap();
        assert!(!path.exists(), "it is over");
    }

    #[test]
    fn old_files_in_use_are_touched() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("mainstay/abc");
        let core = RuntimeDir::create(&path).unwrap();
        fs::create_dir(path.join("gear")).unwrap();
        fs::write(path.join("gear/1.sock"), "").unwrap();
        let old = SystemTime::now() - Duration::from_secs(40 * 86_400);
        let all = [
            path.parent().unwrap().to_owned(),
            path.clone(),
            path.join(LOCK_FILE),
            path.join("gear/1.sock"),
        ];
        for one in &all {
            File::open(one).unwrap().set_modified(old).unwrap();
        }
        core.keeper(LockSender::default(), None)
            .touch(Duration::from_secs(3600));
        for one in &all {
            let age = fs::metadata(one).unwrap().modified().unwrap().elapsed().unwrap();
            assert!(age < Duration::from_secs(600), "{}", one.display());
        }
    }

    #[test]
    fn only_what_nobody_holds_is_swept() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().join("mainstay");
        let own = RuntimeDir::create(&base.join("own")).unwrap();
        let other = RuntimeDir::create(&base.join("other")).unwrap();
        let dead = base.join("dead");
        make_private(&dead).unwrap();
        fs::write(dead.join(LOCK_FILE), "99").unwrap();
        fs::write(dead.join(CONTROL_SOCKET), "").unwrap();
        let strange = base.join("strange");
        make_private(&strange).unwrap();
        fs::write(strange.join("precious"), "").unwrap();
        assert_eq!(sweep(&base, own.path()), std::slice::from_ref(&dead));
        assert!(own.path().exists() && other.path().exists() && strange.join("precious").exists());
        assert!(!dead.exists());
    }
}
