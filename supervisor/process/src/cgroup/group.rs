//! The cgroup of one life of a module.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mainstay_model::cgroup::Events;
use nix::unistd::Pid;

use super::files::{count, members, write};
use super::place::CgroupPath;
use super::sweep::kill_all;

/// Cgroups of lives that ended, and that could not be removed at once.
pub(super) type UnremovedGroups = Arc<Mutex<Vec<PathBuf>>>;

/// The cgroup of one life of a module.
#[derive(Debug)]
pub struct Group {
    pub(super) place: CgroupPath,
    pub(super) procs: File,
    pub(super) left: UnremovedGroups,
}

impl Group {
    /// Open `cgroup.procs` of this cgroup: a process that writes `0` there enters it. Opened before the fork.
    pub fn procs_fd(&self) -> BorrowedFd<'_> {
        self.procs.as_fd()
    }

    /// Path of this cgroup as `/proc/PID/cgroup` shows it.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// Directory of this cgroup.
    pub fn directory(&self) -> &Path {
        &self.place.directory
    }

    /// True if a process lives in this cgroup. One that ended and was not reaped does not count.
    pub fn lives(&self) -> bool {
        count(&self.place.directory.join("cgroup.events"), "populated") > 0
    }

    /// Process ids of all that live in this cgroup.
    ///
    /// # Errors
    /// It was removed.
    pub fn members(&self) -> io::Result<Vec<Pid>> {
        members(&self.place.directory)
    }

    /// Takes in a process that runs already, with all that it forked meanwhile and that can still be told to be its own.
    ///
    /// Entering from outside takes the kernel some 10 ms (it waits for all processors), which the process itself does not
    /// wait for; so what needs no limit of its cgroup starts at once and is taken in here. `family` finds all of them,
    /// wherever they are. Blocks for so long.
    ///
    /// # Errors
    /// The process is gone, or the kernel refuses.
    pub fn adopt(&self, leader: Pid, family: impl Fn() -> Vec<Pid>) -> io::Result<()> {
        let procs = self.place.directory.join("cgroup.procs");
        write(&procs, &leader.to_string())?;
        // Whoever forks from now on forks into it, so each round finds fewer.
        for _ in 0..8 {
            let inside = self.members()?;
            let outside: Vec<Pid> = family().into_iter().filter(|pid| !inside.contains(pid)).collect();
            let mut taken = 0;
            for pid in outside {
                taken += usize::from(write(&procs, &pid.to_string()).is_ok());
            }
            if taken == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Kills everything in it.
    pub fn kill(&self) {
        kill_all(&self.place.directory);
    }

    /// Removes it. What the kernel still holds is removed when the next one is made, or with the whole tree.
    pub fn remove(&self) {
        let directory = &self.place.directory;
        if fs::remove_dir(directory).is_err() && directory.exists() {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.push(directory.clone());
        }
    }

    /// Event counters of this cgroup so far.
    pub fn events(&self) -> Events {
        let directory = &self.place.directory;
        Events {
            oom_kills: count(&directory.join("memory.events"), "oom_kill"),
            refused_forks: count(&directory.join("pids.events"), "max"),
        }
    }
}
