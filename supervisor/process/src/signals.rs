//! Signal dispositions and masks: what a parent left in them is neither trusted nor passed on to modules.
//!
//! Both survive exec: `nohup` ignores SIGHUP, some service managers ignore SIGPIPE, a shell in the background SIGINT, and a
//! parent that forgot to unblock SIGTERM starts a machine that nobody can end.

use std::{mem, ptr};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

/// Highest signal number, real-time signals included.
const LAST: i32 = 64;

/// Bytes of a signal set of the kernel.
#[cfg(target_os = "linux")]
const SET_SIZE: usize = 8;

/// Dispositions of the parent that count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inherited {
    /// True if SIGHUP was ignored: the terminal may go, and the program is to stay.
    pub hang_up_ignored: bool,
}

/// Sets what the parent had ignored back to the default, SIGHUP apart, and gives this thread the mask `blocked`. To be called
/// while there is one thread.
pub fn start_clean(blocked: &SigSet) -> nix::Result<Inherited> {
    let inherited = Inherited {
        hang_up_ignored: is_ignored(libc::SIGHUP),
    };
    // Rust's own start ignores SIGPIPE, and a SIGHUP may come before anybody takes it.
    let kept = [libc::SIGPIPE, libc::SIGHUP];
    for signal in (1..=LAST).filter(|signal| !kept.contains(signal) && is_ignored(*signal)) {
        set_default(signal);
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(blocked), None)?;
    Ok(inherited)
}

/// Sets every disposition to the default and unblocks everything. For a child between fork and exec: only system calls.
pub fn reset() -> nix::Result<()> {
    (1..=LAST).for_each(set_default);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

#[expect(
    unsafe_code,
    reason = "nix reads no disposition without setting one, and knows no real-time signals"
)]
fn is_ignored(signal: i32) -> bool {
    // SAFETY: a zeroed `sigaction` is a valid one, and the call only writes into it.
    unsafe {
        let mut now: libc::sigaction = mem::zeroed();
        libc::sigaction(signal, ptr::null(), &raw mut now) == 0 && now.sa_sigaction == libc::SIG_IGN
    }
}

/// Signals that cannot be changed, and numbers that are none, stay as they are.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "the C library keeps two signals for itself, which a parent may have left ignored"
)]
fn set_default(signal: i32) {
    // The kernel's structure: 8 bytes of handler, flags, restorer and mask each, in whatever order. Zero is the default.
    let default = [0_u64; 4];
    // SAFETY: the default disposition runs no code of ours, and the kernel only reads the structure.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            default.as_ptr(),
            ptr::null_mut::<u64>(),
            SET_SIZE,
        );
    }
}

/// Signals that cannot be changed, and numbers that are none, stay as they are.
#[cfg(not(target_os = "linux"))]
#[expect(unsafe_code, reason = "nix knows no real-time signals")]
fn set_default(signal: i32) {
    // SAFETY: a zeroed `sigaction` is the default disposition with an empty mask; it runs no code of ours.
    unsafe {
        let default: libc::sigaction = mem::zeroed();
        libc::sigaction(signal, &raw const default, ptr::null_mut());
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use nix::sys::signal::{SigHandler, Signal, signal};

    use super::*;

    /// Signal sets of a child that calls `reset` if `clean`, as the kernel shows them.
    #[expect(unsafe_code, reason = "pre_exec")]
    fn sets_of_a_child(clean: bool) -> (String, String) {
        let mut command = Command::new("cat");
        command.arg("/proc/self/status");
        // SAFETY: the closure only makes system calls.
        unsafe {
            command.pre_exec(move || {
                signal(Signal::SIGHUP, SigHandler::SigIgn)?;
                signal(Signal::SIGINT, SigHandler::SigIgn)?;
                libc::signal(LAST - 1, libc::SIG_IGN);
                sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::from(Signal::SIGTTOU)), None)?;
                if clean {
                    reset()?;
                }
                Ok(())
            });
        }
        let output = command.output().expect("there is `cat`");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let of = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_default().trim().to_owned()
        };
        (of("SigIgn:"), of("SigBlk:"))
    }

    #[test]
    fn a_child_starts_with_all_defaults_and_an_empty_mask() {
        let none = "0".repeat(16);
        let (ignored, blocked) = sets_of_a_child(false);
        assert!(ignored != none && blocked != none, "{ignored} {blocked}");
        assert_eq!(sets_of_a_child(true), (none.clone(), none));
    }
}
