//! The cgroups of one machine: its directory, the controllers in it, and one cgroup for each life of a module.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use mainstay_model::Limits;
use mainstay_model::cgroup::Controllers;
use nix::unistd::{AccessFlags, Pid, access};
use tracing::debug;

use super::files::{enable, members, write};
use super::group::{Group, UnremovedGroups};
use super::place::{CgroupPath, name};
use super::record;
use super::sweep::clear;
use crate::process_table;

/// Span over which a share of processor time is counted, in microseconds: the kernel's own default.
const CPU_PERIOD_US: f64 = 100_000.0;
/// The kernel takes no quota below this, in microseconds.
const LEAST_CPU_QUOTA_US: f64 = 1_000.0;
/// Cgroups of one name that may be held by processes in state D before a start is given up.
const MAX_STUCK: u32 = 100;

/// Reason why modules get no cgroups.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The system has none of version 2, or hides them.
    #[error("cgroup version 2 is not mounted here")]
    NotMounted,
    /// The cgroups belong to another user or program.
    #[error("cannot make cgroups below `{}`: {reason} (as a service: `Delegate=yes`)", .directory.display())]
    NotOurs {
        /// Our own cgroup.
        directory: PathBuf,
        /// Error text of the system.
        reason: String,
    },
}

/// The cgroups of one machine.
#[derive(Debug)]
pub struct Tree {
    pub(super) place: CgroupPath,
    /// Runtime directory of the machine, and the cgroups that are noted in it.
    noted: (PathBuf, [PathBuf; 2]),
    controllers: Controllers,
    left: UnremovedGroups,
}

impl Tree {
    /// Makes the machine's directory, removing what an earlier core left in it, and hands down what controllers it can.
    ///
    /// # Errors
    /// There is no version 2, or our own cgroup is not ours to divide.
    pub fn open(runtime: &Path) -> Result<Self, Unavailable> {
        let name = name(runtime);
        let leaf = format!("{name}-core");
        let base = CgroupPath::own().ok_or(Unavailable::NotMounted)?.base(&leaf);
        let place = base.join(&name);
        let refused = |error: io::Error| Unavailable::NotOurs {
            directory: base.directory.clone(),
            reason: error.to_string(),
        };
        if let Err(error) = clear(&place.directory) {
            // What waits in state D stays in it; that is no reason to do without.
            access(&place.directory, AccessFlags::W_OK).map_err(|_| refused(error))?;
        }
        // Another core, in another cgroup, may be the one to clear up after us.
        let noted = [place.directory.clone(), base.join(&leaf).directory];
        for directory in &noted {
            record::note(runtime, directory).map_err(refused)?;
        }
        make(&place.directory).map_err(refused)?;
        let offered = hand_down(&base.directory, &leaf);
        for name in offered.names() {
            let _refused = enable(&place.directory, name);
        }
        let controllers = super::files::controllers(&place.directory.join("cgroup.subtree_control"));
        debug!(directory = %place.directory.display(), ?controllers, "cgroups");
        Ok(Self {
            place,
            noted: (runtime.to_owned(), noted),
            controllers,
            left: UnremovedGroups::default(),
        })
    }

    /// Notes the cgroups once more, in a runtime directory that was made anew.
    pub fn note_again(&self) {
        let (runtime, noted) = &self.noted;
        for directory in noted {
            if let Err(error) = record::note(runtime, directory) {
                debug!("cannot note `{}`: {error}", directory.display());
            }
        }
    }

    /// Path of the machine's directory as `/proc/PID/cgroup` shows it; the cgroups of its modules lie below.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// Controllers that can limit a module in this tree.
    pub fn controllers(&self) -> Controllers {
        self.controllers
    }

    /// Makes the cgroup for one life of `module`, with its limits as far as there are controllers for them.
    ///
    /// # Errors
    /// The system refuses to make it or to take a limit.
    pub fn create(&self, module: &str, life: u64, limits: &Limits) -> io::Result<Group> {
        self.remove_left();
        let place = self.make_place(&format!("{module}-{life}").replace('/', "_"))?;
        let fill = || {
            for (file, value) in values(limits, self.controllers) {
                write(&place.directory.join(file), &value).map_err(|error| {
                    io::Error::new(error.kind(), format!("`{file}` does not take `{value}`: {error}"))
                })?;
            }
            if self.controllers.memory && limits.memory.is_some() {
                // Where there is no swap there is nothing to limit.
                let _no_swap = write(&place.directory.join("memory.swap.max"), "0");
            }
            OpenOptions::new()
                .write(true)
                .custom_flags(nix::libc::O_CLOEXEC)
                .open(place.directory.join("cgroup.procs"))
        };
        match fill() {
            Ok(procs) => Ok(Group {
                place,
                procs,
                left: self.left.clone(),
            }),
            Err(error) => {
                let _left = fs::remove_dir(&place.directory);
                Err(error)
            }
        }
    }

    /// Makes the directory `name`, or one with a number behind it where something lives in that.
    fn make_place(&self, name: &str) -> io::Result<CgroupPath> {
        // The same life of an earlier core of this machine may wait in state D.
        let others = (2..MAX_STUCK).map(|number| format!("{name}.{number}"));
        for name in std::iter::once(name.to_owned()).chain(others) {
            let place = self.place.join(&name);
            match fs::create_dir(&place.directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // Somebody tidied up: the machine's own directory is empty whenever no module runs.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // Another module may be started at the same time.
                    make(&self.place.directory)?;
                    for name in self.controllers.names() {
                        enable(&self.place.directory, name)?;
                    }
                    return fs::create_dir(&place.directory).map(|()| place);
                }
                made => return made.map(|()| place),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn remove_left(&self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|directory| fs::remove_dir(directory).is_err() && directory.exists());
    }
}

/// Makes a directory unless it is there.
fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// The files that hold `limits`, and what to write into them.
pub(super) fn values(limits: &Limits, controllers: Controllers) -> Vec<(&'static str, String)> {
    let mut values = Vec::new();
    if let Some(memory) = limits.memory.filter(|_| controllers.memory) {
        values.push(("memory.max", memory.to_string()));
        // A module that lost one of its processes is seldom of use: all of it goes, and comes back whole.
        values.push(("memory.oom.group", "1".to_owned()));
    }
    if let Some(cpu) = limits.cpu.filter(|_| controllers.cpu) {
        let quota = (cpu * CPU_PERIOD_US).max(LEAST_CPU_QUOTA_US);
        values.push(("cpu.max", format!("{quota:.0} {CPU_PERIOD_US:.0}")));
    }
    if let Some(pids) = limits.pids.filter(|_| controllers.pids) {
        values.push(("pids.max", pids.to_string()));
    }
    values
}

/// Enables the controllers in `base` for its children; moves the core and its guardian to `leaf` first, if nobody else is in
/// `base`.
fn hand_down(base: &Path, leaf: &str) -> Controllers {
    // Only the root may hold processes and hand controllers down. Others must be empty before the first try: they take
    // `cpu` and `pids` in any case, and then neither `memory` nor processes in a leaf.
    let root = !base.join("cgroup.type").exists();
    let empty = || members(base).is_ok_and(|there| there.is_empty());
    if root || empty() || move_to_leaf(base, leaf).is_ok() {
        for name in super::files::controllers(&base.join("cgroup.controllers")).names() {
            let _refused = enable(base, name);
        }
    }
    super::files::controllers(&base.join("cgroup.subtree_control"))
}

/// Moves the core, the guardian above it, and the last reaper beside it from `base` to its leaf; refuses if anybody else
/// would be left behind.
fn move_to_leaf(base: &Path, leaf: &str) -> io::Result<()> {
    let exe = |pid: Pid| fs::read_link(format!("/proc/{pid}/exe")).ok();
    let (core, parent) = (Pid::this(), Pid::parent());
    let guarded = exe(parent).is_some_and(|parent| Some(parent) == exe(core));
    let beside = |pid: Pid| {
        exe(pid) == exe(core) && process_table::look(pid.as_raw()).is_some_and(|look| look.parent == parent.as_raw())
    };
    let ours = |pid: &Pid| *pid == core || (guarded && (*pid == parent || beside(*pid)));
    let there = members(base)?;
    if !there.iter().all(ours) {
        return Err(io::Error::other("its cgroup holds other processes"));
    }
    let leaf = base.join(leaf);
    make(&leaf)?;
    for pid in there {
        write(&leaf.join("cgroup.procs"), &pid.to_string())?;
    }
    Ok(())
}
