//! Termination of processes that nobody supervises any more: SIGTERM, given a moment, killed. Those that descend from this
//! process are reaped, too.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::process_table;
use crate::process_table::ProcessInfo;

/// Time from SIGTERM to SIGKILL for the processes that a core left behind: enough to stop motors.
const GRACE: Duration = Duration::from_millis(700);
/// Timeout for the end of killed descendants.
const KERNEL: Duration = Duration::from_millis(1_500);
/// Limit for killed processes that wait uninterruptibly: such a process usually waits for broken hardware.
const UNINTERRUPTIBLE: Duration = Duration::from_millis(150);
/// Pause between two looks, where the system does not report an end.
const LOOK: Duration = Duration::from_millis(10);

/// Step of the termination that is due at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TerminationStep {
    /// SIGTERM, once; then patience.
    Terminate,
    /// SIGKILL to all.
    Kill,
    /// Nothing more: the rest is left to the kernel.
    GiveUp,
}

/// Decides from the time since the beginning. `stuck`: all that live wait uninterruptibly.
fn due_step(elapsed: Duration, kernel: Duration, stuck: bool) -> TerminationStep {
    match elapsed.checked_sub(GRACE) {
        None => TerminationStep::Terminate,
        Some(killed) if killed >= kernel || (stuck && killed >= UNINTERRUPTIBLE) => TerminationStep::GiveUp,
        Some(_) => TerminationStep::Kill,
    }
}

/// Ends all descendants of this process but `spared`, and returns those that could not be ended. `pause` waits for the end
/// of a child, for so long at most.
///
/// Reaps every child: nobody in this process may wait for one.
pub fn end_descendants(spared: Option<i32>, pause: impl Fn(Duration)) -> Vec<ProcessInfo> {
    let own = Pid::this().as_raw();
    let find = || {
        reap();
        let table = process_table::all();
        let descendants = process_table::descendants(&table, own).into_iter();
        descendants
            .filter(|process| Some(process.pid) != spared)
            .cloned()
            .collect()
    };
    end(KERNEL, find, pause)
}

/// Ends all that `find` finds, until it finds nothing more, and returns those that could not be ended. `kernel`: how long
/// the kernel may take with what was killed; `pause` waits for so long at most.
pub fn end(kernel: Duration, mut find: impl FnMut() -> Vec<ProcessInfo>, pause: impl Fn(Duration)) -> Vec<ProcessInfo> {
    let begun = Instant::now();
    let mut first = true;
    loop {
        let left = find();
        if left.is_empty() {
            return left;
        }
        // The others wait to be reaped, by us in the next round or by their parents.
        let living: Vec<ProcessInfo> = left.into_iter().filter(ProcessInfo::lives).collect();
        let stuck = !living.is_empty() && living.iter().all(ProcessInfo::uninterruptible);
        match due_step(begun.elapsed(), kernel, stuck) {
            TerminationStep::Terminate => {
                // Once: a second SIGTERM cuts short how an SDK stops, and what is forked from now on helps somebody to end.
                if std::mem::take(&mut first) {
                    living.iter().for_each(|process| process.signal(Signal::SIGTERM));
                }
            }
            TerminationStep::Kill => living.iter().for_each(|process| process.signal(Signal::SIGKILL)),
            TerminationStep::GiveUp => return living,
        }
        pause(LOOK);
    }
}

/// Reaps every child that has ended.
fn reap() {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// Text about processes that could not be ended, for the person who reads stderr.
pub fn name(left: &[ProcessInfo]) -> String {
    left.iter()
        .map(|process| {
            let why = if process.uninterruptible() {
                "waits in the kernel (state D), where no signal reaches it; it ends when that wait does"
            } else {
                "did not end when killed"
            };
            format!(
                "warning: process {} ({}) is left behind: it {why}\n",
                process.pid, process.name
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_gets_a_moment_and_nobody_is_waited_for_for_ever() {
        for (ms, stuck, expected) in [
            (0, false, TerminationStep::Terminate),
            (699, true, TerminationStep::Terminate),
            (700, false, TerminationStep::Kill),
            (849, true, TerminationStep::Kill),
            (850, true, TerminationStep::GiveUp),
            (850, false, TerminationStep::Kill),
            (2_199, false, TerminationStep::Kill),
            (2_200, false, TerminationStep::GiveUp),
        ] {
            assert_eq!(
                due_step(Duration::from_millis(ms), KERNEL, stuck),
                expected,
                "{ms} {stuck}"
            );
        }
    }

    #[test]
    fn what_is_left_is_named_with_the_reason() {
        let left = |state| ProcessInfo {
            pid: 42,
            name: "lidar".into(),
            state,
            parent: 1,
            group: 42,
            session: 42,
            ticks: 0,
            started: 1,
        };
        let text = name(&[left('D'), left('S')]);
        assert!(
            text.contains("process 42 (lidar)") && text.contains("state D"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 2);
        assert!(name(&[]).is_empty());
    }
}
