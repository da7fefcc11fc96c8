//! Stacks of a process that hangs, as the process prints them itself: some runtimes do when they are told to abort.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::inspect::session;

/// Sends SIGABRT to the processes of a module that catch it: Python with its faulthandler and Go print the stacks of all
/// their threads then, and end. Gives those that were asked; the others would end without a word, so they are left alone.
pub fn ask(pid: u32) -> Vec<u32> {
    let catches =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| catches_abort(&status));
    let send = |pid: &u32| kill(Pid::from_raw(pid.cast_signed()), Signal::SIGABRT).is_ok();
    let mut asked = session(pid);
    asked.retain(|pid| catches(pid) && send(pid));
    for pid in &asked {
        // One that was stopped has to run for it. If it is gone by now, it has said what it had to say.
        let _gone = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGCONT);
    }
    asked
}

/// Reads the mask of caught signals in the text of `/proc/PID/status`.
fn catches_abort(status: &str) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|caught| caught & (1 << (Signal::SIGABRT as u32 - 1)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_catches_sigabrt_is_read_from_the_status() {
        for (status, expected) in [
            (
                "Name:\tpython3\nSigIgn:\t0000000001001000\nSigCgt:\t00000001000044e8\n",
                true,
            ),
            ("Name:\tpython3\nSigCgt:\t0000000100000002\n", false),
            ("SigCgt:\tffffffff\n", true),
            ("Name:\tSigCgt:\t20\n", false),
            ("SigCgt:\tx\n", false),
            ("", false),
        ] {
            assert_eq!(catches_abort(status), expected, "{status}");
        }
    }
}
