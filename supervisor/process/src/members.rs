//! Processes of a module: what lives in its cgroup, else in the session that its process leads.
//!
//! Wrappers fork, so a module is more than one process; its session is what they share unless they leave it, and its
//! cgroup is what they cannot leave.

use std::path::PathBuf;
use std::sync::Arc;

use nix::unistd::{Pid, getsid};

use crate::cgroup::Group;
use crate::{cgroup, process_table};

/// Limit of the walk up the parents of a process.
const GENERATIONS: usize = 32;

/// The processes of one life of a module.
#[derive(Debug, Clone, Default)]
pub struct Members {
    /// Cgroup of the module, where there are any.
    pub group: Option<Arc<Group>>,
    /// First process of the module, once it runs; leads the session.
    pub leader: Option<Pid>,
}

impl Members {
    /// True if the process belongs to the module.
    pub fn contain(&self, pid: Pid) -> bool {
        let there = ProcessOrigin::of(pid);
        self.group.as_ref().is_some_and(|group| {
            there
                .cgroup
                .as_ref()
                .is_some_and(|cgroup| cgroup.starts_with(group.path()))
        }) || self.leader.is_some_and(|leader| {
            pid == leader || there.session == Some(leader) || there.parents().any(|above| above == leader)
        })
    }

    /// Process ids of all that live now; none where the system does not show them.
    pub fn all(&self) -> Vec<Pid> {
        if let Some(group) = &self.group {
            return group.members().unwrap_or_default();
        }
        let Some(leader) = self.leader else { return Vec::new() };
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut all: Vec<Pid> = entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw))
            .filter(|pid| getsid(Some(*pid)) == Ok(leader))
            .collect();
        // What left the session is still somebody's child.
        let mut next = 0;
        while let Some(pid) = all.get(next) {
            let known = all.clone();
            all.extend(children(*pid).into_iter().filter(|child| !known.contains(child)));
            next += 1;
        }
        all
    }
}

/// Parent, group and session of a process.
#[derive(Debug)]
struct ProcessOrigin {
    pid: Pid,
    cgroup: Option<PathBuf>,
    session: Option<Pid>,
}

impl ProcessOrigin {
    fn of(pid: Pid) -> Self {
        let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok();
        Self {
            pid,
            cgroup: cgroup.and_then(|text| cgroup::unified(&text)),
            session: getsid(Some(pid)).ok(),
        }
    }

    fn parents(&self) -> impl Iterator<Item = Pid> {
        std::iter::successors(parent(self.pid), |pid| parent(*pid)).take(GENERATIONS)
    }
}

/// The children of a process; none where the kernel keeps no list of them.
fn children(pid: Pid) -> Vec<Pid> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let mut children = Vec::new();
    for list in lists {
        children.extend(
            list.split_ascii_whitespace()
                .filter_map(|pid| pid.parse().ok().map(Pid::from_raw)),
        );
    }
    children
}

/// The parent of a process; none for the first one, or if it is gone.
fn parent(pid: Pid) -> Option<Pid> {
    let parent = process_table::look(pid.as_raw())?.parent;
    (parent > 1).then(|| Pid::from_raw(parent))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_a_process_forked_belongs_to_it_also_in_a_session_of_its_own() {
        let script = "sleep 1000 & echo $!; setsid sleep 1000 & echo $!; wait";
        let mut child = Command::new("setsid")
            .args(["sh", "-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let leader = Pid::from_raw(child.id().cast_signed());
        let mut output = child.stdout.take().expect("a pipe");
        let mut text = String::new();
        while text.lines().count() < 2 || !text.ends_with('\n') {
            let mut bytes = [0; 64];
            let count = output.read(&mut bytes).expect("readable");
            assert!(count > 0, "the shell ended: {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        let others: Vec<_> = text
            .lines()
            .map(|line| Pid::from_raw(line.parse().expect("a number")))
            .collect();
        let members = Members {
            group: None,
            leader: Some(leader),
        };
        assert!(members.contain(leader));
        assert!(others.iter().all(|pid| members.contain(*pid)), "{others:?}");
        assert!(!members.contain(Pid::this()));
        assert!(!Members::default().contain(leader));
        assert!(
            others.iter().all(|pid| members.all().contains(pid)),
            "{:?}",
            members.all()
        );
        for pid in others {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("ours");
        }
        child.kill().expect("ours");
        child.wait().expect("ours");
    }
}
