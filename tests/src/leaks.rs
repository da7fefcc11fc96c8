//! Snapshots of the system resources that a running machine holds, compared with those after its warm-up to find leaks.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use crate::world::World;

/// Timeout for the release of temporary resources: connections of callers that have gone, idle threads of the blocking
/// pool (10 s).
pub const PATIENCE: Duration = Duration::from_secs(15);

/// System resources that the core and its descendants hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Processes of this machine, by the name of their program.
    pub processes: BTreeMap<String, usize>,
    /// Open files of the core by their kind: `socket`, `pipe`, `anon_inode:[eventpoll]`, or a path.
    pub files: BTreeMap<String, usize>,
    /// Threads of the core.
    pub threads: usize,
    /// Tasks of the core's runtime. Those of our own connections are among them, until they are closed.
    pub tasks: usize,
    /// Socket files below the machine's folders.
    pub sockets: usize,
    /// Files and directories in its runtime directory.
    pub runtime: usize,
    /// Anonymous resident memory of the core in KiB. Shown, not compared.
    pub memory_kib: u64,
}

impl Held {
    /// Takes a snapshot of the machine whose core has this process id.
    pub async fn of(world: &World, core: i32) -> Self {
        let count = |names: Vec<String>| {
            let mut counts = BTreeMap::new();
            for name in names {
                *counts.entry(name).or_insert(0) += 1;
            }
            counts
        };
        let programs = world.place.processes().into_iter().map(|process| {
            let program = process.command.split(' ').next().unwrap_or_default();
            program.rsplit('/').next().unwrap_or_default().to_owned()
        });
        let seen = Self {
            processes: count(programs.collect()),
            files: count(open_files(core, &world.place.folder().display().to_string())),
            threads: entries(&format!("/proc/{core}/task")),
            tasks: 0,
            sockets: world.place.sockets().len(),
            runtime: world
                .place
                .runtime_folders()
                .iter()
                .map(|folder| entries(&folder.display().to_string()))
                .sum(),
            memory_kib: memory_kib(core),
        };
        // At last, because asking takes a connection, which is open a little longer.
        let tasks = world.tasks().await;
        Self { tasks, ..seen }
    }

    /// Describes the resources that grew since `before`; empty if none did.
    pub fn more_than(&self, before: &Self) -> String {
        let mut more = String::new();
        let mut compare = |what: &str, now: usize, then: usize| {
            if now > then {
                let _ = write!(more, "{what}: {then} → {now}; ");
            }
        };
        for (kinds, now, then) in [
            ("process", &self.processes, &before.processes),
            ("open file", &self.files, &before.files),
        ] {
            for (kind, count) in now {
                compare(&format!("{kinds} {kind}"), *count, then.get(kind).copied().unwrap_or(0));
            }
        }
        compare("threads", self.threads, before.threads);
        compare("tasks", self.tasks, before.tasks);
        compare("socket files", self.sockets, before.sockets);
        compare("files in the runtime directory", self.runtime, before.runtime);
        more
    }

    /// Takes the smallest snapshot within a second, without temporary resources: probes, connections of earlier calls.
    pub async fn at_rest(world: &World, core: i32) -> Self {
        let mut held = Self::of(world, core).await;
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = Self::of(world, core).await;
            if !held.more_than(&now).is_empty() {
                held = now;
            }
        }
        held
    }

    /// Waits until the machine holds no more than it did in `before`. Looks more and more seldom: each look has the core do
    /// something on a thread for blocking work, and those end when none of them has done anything for ten seconds.
    ///
    /// # Errors
    /// The resources that are still held after [`PATIENCE`].
    pub async fn no_more_than(world: &World, core: i32, before: &Self) -> Result<Self, String> {
        let end = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(50);
        loop {
            let now = Self::of(world, core).await;
            let more = now.more_than(before);
            if more.is_empty() {
                return Ok(now);
            }
            if Instant::now() > end {
                return Err(format!("leaked: {more}"));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(12));
        }
    }
}

fn entries(folder: &str) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

/// Lists the open files of a process by kind; paths below `folder` relative to it, because each machine has its own.
fn open_files(pid: i32, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?.display().to_string();
            // `socket:[4711]` and `pipe:[4711]`: the number is another one each time.
            Some(match target.split_once(":[") {
                Some((kind @ ("socket" | "pipe"), _)) => kind.to_owned(),
                _ => below(&target, folder),
            })
        })
        .collect()
}

/// Strips `folder` and generated names from a path: that of the runtime directory derives from the config's path, that of
/// a cgroup from it and the order of starts.
fn below(path: &str, folder: &str) -> String {
    let name = || path.rsplit('/').next().unwrap_or_default();
    if path.starts_with("/sys/fs/cgroup/") {
        return format!("cgroup {}", name());
    }
    if path.starts_with(folder) {
        return name().to_owned();
    }
    path.to_owned()
}

/// Anonymous resident memory of a process in KiB; 0 if unknown. This is what a leak makes grow.
/// Pages of the program's file come and go: the core gives them back once it has started.
pub fn memory_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_grew_is_a_leak() {
        let before = Held {
            processes: BTreeMap::from([("mainstay".into(), 2), ("misbehave".into(), 1)]),
            files: BTreeMap::from([("socket".into(), 9), ("pipe".into(), 4)]),
            threads: 5,
            tasks: 40,
            ..Held::default()
        };
        assert_eq!(before.more_than(&before), "");
        let fewer = Held {
            threads: 4,
            files: BTreeMap::new(),
            ..before.clone()
        };
        assert_eq!(fewer.more_than(&before), "");
        let more = Held {
            processes: BTreeMap::from([("sleep".into(), 1)]),
            files: BTreeMap::from([("socket".into(), 10)]),
            tasks: 41,
            ..Held::default()
        };
        assert_eq!(
            more.more_than(&before),
            "process sleep: 0 → 1; open file socket: 9 → 10; tasks: 40 → 41; "
        );
    }

    #[test]
    fn own_files_are_told_by_kind() {
        let own = i32::try_from(std::process::id()).expect("process ids are small");
        let (_here, _there) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
        if fs::metadata("/proc/self/fd").is_ok() {
            assert!(
                open_files(own, "/nowhere")
                    .iter()
                    .filter(|kind| *kind == "socket")
                    .count()
                    >= 2
            );
            assert!(memory_kib(own) > 0);
        }
    }
}
