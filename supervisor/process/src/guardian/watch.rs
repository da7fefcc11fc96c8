//! The guardian's own life: pass signals on until the core ends, then end what it left behind.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, raise, signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::handover::Handover;
use super::{handover, terminate};
use crate::process_table;
use crate::runtime_dir::Leftover;
use crate::signals;
use crate::signals::Inherited;

/// Limit for a reader of stderr to keep the guardian waiting.
const READER: Duration = Duration::from_millis(100);

/// Exit of the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CoreExit {
    Exit(i32),
    Killed(Signal),
}

/// The signals that the guardian takes instead of suffering them.
#[derive(Debug)]
pub(super) struct Signals(SignalFd);

/// Reaction to a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignalReaction {
    /// The core gets it.
    Forward,
    /// The core gets it, and both pause until they are continued.
    Pause,
    /// A child has ended.
    Look,
}

fn reaction(signal: Signal) -> SignalReaction {
    match signal {
        Signal::SIGCHLD => SignalReaction::Look,
        Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU => SignalReaction::Pause,
        _ => SignalReaction::Forward,
    }
}

/// Signals that the guardian handles: all but those that cannot be handled, those that a fault of our own raises, and
/// SIGPIPE, which Rust ignores.
fn handled_signals() -> SigSet {
    use Signal::{SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGPIPE, SIGSEGV, SIGSTOP, SIGSYS, SIGTRAP};
    let suffered = [
        SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGPIPE, SIGSEGV, SIGSTOP, SIGSYS, SIGTRAP,
    ];
    Signal::iterator().filter(|signal| !suffered.contains(signal)).collect()
}

impl Signals {
    /// Blocks what is to be taken, so that nothing is lost between the fork and the first look. A parent may have left SIGCHLD
    /// ignored, and then the kernel would throw exit statuses away.
    pub fn take() -> nix::Result<(Self, Inherited)> {
        let inherited = signals::start_clean(&handled_signals())?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok((Self(SignalFd::with_flags(&handled_signals(), flags)?), inherited))
    }

    /// The next one that has come.
    fn next(&self) -> Option<Signal> {
        let info = self.0.read_signal().ok().flatten()?;
        Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
    }

    /// Waits until one comes, for `limit` at most.
    fn wait(&self, limit: PollTimeout) {
        let _either = poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], limit);
    }
}

/// Guards the core to its end and ends what it left behind; returns what the process is to exit with, unless that is a
/// signal's death, which it dies here and now. `last_reaper` lives to the last moment.
pub(super) fn guard(core: Pid, last_reaper: Pid, signals: &Signals, socket: OwnedFd) -> ExitCode {
    let mut passed_on = BTreeSet::new();
    let end = loop {
        if let Some(end) = ended(core) {
            break end;
        }
        signals.wait(PollTimeout::NONE);
        while let Some(signal) = signals.next() {
            match reaction(signal) {
                SignalReaction::Look => {}
                SignalReaction::Forward => {
                    passed_on.insert(signal);
                    let _gone = kill(core, signal);
                }
                SignalReaction::Pause => {
                    let _gone = kill(core, Signal::SIGTSTP);
                    let _paused = raise(Signal::SIGSTOP);
                    let _gone = kill(core, Signal::SIGCONT);
                }
            }
        }
    };
    let Handover { directory, lock } = handover::read(socket.as_fd());
    let leftover = directory.and_then(|directory| Leftover::take(directory, lock));
    let left = terminate::end_descendants(Some(last_reaper.as_raw()), |limit| {
        signals.wait(PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO));
        // Whoever presses Ctrl-C once more gets what is under way already.
        while signals.next().is_some() {}
    });
    let cgroups = leftover.map(Leftover::remove).unwrap_or_default();
    let mut text = terminate::name(&left);
    for cgroup in cgroups {
        text += &format!("warning: cgroup `{}` could not be removed\n", cgroup.display());
    }
    if let CoreExit::Killed(signal) = end
        && !passed_on.contains(&signal)
    {
        text += &format!("error: the core was killed by {signal}; what it left behind was ended\n");
    }
    print(&text);
    // If it ended before, it was reaped, and its number may be somebody else's.
    if process_table::look(last_reaper.as_raw()).is_some_and(|process| process.parent == Pid::this().as_raw()) {
        let _gone = kill(last_reaper, Signal::SIGKILL);
        let _reaped = waitpid(last_reaper, None);
    }
    finish(end)
}

/// Exit of the core, if it has ended. Reaps whatever else has ended.
fn ended(core: Pid) -> Option<CoreExit> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == core => return Some(CoreExit::Exit(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == core => return Some(CoreExit::Killed(signal)),
            Ok(WaitStatus::StillAlive) => return None,
            Ok(_) | Err(Errno::EINTR) => {}
            // The core is our child until we reap it, so this cannot be; if it is, there is nothing to guard.
            Err(_) => return Some(CoreExit::Exit(1)),
        }
    }
}

/// Ends this process as the core ended, so that its parent sees no difference.
#[expect(unsafe_code, reason = "setting a signal's disposition has no safe wrapper")]
fn finish(end: CoreExit) -> ExitCode {
    match end {
        CoreExit::Exit(code) => ExitCode::from(code.to_le_bytes()[0]),
        CoreExit::Killed(fatal) => {
            // The core has left its dump; ours would hide it.
            let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
            // SAFETY: the default disposition runs no code of ours.
            let _ = unsafe { signal(fatal, SigHandler::SigDfl) };
            let _ = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&SigSet::from(fatal)), None);
            let _ = raise(fatal);
            // The first process of a container survives that.
            ExitCode::from(128_u8.wrapping_add((fatal as i32).to_le_bytes()[0]))
        }
    }
}

/// Writes to stderr, unless its reader sleeps.
fn print(text: &str) {
    if text.is_empty() {
        return;
    }
    let stderr = std::io::stderr();
    let limit = PollTimeout::try_from(READER).unwrap_or(PollTimeout::ZERO);
    let ready = poll(&mut [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)], limit);
    if ready.is_ok_and(|ready| ready > 0) {
        let _ = nix::unistd::write(stderr.as_fd(), text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_one_meaning() {
        for (signal, expected) in [
            (Signal::SIGTERM, SignalReaction::Forward),
            (Signal::SIGINT, SignalReaction::Forward),
            (Signal::SIGHUP, SignalReaction::Forward),
            (Signal::SIGABRT, SignalReaction::Forward),
            (Signal::SIGCONT, SignalReaction::Forward),
            (Signal::SIGTSTP, SignalReaction::Pause),
            (Signal::SIGCHLD, SignalReaction::Look),
        ] {
            assert_eq!(reaction(signal), expected, "{signal}");
            assert!(handled_signals().contains(signal), "{signal}");
        }
        for signal in [Signal::SIGKILL, Signal::SIGSTOP, Signal::SIGSEGV, Signal::SIGPIPE] {
            assert!(!handled_signals().contains(signal), "{signal}");
        }
    }

    #[test]
    fn an_exit_code_is_passed_on_as_it_is() {
        for code in [0_u8, 1, 7, 255] {
            assert_eq!(finish(CoreExit::Exit(i32::from(code))), ExitCode::from(code));
        }
    }
}
