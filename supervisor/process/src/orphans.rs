//! Orphans of a module outside its process group: daemons that left group and session, and what they forked.
//!
//! The core is their subreaper, so they stay among its descendants. Whose they are is told by whom they descend from, by
//! their session, by their cgroup, and else by a mark in their environment. A daemon that empties its environment where
//! there are no cgroups is nobody's; it ends with the machine.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mainstay_model::ModuleName;
use nix::sys::signal::Signal;
#[cfg(target_os = "linux")]
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::guardian::{children, leftovers};
use crate::process_table;
use crate::process_table::ProcessInfo;

/// Limit for reading the environment of an orphan, which waits for the orphan's memory lock.
const READ: Duration = Duration::from_millis(250);
/// Limit for the exit of killed orphans, before the next start goes on without them.
const KERNEL: Duration = Duration::from_millis(500);
/// The same where all of them wait uninterruptibly.
const UNINTERRUPTIBLE: Duration = Duration::from_millis(100);
/// Pauses between two looks for them.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LAST_LOOK: Duration = Duration::from_millis(20);
/// Shortest pause between two rounds of reaping: a module that forks daemons without end must not keep us busy.
const REAP_PAUSE: Duration = Duration::from_millis(10);

/// Identity of one process of a module and of all that comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Module of the process.
    pub module: ModuleName,
    /// Value of the mark in their environment.
    pub mark: String,
    /// Cgroup of its processes, as `/proc/PID/cgroup` shows it in its line `0::`, where they have one of their own.
    pub cgroup: Option<String>,
}

impl Life {
    /// The `life`th process of `module`, in the machine whose runtime directory is called `key`.
    pub fn new(key: &str, module: &ModuleName, life: u64) -> Self {
        Self {
            module: module.clone(),
            mark: format!("{key}/{module}/{life}"),
            cgroup: None,
        }
    }

    /// Living processes of this life other than `leader`, which was spawned by us, is in its own session, and may have
    /// ended.
    pub async fn processes(&self, leader: Pid) -> Vec<ProcessInfo> {
        let life = self.clone();
        // A board has some hundred processes, and the thread that passes calls on must not read about them all.
        let looked = tokio::task::spawn_blocking(move || life.look(leader)).await;
        let (mut sure, unsure) = looked.unwrap_or_default();
        if !unsure.is_empty() {
            sure.extend(self.asked(unsure).await);
        }
        sure
    }

    /// Signals those of its processes that are outside the group of `leader`. Returns at once.
    pub fn signal(&self, leader: Pid, signal: Signal) {
        let life = self.clone();
        let work = move || {
            let (mut outside, unsure) = life.look(leader);
            outside.extend(unsure.into_iter().filter(|process| life.owns(process)));
            outside.retain(|process| process.group != leader.as_raw());
            for process in outside {
                debug!(module = %life.module, pid = process.pid, name = process.name, %signal, "left its group; signalled");
                process.signal(signal);
            }
        };
        // A thread of its own, because reading an environment may block. Without it they get the stronger word later.
        let _ = std::thread::Builder::new()
            .name("orphans".into())
            .stack_size(128 * 1024)
            .spawn(work);
    }

    /// Kills all of its processes and waits until they are gone; not long for what the kernel does not let go.
    pub async fn end(&self, leader: Pid) {
        let begun = Instant::now();
        let mut pause = FIRST_LOOK;
        loop {
            let living = self.processes(leader).await;
            if living.is_empty() {
                return;
            }
            let stuck = living.iter().all(ProcessInfo::uninterruptible);
            let elapsed = begun.elapsed();
            if elapsed >= KERNEL || (stuck && elapsed >= UNINTERRUPTIBLE) {
                for ProcessInfo { pid, name, state, .. } in living {
                    warn!(module = %self.module, pid, name, %state, "a process that it left behind does not end when killed; going on without it");
                }
                return;
            }
            living.iter().for_each(|process| process.signal(Signal::SIGKILL));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_LOOK);
        }
    }

    /// Candidates in the process table: those that belong to this life for sure, and those that may.
    fn look(&self, leader: Pid) -> (Vec<ProcessInfo>, Vec<ProcessInfo>) {
        let core = CoreProcess {
            pid: Pid::this().as_raw(),
            session: nix::unistd::getsid(None).map_or(0, Pid::as_raw),
        };
        let table = process_table::all();
        let (mut sure, unsure) = sort(&table, core, leader.as_raw(), children::is_own);
        let Some(cgroup) = &self.cgroup else {
            return (sure, unsure);
        };
        let (inside, unsure) = unsure.into_iter().partition(|process| is_in(process.pid, cgroup));
        sure.extend::<Vec<_>>(inside);
        (sure, unsure)
    }

    /// Filters processes by their environment; one that cannot be read in time is not ours.
    async fn asked(&self, unsure: Vec<ProcessInfo>) -> Vec<ProcessInfo> {
        let life = self.clone();
        let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
        let count = unsure.len();
        let work = move || {
            for process in unsure {
                let owned = life.owns(&process);
                let _nobody = answers.send(owned.then_some(process));
            }
        };
        let mut owned = Vec::with_capacity(count);
        // If it blocks, it blocks a thread that nobody needs.
        if std::thread::Builder::new()
            .name("orphans".into())
            .stack_size(128 * 1024)
            .spawn(work)
            .is_ok()
        {
            let all = async {
                while let Some(answer) = answered.recv().await {
                    owned.extend(answer);
                }
            };
            let _late = tokio::time::timeout(READ, all).await;
        }
        owned
    }

    /// Reads the environment of a process, which may block.
    fn owns(&self, process: &ProcessInfo) -> bool {
        leftovers::mark(process.pid).as_deref() == Some(&self.mark)
    }
}

/// Facts about the core that separate its own children from adopted ones.
#[derive(Debug, Clone, Copy)]
struct CoreProcess {
    pid: i32,
    session: i32,
}

/// Sorts the living descendants of the core: those that belong to the module whose process was spawned as `leader` for
/// sure, and those that were adopted from any module. `leader` itself is in neither.
fn sort(
    table: &[ProcessInfo],
    core: CoreProcess,
    leader: i32,
    is_own: impl Fn(i32) -> bool,
) -> (Vec<ProcessInfo>, Vec<ProcessInfo>) {
    #[derive(Clone, Copy, PartialEq)]
    enum Ownership {
        Its,
        Others,
        Unknown,
    }
    let mut whose: HashMap<i32, Ownership> = HashMap::new();
    let (mut sure, mut unsure) = (Vec::new(), Vec::new());
    for process in process_table::descendants(table, core.pid) {
        let verdict = if [process.pid, process.group, process.session].contains(&leader) {
            Ownership::Its
        } else if process.parent != core.pid {
            // Parents come first.
            whose.get(&process.parent).copied().unwrap_or(Ownership::Unknown)
        } else if is_own(process.pid) || process.session == core.session {
            Ownership::Others
        } else {
            Ownership::Unknown
        };
        whose.insert(process.pid, verdict);
        if process.pid != leader && process.lives() {
            match verdict {
                Ownership::Its => sure.push(process.clone()),
                Ownership::Unknown => unsure.push(process.clone()),
                Ownership::Others => {}
            }
        }
    }
    (sure, unsure)
}

/// True if the process is in this cgroup of the unified hierarchy, or in one below it.
fn is_in(pid: i32, cgroup: &str) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    lies_in(&text, cgroup)
}

fn lies_in(text: &str, cgroup: &str) -> bool {
    let below = |path: &str| {
        path.strip_prefix(cgroup)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    text.lines().filter_map(|line| line.strip_prefix("0::")).any(below)
}

/// Reaps, until it is stopped, the adopted children that have ended, and never one that a handle of ours waits for.
pub async fn reap(stop: CancellationToken) {
    let mut ended = match signal(SignalKind::child()) {
        Ok(ended) => ended,
        Err(error) => return warn!("adopted processes will not be reaped: {error}"),
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ended.recv() => {}
        }
        let _panicked = tokio::task::spawn_blocking(reap_adopted).await;
        // Signals that come meanwhile are not lost.
        tokio::time::sleep(REAP_PAUSE).await;
    }
}

/// Reaps each child that has ended, that we did not spawn, and that is not in our own session: a program that somebody
/// runs from here for a moment, without telling, is; what a module forked never is.
#[cfg(target_os = "linux")]
fn reap_adopted() {
    let own = Pid::this().as_raw();
    let session = nix::unistd::getsid(None).map_or(0, Pid::as_raw);
    for child in process_table::all() {
        if child.parent != own || child.lives() || child.session == session {
            continue;
        }
        let pid = Pid::from_raw(child.pid);
        let reaped = children::unless_own(child.pid, || waitpid(pid, Some(WaitPidFlag::WNOHANG)));
        if let Some(Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))) = reaped {
            debug!(pid = child.pid, name = child.name, "an adopted process has ended");
        }
    }
}

/// Does nothing: without a subreaper nothing is adopted.
#[cfg(not(target_os = "linux"))]
fn reap_adopted() {}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, session: i32) -> ProcessInfo {
        ProcessInfo {
            pid,
            name: "p".into(),
            state: 'S',
            parent,
            group: session,
            session,
            ticks: 0,
            started: 1,
        }
    }

    #[test]
    fn descendants_are_sorted_by_whom_they_descend_from() {
        let mut dead = process(13, 10, 10);
        dead.state = 'Z';
        let table = [
            // The core, and a program that it runs for a moment, with a child.
            process(2, 1, 2),
            process(3, 2, 2),
            process(4, 3, 2),
            // The module, its child, its child in a session of its own, and that one's child.
            process(10, 2, 10),
            process(11, 10, 10),
            process(12, 10, 12),
            dead,
            process(14, 12, 12),
            // Another module and its child.
            process(20, 2, 20),
            process(21, 20, 20),
            // Adopted: one still in the module's session, one in its own with a child, one of the other module's.
            process(15, 2, 10),
            process(30, 2, 30),
            process(31, 30, 30),
            process(22, 2, 20),
            // Somebody else's.
            process(99, 1, 99),
        ];
        let core = CoreProcess { pid: 2, session: 2 };
        let own = |pid| [10, 20].contains(&pid);
        let pids = |list: Vec<ProcessInfo>| {
            let mut pids: Vec<i32> = list.iter().map(|process| process.pid).collect();
            pids.sort_unstable();
            pids
        };
        let (sure, unsure) = sort(&table, core, 10, own);
        assert_eq!(pids(sure), [11, 12, 14, 15]);
        assert_eq!(pids(unsure), [22, 30, 31]);
        // The module's process is reaped, and all of its own children were adopted.
        let later: Vec<_> = table
            .iter()
            .filter(|process| process.pid != 10)
            .cloned()
            .map(|mut process| {
                process.parent = if process.parent == 10 { 2 } else { process.parent };
                process
            })
            .collect();
        let (sure, unsure) = sort(&later, core, 10, |pid| pid == 20);
        assert_eq!(pids(sure), [11, 15]);
        assert_eq!(pids(unsure), [12, 14, 22, 30, 31]);
    }

    #[test]
    fn a_cgroup_holds_what_is_below_it() {
        for (text, expected) in [
            ("0::/m/gear-3\n", true),
            ("12:cpu:/\n0::/m/gear-3/inner\n", true),
            ("0::/m/gear-31\n", false),
            ("1:name=systemd:/m/gear-3\n", false),
            ("", false),
        ] {
            assert_eq!(lies_in(text, "/m/gear-3"), expected, "{text}");
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_left_group_and_session_is_found_by_its_mark_and_ended() {
        use std::process::Command;
        // Adoption needs a subreaper; this process is one from now on, which harms no other test.
        nix::sys::prctl::set_child_subreaper(true).expect("always granted");
        let module: ModuleName = "gear".into();
        let life = Life::new(&format!("test{}", std::process::id()), &module, 3);
        let daemon = |life: &Life| {
            // The shell in between ends at once, and the sleeper is adopted by us.
            let script = "setsid sh -c 'echo up; exec sleep 1000' & read _";
            let mut command = Command::new("sh");
            command.args(["-c", script]).env(leftovers::MARK, &life.mark);
            command
                .stdin(std::process::Stdio::null())
                .stdout(std::process::Stdio::piped());
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
            let mut child = children::spawn(&mut command).expect("there is a shell");
            let mut up = [0; 2];
            let mut out = child.stdout.take().expect("a pipe");
            std::io::Read::read_exact(&mut out, &mut up).expect("the daemon is up");
            child.wait().expect("it ends");
            children::forget(child.id());
            Pid::from_raw(child.id().cast_signed())
        };
        let leader = daemon(&life);
        let found = life.processes(leader).await;
        assert_eq!(found.len(), 1, "{found:?}");
        let other = Life::new("other", &module, 3);
        assert!(other.processes(leader).await.is_empty(), "the mark of another machine");
        life.end(leader).await;
        assert!(life.processes(leader).await.is_empty());
        assert!(!process_table::look(found[0].pid).is_some_and(|process| process.lives()));
        // It was adopted, so it is ours to reap.
        reap_adopted();
        assert_eq!(process_table::look(found[0].pid), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_that_a_handle_waits_for_is_never_reaped_by_others() {
        use std::os::unix::process::CommandExt;
        use std::process::Command;
        let mut command = Command::new("sh");
        command.args(["-c", "exit 7"]);
        #[expect(unsafe_code, reason = "setsid after fork, as for modules")]
        // SAFETY: one system call.
        unsafe {
            command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(std::io::Error::from));
        }
        let mut child = children::spawn(&mut command).expect("there is a shell");
        let pid = child.id().cast_signed();
        let end = Instant::now() + Duration::from_secs(10);
        while process_table::look(pid).is_some_and(|process| process.lives()) {
            assert!(Instant::now() < end, "it does not end");
        }
        reap_adopted();
        assert_eq!(child.wait().expect("its status was not stolen").code(), Some(7));
        children::forget(child.id());
    }
}
