//! Cgroups (version 2): one for each life of a module, so that all it forked can be limited, counted and killed, even
//! what left its session and group.
//!
//! All cgroups of one machine lie below one directory, `<own cgroup>/mainstay-<key>/<module>-<life>`; the key is that of
//! the runtime directory, so whoever ends or follows a core that was killed finds what it left ([`sweep`]). Controllers
//! may only be handed down by a cgroup without processes of its own: where our own cgroup holds nothing but the core and
//! its guardian, both move to the leaf `mainstay-<key>-core` first. Where no controller is to be had, cgroups still tell
//! who belongs to a module and kill it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tracing::debug;

use super::members::Members;
use crate::guardian::record;
use crate::policy::Limits;
use crate::runtime_dir;

/// Span over which a share of processor time is counted, in microseconds: the kernel's own default.
const CPU_PERIOD_US: f64 = 100_000.0;
/// The kernel takes no quota below this, in microseconds.
const LEAST_CPU_QUOTA_US: f64 = 1_000.0;
/// How long killed processes may take to go before they are left to the kernel.
const SWEEP_PATIENCE: Duration = Duration::from_millis(500);
/// Pause between two looks at processes that are going.
const SWEEP_LOOK: Duration = Duration::from_millis(2);

/// What the kernel limits for us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Controllers {
    /// Memory of a cgroup.
    pub memory: bool,
    /// Its share of processor time.
    pub cpu: bool,
    /// The number of its processes and threads.
    pub pids: bool,
}

impl Controllers {
    /// Reads a list such as that in `cgroup.controllers`.
    fn read(path: &Path) -> Self {
        Self::parse(&fs::read_to_string(path).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let has = |name| text.split_ascii_whitespace().any(|word| word == name);
        Self {
            memory: has("memory"),
            cpu: has("cpu"),
            pids: has("pids"),
        }
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        [("memory", self.memory), ("cpu", self.cpu), ("pids", self.pids)]
            .into_iter()
            .filter_map(|(name, there)| there.then_some(name))
    }
}

/// Where a process is among the cgroups: as the kernel names the place, and as a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The path in `/proc/PID/cgroup`.
    pub path: PathBuf,
    /// The directory that shows it.
    pub directory: PathBuf,
}

impl Place {
    /// Our own place; `None` where cgroups of version 2 are not mounted or do not show us.
    fn own() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        Self::parse(&mounts, &own)
    }

    /// Reads `/proc/PID/mountinfo` and `/proc/PID/cgroup`, see proc(5) and cgroups(7).
    fn parse(mountinfo: &str, cgroup: &str) -> Option<Self> {
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

    fn join(&self, name: &str) -> Self {
        Self {
            path: self.path.join(name),
            directory: self.directory.join(name),
        }
    }

    /// Where the machine's directory lies, seen from a core or guardian that may have moved to its leaf.
    fn base(self, leaf: &str) -> Self {
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
fn name(runtime: &Path) -> String {
    format!("mainstay-{}", runtime_dir::key(runtime))
}

/// Why there are no cgroups for modules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The system has none of version 2, or hides them.
    #[error("cgroup version 2 is not mounted here")]
    NotMounted,
    /// They belong to somebody else.
    #[error("cannot make cgroups below `{}`: {reason} (as a service: `Delegate=yes`)", .directory.display())]
    NotOurs {
        /// Our own cgroup.
        directory: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// The cgroups of one machine.
#[derive(Debug)]
pub struct Tree {
    place: Place,
    controllers: Controllers,
    left: Left,
}

/// Cgroups of lives that ended, and that could not be removed at once.
type Left = Arc<Mutex<Vec<PathBuf>>>;

impl Tree {
    /// Makes the machine's directory, removing what an earlier core left in it, and hands down what controllers it can.
    ///
    /// # Errors
    /// There is no version 2, or our own cgroup is not ours to divide.
    pub fn open(runtime: &Path) -> Result<Self, Unavailable> {
        let name = name(runtime);
        let leaf = format!("{name}-core");
        let base = Place::own().ok_or(Unavailable::NotMounted)?.base(&leaf);
        let place = base.join(&name);
        let refused = |error: io::Error| Unavailable::NotOurs {
            directory: base.directory.clone(),
            reason: error.to_string(),
        };
        clear(&place.directory).map_err(refused)?;
        // Another core, in another cgroup, may be the one to clear up after us.
        record::note_cgroup(runtime, &place.directory).map_err(refused)?;
        fs::create_dir(&place.directory).map_err(refused)?;
        let offered = hand_down(&base.directory, &leaf);
        for name in offered.names() {
            let _refused = enable(&place.directory, name);
        }
        let controllers = Controllers::read(&place.directory.join("cgroup.subtree_control"));
        debug!(directory = %place.directory.display(), ?controllers, "cgroups");
        Ok(Self {
            place,
            controllers,
            left: Left::default(),
        })
    }

    /// What is limited here.
    pub fn controllers(&self) -> Controllers {
        self.controllers
    }

    /// Makes the cgroup for one life of `module`, with its limits as far as there are controllers for them.
    ///
    /// # Errors
    /// The system refuses to make it or to take a limit.
    pub fn create(&self, module: &str, life: u64, limits: &Limits) -> io::Result<Group> {
        self.remove_left();
        let place = self.place.join(&format!("{module}-{life}").replace('/', "_"));
        match fs::create_dir(&place.directory) {
            // Somebody tidied up: the machine's own directory is empty whenever no module runs.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(&self.place.directory)?;
                for name in self.controllers.names() {
                    enable(&self.place.directory, name)?;
                }
                fs::create_dir(&place.directory)?;
            }
            made => made?,
        }
        let make = || {
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
        match make() {
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

    fn remove_left(&self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|directory| fs::remove_dir(directory).is_err() && directory.exists());
    }
}

/// The files that hold `limits`, and what to write into them.
fn values(limits: &Limits, controllers: Controllers) -> Vec<(&'static str, String)> {
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

/// Has `base` hand down what it can; moves the core and its guardian out of the way where nobody else is in it.
fn hand_down(base: &Path, leaf: &str) -> Controllers {
    let offered = Controllers::read(&base.join("cgroup.controllers"));
    let mut busy = false;
    for name in offered.names() {
        busy |= enable(base, name).is_err();
    }
    if busy && move_to_leaf(base, leaf).is_ok() {
        for name in offered.names() {
            let _refused = enable(base, name);
        }
    }
    Controllers::read(&base.join("cgroup.subtree_control"))
}

fn enable(directory: &Path, controller: &str) -> io::Result<()> {
    write(&directory.join("cgroup.subtree_control"), &format!("+{controller}"))
}

/// Moves the core, and the guardian above it, from `base` to its leaf; refuses if anybody else would be left behind.
fn move_to_leaf(base: &Path, leaf: &str) -> io::Result<()> {
    let exe = |pid: Pid| fs::read_link(format!("/proc/{pid}/exe")).ok();
    let (core, parent) = (Pid::this(), Pid::parent());
    let guarded = exe(parent).is_some_and(|parent| Some(parent) == exe(core));
    let ours = |pid: &Pid| *pid == core || (guarded && *pid == parent);
    let there = members(base)?;
    if !there.iter().all(ours) {
        return Err(io::Error::other("its cgroup holds other processes"));
    }
    let leaf = base.join(leaf);
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for pid in there {
        write(&leaf.join("cgroup.procs"), &pid.to_string())?;
    }
    Ok(())
}

/// The cgroup of one life of a module.
#[derive(Debug)]
pub struct Group {
    place: Place,
    procs: File,
    left: Left,
}

/// What a cgroup counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Events {
    /// Processes that the kernel killed because the memory limit was reached.
    pub oom_kills: u64,
    /// Forks that were refused because of the limit of processes.
    pub refused_forks: u64,
}

impl Group {
    /// Where to write `0` to enter it; made before the fork.
    pub fn door(&self) -> BorrowedFd<'_> {
        self.procs.as_fd()
    }

    /// As the kernel names it in `/proc/PID/cgroup`.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.place.directory
    }

    /// Whether anything lives in it. A process that ended and was not reaped does not count.
    pub fn lives(&self) -> bool {
        count(&self.place.directory.join("cgroup.events"), "populated") > 0
    }

    /// Everything that lives in it.
    ///
    /// # Errors
    /// It was removed.
    pub fn members(&self) -> io::Result<Vec<Pid>> {
        members(&self.place.directory)
    }

    /// Takes in a process that runs already, with all that it forked meanwhile and that can still be told to be its own.
    ///
    /// Entering from outside takes the kernel some 10 ms (it waits for all processors), which the process itself does not
    /// wait for; so what needs no limit of its cgroup starts at once and is taken in here. Blocks for so long.
    ///
    /// # Errors
    /// The process is gone, or the kernel refuses.
    pub fn take_in(&self, leader: Pid) -> io::Result<()> {
        let procs = self.place.directory.join("cgroup.procs");
        write(&procs, &leader.to_string())?;
        let family = Members {
            group: None,
            leader: Some(leader),
        };
        // Whoever forks from now on forks into it, so each round finds fewer.
        for _ in 0..8 {
            let inside = self.members()?;
            let outside: Vec<Pid> = family.all().into_iter().filter(|pid| !inside.contains(pid)).collect();
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

    /// What it counted so far.
    pub fn events(&self) -> Events {
        let directory = &self.place.directory;
        Events {
            oom_kills: count(&directory.join("memory.events"), "oom_kill"),
            refused_forks: count(&directory.join("pids.events"), "max"),
        }
    }
}

/// Ends and removes all cgroups of the machine whose sockets lie in `runtime`, whoever made them. For the guardian when
/// its core has ended: it must lie in none of them itself, which holds for both of our processes.
///
/// # Errors
/// Something in them does not die (the kernel holds it), or they are not ours.
pub fn sweep(runtime: &Path) -> io::Result<()> {
    let name = name(runtime);
    let leaf = format!("{name}-core");
    let Some(own) = Place::own() else { return Ok(()) };
    let moved = own.path.ends_with(&leaf);
    let base = own.base(&leaf);
    clear(&base.join(&name).directory)?;
    if moved {
        // Only a cgroup that hands nothing down may hold processes again.
        let control = base.directory.join("cgroup.subtree_control");
        for name in Controllers::read(&control).names() {
            write(&control, &format!("-{name}"))?;
        }
        let leaf = base.join(&leaf).directory;
        for pid in members(&leaf)? {
            write(&base.directory.join("cgroup.procs"), &pid.to_string())?;
        }
        fs::remove_dir(leaf)?;
    }
    Ok(())
}

/// Kills everything in and below the cgroup `directory` and removes it; one that is not there is fine.
///
/// # Errors
/// Something in it does not die within half a second.
pub fn clear(directory: &Path) -> io::Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    kill_all(directory);
    let end = Instant::now() + SWEEP_PATIENCE;
    loop {
        match remove_all(directory) {
            Err(error) if Instant::now() >= end => {
                let left = members_below(directory);
                return Err(io::Error::new(
                    error.kind(),
                    format!(
                        "cannot remove `{}`: {error}; still in it: {left:?}",
                        directory.display()
                    ),
                ));
            }
            Err(_) => std::thread::sleep(SWEEP_LOOK),
            Ok(()) => return Ok(()),
        }
    }
}

fn remove_all(directory: &Path) -> io::Result<()> {
    for below in children(directory) {
        remove_all(&below)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn kill_all(directory: &Path) {
    if write(&directory.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    // Kernels before 5.14. Whoever forks meanwhile is met by the next round.
    for _ in 0..8 {
        let there = members_below(directory);
        if there.is_empty() {
            return;
        }
        for pid in there {
            let _gone = kill(pid, Signal::SIGKILL);
        }
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn members(directory: &Path) -> io::Result<Vec<Pid>> {
    let text = fs::read_to_string(directory.join("cgroup.procs"))?;
    Ok(text
        .lines()
        .filter_map(|line| line.parse().ok().map(Pid::from_raw))
        .collect())
}

fn members_below(directory: &Path) -> Vec<Pid> {
    let mut all = members(directory).unwrap_or_default();
    for below in children(directory) {
        all.extend(members_below(&below));
    }
    all
}

/// The number behind `key` in a file of lines `key number`; 0 where there is none.
fn count(path: &Path, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

/// Writes to a control file, in one call, without making it.
fn write(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;
