//! The processes of `mainstay run`: the guardian, which does nothing but outlive, and the core, which does the work.
//!
//! The core may be killed at any moment, with SIGKILL too. Its guardian then gives what it left behind a moment to stop
//! motors, kills it, reaps it, and removes the runtime directory and the cgroups. Both are subreapers, so a daemon that
//! left its session and its parent is still a descendant of theirs. If the guardian dies, the core learns it from the
//! kernel and by the socket between them; it stops in order and does at its end what the guardian would have done. If
//! both die at once, a third process, the last reaper (`undertaker` in process lists), ends what carries the machine's
//! mark.
//!
//! `watch` is the guardian's life, `terminate` how descendants are ended, `handover` what the core sends it,
//! `last_reaper` the third process, `leftovers` how it and the next start find what is left, `children` which processes
//! the core spawned itself.

pub mod children;
#[cfg(target_os = "linux")]
mod handover;
#[cfg(target_os = "linux")]
mod last_reaper;
pub mod leftovers;
#[cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "there is no subreaper, so nobody has descendants")
)]
mod terminate;
#[cfg(target_os = "linux")]
mod watch;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UnixStream;

use crate::signals::Inherited;

/// Role of this process after the fork.
#[derive(Debug)]
pub enum Side {
    /// The guardian, when all is over: what to exit with.
    Guardian(ExitCode),
    /// The core, from the start.
    Core(GuardianLink),
}

/// The core's end of what ties it to its guardian.
#[derive(Debug, Default)]
pub struct GuardianLink {
    /// `None` where there is no guardian.
    socket: Option<std::os::unix::net::UnixStream>,
    /// Keeps the last reaper asleep.
    pipe: Option<io::PipeWriter>,
    inherited: Inherited,
}

/// True in a core that has a guardian, and so needs no death signal for its modules.
static GUARDED: AtomicBool = AtomicBool::new(false);

/// True in a core that has a guardian, which will send the modules SIGTERM if the core dies.
pub fn is_guarded() -> bool {
    GUARDED.load(Ordering::Relaxed)
}

/// Forks. The guardian returns from here when the core has ended and nothing of it is left.
///
/// To be called before there is a second thread, and before anything that must not be there twice.
///
/// # Errors
/// The system refuses a process, a socket or a signal descriptor.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "fork")]
pub fn split() -> io::Result<Side> {
    use nix::unistd::{ForkResult, Pid, fork, getpid, setpgid};
    let (ours, cores) = std::os::unix::net::UnixStream::pair()?;
    let (asleep, pipe) = io::pipe()?;
    let (signals, inherited) = watch::Signals::take()?;
    // Before the fork: whatever happens from now on, nothing gets lost to a process further up.
    nix::sys::prctl::set_child_subreaper(true)?;
    let guardian = getpid();
    // SAFETY: there is one thread, so the child has everything that this process has.
    let last_reaper = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            drop((ours, cores, signals, pipe));
            return Ok(Side::Guardian(last_reaper::wait(asleep)));
        }
    };
    drop(asleep);
    // SAFETY: there is one thread, so the child has everything that this process has.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            drop(cores);
            // Both sides do it, so that it is done whoever comes first.
            let _done = setpgid(child, child);
            let ended = watch::guard(child, last_reaper, &signals, ours.into());
            drop(pipe);
            Ok(Side::Guardian(ended))
        }
        ForkResult::Child => {
            drop((ours, signals));
            enter(guardian)?;
            // A group of its own: Ctrl-C, and `kill -9 %1`, reach the guardian alone, and the guardian passes on.
            setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
            GUARDED.store(true, Ordering::Relaxed);
            Ok(Side::Core(GuardianLink {
                socket: Some(cores),
                pipe: Some(pipe),
                inherited,
            }))
        }
    }
}

/// First steps of the core after the fork: subreaper, death signal, signal mask.
#[cfg(target_os = "linux")]
fn enter(guardian: nix::unistd::Pid) -> io::Result<()> {
    use nix::sys::prctl::{set_child_subreaper, set_pdeathsig};
    use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
    set_child_subreaper(true)?;
    set_pdeathsig(Signal::SIGTERM)?;
    if nix::unistd::getppid() != guardian {
        return Err(io::Error::other("the guardian ended while the core started"));
    }
    // A terminal with `tostop` set would stop whoever writes from outside its foreground group, as the core does.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::from(Signal::SIGTTOU)), None)?;
    Ok(())
}

/// Never splits: there is no subreaper here, so a guardian would find nothing to end, and the core runs alone. What a killed
/// core leaves behind then is ended by nobody, and its runtime directory is cleared by the next start.
#[cfg(not(target_os = "linux"))]
pub fn split() -> io::Result<Side> {
    let inherited = crate::signals::start_clean(&nix::sys::signal::SigSet::empty())?;
    Ok(Side::Core(GuardianLink {
        inherited,
        ..GuardianLink::default()
    }))
}

impl GuardianLink {
    /// Dispositions of signals that the machine was started with.
    pub fn inherited(&self) -> Inherited {
        self.inherited
    }

    /// Sends the path of the coming runtime directory to the guardian, before it is made.
    ///
    /// # Errors
    /// The guardian is gone.
    pub fn send_directory(&self, directory: &Path) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let (Some(socket), Some(mut pipe)) =
            (&self.socket, self.pipe.as_ref().and_then(|pipe| pipe.try_clone().ok()))
        {
            use std::os::fd::AsFd;
            last_reaper::send_directory(&mut pipe, directory)?;
            return handover::send_directory(socket.as_fd(), directory);
        }
        let _nobody = directory;
        Ok(())
    }

    /// Hands the lock of the runtime directory to the guardian, too, so that nobody takes it while the guardian clears up.
    ///
    /// # Errors
    /// The guardian is gone.
    pub fn send_lock(&self, lock: BorrowedFd<'_>) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(socket) = &self.socket {
            use std::os::fd::AsFd;
            return handover::send_lock(socket.as_fd(), lock);
        }
        let _nobody = lock;
        Ok(())
    }

    /// Sender of a lock that is taken later.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn lock_sender(&self) -> io::Result<LockSender> {
        let socket = self.socket.as_ref().map(|socket| socket.try_clone()).transpose()?;
        Ok(LockSender { socket })
    }

    /// Waits for the guardian's death. In the event loop's context.
    ///
    /// # Errors
    /// The event loop does not take the socket.
    pub fn watch(&self) -> io::Result<Lifeline> {
        let socket = match &self.socket {
            Some(socket) => {
                socket.set_nonblocking(true)?;
                Some(UnixStream::from_std(socket.try_clone()?)?)
            }
            None => None,
        };
        Ok(Lifeline { socket })
    }

    /// True once the guardian is dead. For after `watch`.
    pub fn is_cut(&self) -> bool {
        self.socket
            .as_ref()
            .is_some_and(|mut socket| ended(io::Read::read(&mut socket, &mut [0; 8])))
    }
}

/// Sender of locks to the guardian; the last one counts.
#[derive(Debug, Default)]
pub struct LockSender {
    socket: Option<std::os::unix::net::UnixStream>,
}

impl LockSender {
    /// Hands over the lock of a runtime directory that was made anew.
    ///
    /// # Errors
    /// The guardian is gone.
    pub fn send(&self, lock: &impl std::os::fd::AsFd) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(socket) = &self.socket {
            return handover::send_lock(std::os::fd::AsFd::as_fd(socket), lock.as_fd());
        }
        let _nobody = lock;
        Ok(())
    }
}

/// True if a read of the socket means that the other side ended: the guardian never writes, so what can be read is the end.
fn ended(read: io::Result<usize>) -> bool {
    match read {
        Ok(count) => count == 0,
        Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
    }
}

/// Signals the end of the guardian to the core.
#[derive(Debug)]
pub struct Lifeline {
    socket: Option<UnixStream>,
}

impl Lifeline {
    /// Returns when the guardian is dead. Never, where there is none.
    pub async fn cut(&self) {
        let Some(socket) = &self.socket else {
            return std::future::pending().await;
        };
        while !ended(socket.try_read(&mut [0; 8])) {
            if socket.readable().await.is_err() {
                return;
            }
        }
    }
}

/// Ends whatever descends from this process: what the guardian would do if it lived. Takes a second at most, as a rule;
/// nothing in this process may wait for a child any more. Returns a text that names what could not be ended.
pub fn end_descendants() -> String {
    #[cfg(target_os = "linux")]
    {
        terminate::name(&terminate::end_descendants(None, std::thread::sleep))
    }
    #[cfg(not(target_os = "linux"))]
    String::new()
}
