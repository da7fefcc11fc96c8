//! The core's own children: those that a handle of ours waits for, and that nobody else may reap.
//!
//! The list lies in memory that the guardian shares, so that it knows, when the core was killed at any moment, which
//! processes the kernel has told to end already: a second SIGTERM would cut short how a module stops its motors.

use std::collections::BTreeSet;
use std::io;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Children that fit into the shared list. More than these are ended as well, only less gently.
const SLOTS: usize = 1024;

/// Shared with the guardian: a process id, or 0, in each slot.
static SHARED: OnceLock<&'static [AtomicI32; SLOTS]> = OnceLock::new();
/// The same for this process. Held while a child is spawned and while one is reaped.
static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn own() -> MutexGuard<'static, BTreeSet<i32>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the shared memory; to be called before the guardian forks. Without it there is only this process' own list.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "shared memory has no safe wrapper")]
pub(super) fn share() -> io::Result<()> {
    use std::num::NonZeroUsize;

    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
    let length = NonZeroUsize::new(size_of::<[AtomicI32; SLOTS]>()).expect("there are slots");
    // SAFETY: a fresh mapping that nothing else points to.
    let memory = unsafe {
        mmap_anonymous(
            None,
            length,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_SHARED,
        )
    }?;
    // SAFETY: page-aligned, zeroed, as large as the array, never unmapped, and only ever touched as atomics.
    let slots = unsafe { memory.cast::<[AtomicI32; SLOTS]>().as_ref() };
    // A second call would share a list that nobody fills.
    let _first = SHARED.set(slots);
    Ok(())
}

fn shared() -> &'static [AtomicI32] {
    SHARED.get().map_or(&[], |slots| slots.as_slice())
}

/// Those that the core held when it was last heard of. For the guardian.
pub(super) fn held() -> BTreeSet<i32> {
    let pids = shared().iter().map(|slot| slot.load(Ordering::Relaxed));
    pids.filter(|pid| *pid != 0).collect()
}

/// Starts `command` as a child of ours. To be forgotten once it is reaped.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    // Held from before the fork: whoever looks for adopted children must not find one that is not in the list yet.
    let mut own = own();
    let child = command.spawn()?;
    let pid = child.id().cast_signed();
    own.insert(pid);
    let free = |slot: &&AtomicI32| {
        slot.compare_exchange(0, pid, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    };
    let _full = shared().iter().find(free);
    Ok(child)
}

/// To be called once a child was reaped: its number may be given to another process.
pub fn forget(pid: u32) {
    let pid = pid.cast_signed();
    own().remove(&pid);
    for slot in shared() {
        let _other = slot.compare_exchange(pid, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// True for children that a handle of ours waits for.
pub fn is_own(pid: i32) -> bool {
    own().contains(&pid)
}

/// Does something to a child that no handle of ours waits for, and that cannot become one of ours meanwhile.
pub fn unless_own<T>(pid: i32, act: impl FnOnce() -> T) -> Option<T> {
    let own = own();
    (!own.contains(&pid)).then(act)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_ours_from_its_fork_until_it_is_forgotten() {
        share().expect("there is memory");
        let mut child = spawn(&mut Command::new("true")).expect("there is `true`");
        let pid = child.id().cast_signed();
        assert!(is_own(pid) && held().contains(&pid));
        assert_eq!(unless_own(pid, || ()), None);
        child.wait().expect("it ends");
        forget(child.id());
        assert!(!is_own(pid) && !held().contains(&pid));
        assert_eq!(unless_own(pid, || 7), Some(7));
        assert!(spawn(&mut Command::new("/nowhere/to/be/found")).is_err());
    }
}
