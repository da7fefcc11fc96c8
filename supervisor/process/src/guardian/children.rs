//! The core's own children: those that a handle of ours waits for, and that nobody else may reap.

use std::collections::BTreeSet;
use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Process ids. Held while a child is spawned and while one is reaped.
static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn own() -> MutexGuard<'static, BTreeSet<i32>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts `command` as a child of ours. To be forgotten once it is reaped.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    // Held from before the fork: whoever looks for adopted children must not find one that is not in the list yet.
    let mut own = own();
    let child = command.spawn()?;
    own.insert(child.id().cast_signed());
    Ok(child)
}

/// Removes a child from the set once it was reaped: its number may be given to another process.
pub fn forget(pid: u32) {
    own().remove(&pid.cast_signed());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_ours_from_its_fork_until_it_is_forgotten() {
        let mut child = spawn(&mut Command::new("true")).expect("there is `true`");
        let pid = child.id().cast_signed();
        assert!(is_own(pid));
        assert_eq!(unless_own(pid, || ()), None);
        child.wait().expect("it ends");
        forget(child.id());
        assert!(!is_own(pid));
        assert_eq!(unless_own(pid, || 7), Some(7));
        assert!(spawn(&mut Command::new("/nowhere/to/be/found")).is_err());
    }
}
