//! Cgroups are ended and removed with whatever lives in them.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use super::files::{children, members, members_below, write};
use super::place::{CgroupPath, name};

/// Limit for the exit of killed processes, before they are left to the kernel.
const SWEEP_PATIENCE: Duration = Duration::from_millis(500);
/// Pause between two looks at processes that are going.
const SWEEP_LOOK: Duration = Duration::from_millis(2);

/// Ends and removes all cgroups of the machine whose sockets lie in `runtime`, whoever made them. For the guardian when
/// its core has ended: it must lie in none of them itself, which holds for both of our processes.
///
/// # Errors
/// Something in them does not die (the kernel holds it), or they are not ours.
pub fn sweep(runtime: &Path) -> io::Result<()> {
    let name = name(runtime);
    let leaf = format!("{name}-core");
    let Some(own) = CgroupPath::own() else { return Ok(()) };
    let moved = own.path.ends_with(&leaf);
    let base = own.base(&leaf);
    let tree = base.join(&name).directory;
    let cleared = clear(&tree);
    if moved {
        if cleared.is_err() {
            // What cannot be ended is left without limits; nothing else hands them back.
            hand_back(&tree)?;
        }
        // Only a cgroup that hands nothing down may hold processes again.
        hand_back(&base.directory)?;
        let leaf = base.join(&leaf).directory;
        for pid in members(&leaf)? {
            write(&base.directory.join("cgroup.procs"), &pid.to_string())?;
        }
        fs::remove_dir(leaf)?;
    }
    cleared
}

/// Removes every controller from `cgroup.subtree_control` of `directory`.
fn hand_back(directory: &Path) -> io::Result<()> {
    let control = directory.join("cgroup.subtree_control");
    for name in super::files::controllers(&control).names() {
        write(&control, &format!("-{name}"))?;
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

pub(super) fn kill_all(directory: &Path) {
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
