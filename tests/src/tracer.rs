//! Debugger that stops a process by ptrace(2) until it is dropped.

use std::io;
use std::ptr;
use std::sync::mpsc;
use std::thread;

use nix::libc;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Tracer of the main thread of a process, which is stopped. Dropping it resumes the process.
#[derive(Debug)]
pub struct Tracer {
    /// Closed to resume the process.
    hold: Option<mpsc::Sender<()>>,
    /// Thread that does all ptrace calls: for the kernel a thread is the tracer, not a process.
    thread: Option<thread::JoinHandle<()>>,
}

impl Tracer {
    /// Attaches to a process, and returns once it is stopped.
    ///
    /// # Errors
    /// The kernel's error: the process is traced already, or permission is denied.
    pub fn attach(pid: i32) -> io::Result<Self> {
        let (hold, let_go) = mpsc::channel::<()>();
        let (held, done) = mpsc::channel();
        let thread = thread::spawn(move || {
            let attached = ptrace(libc::PTRACE_ATTACH, pid).and_then(|()| await_stop(pid));
            let attached_well = attached.is_ok();
            let _ = held.send(attached);
            if attached_well {
                // Ends when the sender is dropped: nothing is ever sent.
                let _ = let_go.recv();
                let _ = ptrace(libc::PTRACE_DETACH, pid);
            }
        });
        let attached = done.recv().expect("the thread says how it went");
        let tracer = Self {
            hold: Some(hold),
            thread: Some(thread),
        };
        attached.map(|()| tracer)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.hold.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn await_stop(pid: i32) -> io::Result<()> {
    match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::__WALL))? {
        WaitStatus::Stopped(..) => Ok(()),
        other => Err(io::Error::other(format!("process {pid} did not stop: {other:?}"))),
    }
}

fn ptrace(request: libc::c_uint, pid: i32) -> io::Result<()> {
    #[expect(
        unsafe_code,
        reason = "the feature of nix for this would make it another nix for the server"
    )]
    // SAFETY: these requests take no addresses and touch no memory of ours.
    let outcome = unsafe {
        libc::ptrace(
            request,
            pid,
            ptr::null_mut::<libc::c_void>(),
            ptr::null_mut::<libc::c_void>(),
        )
    };
    if outcome == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::proc;

    #[test]
    fn a_process_stands_still_while_it_is_held() {
        let mut child = Command::new("sleep").arg("1000").spawn().expect("sleep starts");
        let pid = i32::try_from(child.id()).expect("process ids are small");
        let state = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
            stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next())
        };
        let tracer = Tracer::attach(pid).expect("a child of ours");
        assert_eq!(state(), Some(Some('t')));
        assert!(Tracer::attach(pid).is_err(), "it has its tracer");
        drop(tracer);
        assert_ne!(state(), Some(Some('t')));
        assert!(proc::alive(pid));
        child.kill().expect("it is ours");
        child.wait().expect("it ends");
    }
}
