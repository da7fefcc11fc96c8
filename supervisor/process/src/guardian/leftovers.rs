//! Processes left over when core and guardian were killed at the same moment: they ignored the kernel's SIGTERM, or never
//! got it. The next start of the same config finds them by the mark in their environment.

use std::collections::HashSet;
use std::time::Duration;

use crate::guardian::terminate;
use crate::process_table;
use crate::process_table::ProcessInfo;

/// Variable in the environment of every module process, and so of all that it forks: `KEY/MODULE/LIFE`, where KEY names
/// the runtime directory and LIFE counts the module's processes.
pub const MARK: &str = "MAINSTAY_LIFE";

/// Timeout for the end of killed processes.
const KERNEL: Duration = Duration::from_millis(500);

/// Ends all processes that the machine with this `key` left behind; returns how many there were, and those that could
/// not be ended. Blocks, for 1.2 s at most unless the memory of a process is locked: reading an environment waits for it.
///
/// For a core that holds the lock of the key's runtime directory and has started nothing yet.
pub fn end(key: &str) -> (usize, Vec<ProcessInfo>) {
    let mut seen = HashSet::new();
    let find = || {
        let living = find(key);
        seen.extend(living.iter().map(|process| (process.pid, process.started)));
        living
    };
    let left = terminate::end(KERNEL, find, std::thread::sleep);
    (seen.len(), left)
}

/// Living processes with the mark of `key`, this one and its ancestors not among them: a machine may be started from
/// inside a module.
fn find(key: &str) -> Vec<ProcessInfo> {
    let table = process_table::all();
    let ancestors = ancestors(&table, std::process::id().cast_signed());
    let start = format!("{key}/");
    table
        .into_iter()
        .filter(|process| process.lives() && !process.uninterruptible() && !ancestors.contains(&process.pid))
        .filter(|process| mark(process.pid).is_some_and(|mark| mark.starts_with(&start)))
        .collect()
}

fn ancestors(table: &[ProcessInfo], from: i32) -> HashSet<i32> {
    let mut found = HashSet::new();
    let mut next = Some(from);
    while let Some(pid) = next {
        next = table
            .iter()
            .find(|process| process.pid == pid && found.insert(pid))
            .map(|process| process.parent);
    }
    found
}

/// The mark in the environment of a process. May block for as long as something holds that process' memory lock.
pub fn mark(pid: i32) -> Option<String> {
    // What is not ours to read is not ours to end.
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    of(&environment)
}

fn of(environment: &[u8]) -> Option<String> {
    environment.split(|byte| *byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=")?;
        String::from_utf8(value.to_vec()).ok()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_mark_is_one_whole_variable() {
        for (environment, expected) in [
            (&b"A=1\0MAINSTAY_LIFE=k/gear/3\0B=2\0"[..], Some("k/gear/3")),
            (b"MAINSTAY_LIFE=k/a/1", Some("k/a/1")),
            (b"XMAINSTAY_LIFE=k/a/1\0MAINSTAY_LIFE2=x\0", None),
            (b"", None),
        ] {
            assert_eq!(of(environment).as_deref(), expected);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn survivors_of_one_machine_are_ended_and_no_others() {
        use std::process::Command;
        let sleeper = |mark: &str, script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]).env(MARK, mark);
            command.spawn().expect("there is a shell")
        };
        let key = format!("test-{}", std::process::id());
        let mut mild = sleeper(&format!("{key}/a/1"), "exec sleep 1000");
        let mut stubborn = sleeper(&format!("{key}/b/1"), "trap '' TERM; while :; do sleep 1000; done");
        let mut stranger = sleeper(&format!("{key}2/a/1"), "exec sleep 1000");
        let found = |wanted: usize| {
            let end = Instant::now() + Duration::from_secs(10);
            while find(&key).len() < wanted {
                assert!(Instant::now() < end, "{:?}", find(&key));
            }
        };
        found(2);
        let (count, left) = end(&key);
        assert!(count >= 2 && left.is_empty(), "{count} {left:?}");
        mild.wait().expect("ended");
        stubborn.wait().expect("ended");
        assert_eq!(stranger.try_wait().expect("ours"), None);
        stranger.kill().expect("it lives");
        stranger.wait().expect("ended");
    }
}
