//! Process table of this host with its parent relation, as far as it takes no lock that a hung process may hold.
//!
//! Only `/proc/PID/stat` is read here. It never blocks, unlike `environ` and `cmdline`, which wait for the memory lock of
//! the process they tell of. Where there is no `/proc` the table is empty, and only direct children can be found.

use std::collections::HashMap;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Snapshot of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Process id.
    pub pid: i32,
    /// Name of the process as the kernel keeps it: 15 bytes at most.
    pub name: String,
    /// State letter: `R`, `S`, `D` (waits and cannot be killed now), `Z` (ended, not reaped) and so on.
    pub state: char,
    /// Parent's process id.
    pub parent: i32,
    /// Process group.
    pub group: i32,
    /// Session.
    pub session: i32,
    /// Processor time that it used, in its own code and in the kernel, in clock ticks.
    pub ticks: u64,
    /// When it was started, in clock ticks since boot. With the process id this is one process for certain.
    pub started: u64,
}

impl ProcessInfo {
    /// Reads a line of `/proc/PID/stat`: `PID (name) STATE PARENT GROUP SESSION …`. The name may hold anything, brackets
    /// too.
    pub fn parse(stat: &str) -> Option<Self> {
        let (head, rest) = stat.rsplit_once(')')?;
        let (pid, name) = head.split_once('(')?;
        // The first of these, the state, is field 3 of proc(5).
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let count = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            pid: pid.trim().parse().ok()?,
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            ticks: count(14)? + count(15)?,
            started: count(22)?,
        })
    }

    /// False once it has ended, reaped or not.
    pub fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// True while it waits for something that no signal interrupts.
    pub fn uninterruptible(&self) -> bool {
        self.state == 'D'
    }

    /// Signals it, unless its number was given to another process since the look.
    pub fn signal(&self, signal: Signal) {
        if look(self.pid).is_some_and(|now| now.started == self.started) {
            let _gone = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

/// Snapshot of process `pid`; `None` if there is none with this number.
pub fn look(pid: i32) -> Option<ProcessInfo> {
    let mut process = read(&format!("/proc/{pid}/stat"))?;
    if process.state == 'Z' {
        // Its first thread has ended, and is shown as long as another one waits in the kernel.
        process.state = rest(pid).unwrap_or(process.state);
    }
    Some(process)
}

/// The state of a thread that lives on after its process' first one, if there is any.
fn rest(pid: i32) -> Option<char> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let mut stats = threads.filter_map(|thread| read(thread.path().join("stat").to_str()?));
    stats.find(ProcessInfo::lives).map(|thread| thread.state)
}

fn read(stat: &str) -> Option<ProcessInfo> {
    ProcessInfo::parse(&String::from_utf8_lossy(&std::fs::read(stat).ok()?))
}

/// Snapshots of all processes that this user may see.
pub fn all() -> Vec<ProcessInfo> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // A process may end while we look.
    numbers.filter_map(look).collect()
}

/// Descendants of `root` in `table`, parents before children, without `root` itself.
pub fn descendants(table: &[ProcessInfo], root: i32) -> Vec<&ProcessInfo> {
    let mut children: HashMap<i32, Vec<&ProcessInfo>> = HashMap::new();
    for process in table {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found: Vec<&ProcessInfo> = children.remove(&root).unwrap_or_default();
    let mut next = 0;
    while let Some(process) = found.get(next) {
        // Removed, so that a table that changed while it was read cannot send us in circles.
        found.extend(children.remove(&process.pid).unwrap_or_default());
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pid: i32, state: char, parent: i32) -> ProcessInfo {
        let rest = "0 0 0 0 0 0 0 7 5 0 0 20 0 1 0";
        let text = format!("{pid} (a) b) {state} {parent} 7 8 {rest}{}", " 4711 0");
        ProcessInfo::parse(&text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn a_line_is_read_whatever_the_name() {
        let process = line(42, 'D', 1);
        assert_eq!(
            (process.name.as_str(), process.parent, process.group, process.session),
            ("a) b", 1, 7, 8)
        );
        assert_eq!((process.ticks, process.started), (12, 4711));
        assert!(process.lives() && process.uninterruptible());
        assert!(!line(42, 'Z', 1).lives());
        for broken in ["", "42", "42 (a", "42 (a) S 1", "x (a) S 1 2 3"] {
            assert_eq!(ProcessInfo::parse(broken), None, "{broken}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_in_the_table_as_it_is() {
        let own = look(std::process::id().cast_signed()).expect("we live");
        assert_eq!(own.parent, nix::unistd::getppid().as_raw());
        assert_eq!(own.group, nix::unistd::getpgrp().as_raw());
        assert_eq!(nix::unistd::getsid(None).map(Pid::as_raw), Ok(own.session));
        assert!(own.started > 0);
        assert!(
            all()
                .iter()
                .any(|process| process.pid == own.pid && process.started == own.started)
        );
    }

    #[test]
    fn descendants_are_found_through_all_generations() {
        let table = [
            line(5, 'S', 4),
            line(2, 'S', 1),
            line(4, 'Z', 2),
            line(3, 'S', 2),
            line(9, 'S', 8),
        ];
        let of = |root| -> Vec<i32> { descendants(&table, root).iter().map(|process| process.pid).collect() };
        assert_eq!(of(1), [2, 4, 3, 5]);
        assert_eq!(of(4), [5]);
        assert_eq!(of(5), [0; 0]);
        // A loop cannot be, but numbers may be reused between two lines.
        let circle = [line(1, 'S', 2), line(2, 'S', 1)];
        assert_eq!(descendants(&circle, 1).len(), 2);
    }
}
