//! Access check of the control socket: whoever can open it commands the machine, so no module may, nor what descends from one.
//!
//! A module runs as the machine's user unless its `sandbox` says otherwise, so the mode of the socket alone keeps it out of nothing.
//! All that a module forks stays among the descendants of the core and its guardian, which are subreapers: daemons that left
//! session and parent, too. Its cgroup is a second sign, which it bears even if it were adopted elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[cfg(target_os = "linux")]
use nix::errno::Errno;
#[cfg(target_os = "linux")]
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
#[cfg(target_os = "linux")]
use nix::sys::signal::kill;
#[cfg(target_os = "linux")]
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Pid;
#[cfg(target_os = "linux")]
use std::os::fd::AsFd as _;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
#[cfg(target_os = "linux")]
use tokio::time::timeout;

#[cfg(target_os = "linux")]
use crate::cgroup::unified;
use crate::guardian;
#[cfg(target_os = "linux")]
use crate::process_table::look;

/// Most generations that are looked through, those of a family that changes meanwhile counted again. More than any shell has: a
/// module that forks a longer chain is sent away all the same, after some 20 ms.
#[cfg(target_os = "linux")]
const GENERATIONS: usize = 1024;

/// Longest wait for a look: modules that connect over and over stand in the same line.
const PATIENCE: Duration = Duration::from_secs(2);

/// Processes of the modules of this machine, as far as they can be told from others.
#[derive(Debug, Clone)]
pub struct ModuleProcesses {
    /// The core and its guardian. What descends from them is a module's.
    ancestors: Vec<Pid>,
    /// Cgroup above those of the modules, as `/proc/PID/cgroup` shows it.
    cgroup: Option<PathBuf>,
    /// Looks at once: whoever connects over and over from below many shells takes one thread, not all that may wait.
    looks: Arc<Semaphore>,
}

/// Reason for letting a process command nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlRefused {
    /// It is a module's.
    #[error(
        "process {pid} ({name}) belongs to a module of this machine, and modules may not command it: whoever uses the command line does so from a shell that no module has started"
    )]
    Module {
        /// Process id.
        pid: i32,
        /// Its name.
        name: String,
    },
    /// It ended, and somebody else may hold its connection.
    #[error("process {pid}, which made the connection, has ended")]
    Gone {
        /// Process id.
        pid: i32,
    },
    /// The system hides it.
    #[error(
        "this system hides process {pid} of user {uid} (`hidepid`), so it cannot be told from one of a module; use the command line as the machine's own user, or as root"
    )]
    Hidden {
        /// Process id.
        pid: i32,
        /// User id.
        uid: u32,
    },
    /// The system does not say who it is.
    #[error("the system does not tell who called: {0}")]
    Unknown(String),
    /// Too many were looked at before it.
    #[error("nobody could look who pid {pid} is within {PATIENCE:?}, because many others want to be let in: try again")]
    Late {
        /// Its number.
        pid: i32,
    },
}

impl ModuleProcesses {
    /// Those of this core, whose modules have cgroups below `cgroup` if they have any.
    pub fn of_this_core(cgroup: Option<&Path>) -> Self {
        let guardian = guardian::is_guarded().then(Pid::parent);
        Self {
            ancestors: std::iter::once(Pid::this()).chain(guardian).collect(),
            cgroup: cgroup.map(Path::to_owned),
            looks: Arc::new(Semaphore::new(1)),
        }
    }

    /// Lets the process at the other end of a connection in, unless it is a module's.
    ///
    /// # Errors
    /// It is, or nobody can tell.
    #[cfg(target_os = "linux")]
    pub async fn admit(&self, io: &UnixStream) -> Result<(), ControlRefused> {
        let unknown = |error: &dyn std::fmt::Display| ControlRefused::Unknown(error.to_string());
        let peer = io.peer_cred().map_err(|error| unknown(&error))?;
        let pid = peer.pid().unwrap_or_default();
        // It is in no namespace below ours, where all that descends from us is.
        if pid == 0 {
            return Ok(());
        }
        // Holds the number: as long as it names a living process, no other one has it. Kernels before 6.5 have none.
        let held = getsockopt(io, sockopt::PeerPidfd).ok();
        let (modules, uid) = (self.clone(), peer.uid());
        let found = timeout(PATIENCE, async {
            let turn = self.looks.clone().acquire_owned().await;
            let look = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                modules.judge(pid, uid)
            });
            look.await.unwrap_or_else(|error| Err(unknown(&error)))
        });
        let found = found.await.unwrap_or(Err(ControlRefused::Late { pid }));
        let ended = held.is_some_and(|held| {
            let mut ends = [PollFd::new(held.as_fd(), PollFlags::POLLIN)];
            poll(&mut ends, PollTimeout::ZERO).is_ok_and(|count| count > 0)
        });
        if ended {
            return Err(ControlRefused::Gone { pid });
        }
        found
    }

    /// Lets everybody in: this system does not tell who called.
    ///
    /// # Errors
    /// None.
    #[cfg(not(target_os = "linux"))]
    pub async fn admit(&self, _: &UnixStream) -> Result<(), ControlRefused> {
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn judge(&self, pid: i32, uid: u32) -> Result<(), ControlRefused> {
        let Some(process) = look(pid) else {
            return match (kill(Pid::from_raw(pid), None), uid) {
                (Err(Errno::ESRCH), _) => Err(ControlRefused::Gone { pid }),
                // Root may be anybody anyway.
                (_, 0) => Ok(()),
                _ => Err(ControlRefused::Hidden { pid, uid }),
            };
        };
        let modules = || ControlRefused::Module {
            pid,
            name: process.name.clone(),
        };
        if self.is_in_cgroup(pid) {
            return Err(modules());
        }
        let mut left = GENERATIONS;
        while left > 0 {
            match self.descends(pid, &mut left) {
                Some(true) => return Err(modules()),
                Some(false) => return Ok(()),
                None => {}
            }
        }
        // It was adopted again and again, which nobody does who only wants to look at a machine.
        Err(modules())
    }

    #[cfg(target_os = "linux")]
    fn is_in_cgroup(&self, pid: i32) -> bool {
        let Some(modules) = &self.cgroup else { return false };
        let there = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
        there.is_ok_and(|text| unified(&text).is_some_and(|cgroup| cgroup.starts_with(modules)))
    }

    /// Whether a process descends from the core or the guardian, as far as so many generations tell. `None` if its family changed
    /// meanwhile.
    #[cfg(target_os = "linux")]
    fn descends(&self, pid: i32, left: &mut usize) -> Option<bool> {
        *left -= 1;
        let mut below = look(pid)?;
        while *left > 0 {
            *left -= 1;
            let parent = below.parent;
            if self.ancestors.iter().any(|ancestor| ancestor.as_raw() == parent) {
                return Some(true);
            }
            if parent <= 1 {
                return Some(false);
            }
            let above = look(parent);
            // Whoever loses its parent gets another one: the number is that of a stranger by now, or of nobody.
            if look(below.pid).is_none_or(|now| now.parent != parent || now.started != below.started) {
                return None;
            }
            below = match above {
                Some(above) => above,
                None if kill(Pid::from_raw(parent), None) == Err(Errno::ESRCH) => return None,
                // Hidden, as root's processes are from others with `hidepid`: a login.
                None => return Some(false),
            };
        }
        Some(true)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn uid() -> u32 {
        nix::unistd::getuid().as_raw()
    }

    fn below(ancestor: i32) -> ModuleProcesses {
        ModuleProcesses {
            ancestors: vec![Pid::from_raw(ancestor)],
            cgroup: None,
            looks: Arc::new(Semaphore::new(1)),
        }
    }

    fn sleeper() -> Child {
        Command::new("sleep").arg("1000").spawn().expect("there is `sleep`")
    }

    #[test]
    fn what_descends_from_the_core_is_a_modules_and_nothing_else_is() {
        let own = Pid::this().as_raw();
        let mut child = sleeper();
        let pid = child.id().cast_signed();
        let refused = below(own).judge(pid, uid());
        assert!(
            matches!(&refused, Err(ControlRefused::Module { pid: found, .. }) if *found == pid),
            "{refused:?}"
        );
        // The core is no module of its own, and its parent does not descend from it.
        assert_eq!(below(own).judge(own, uid()), Ok(()));
        assert_eq!(below(own).judge(Pid::parent().as_raw(), uid()), Ok(()));
        // A stranger: a sibling, so to speak.
        assert_eq!(below(i32::MAX).judge(pid, uid()), Ok(()));
        // One below more generations than are looked through is a module's, whoever is above.
        let mut few = 1;
        assert_eq!((below(i32::MAX).descends(pid, &mut few), few), (Some(true), 0));
        child.kill().expect("ours");
        child.wait().expect("ours");
        assert_eq!(below(own).judge(pid, uid()), Err(ControlRefused::Gone { pid }));
    }

    #[tokio::test]
    async fn whoever_made_a_connection_is_told_by_the_socket() {
        let (one, _other) = UnixStream::pair().expect("a pair of sockets");
        assert_eq!(below(Pid::this().as_raw()).admit(&one).await, Ok(()));
        let parent = Pid::parent().as_raw();
        if parent > 1 {
            let refused = below(parent).admit(&one).await.expect_err("a child of it").to_string();
            assert!(refused.contains("belongs to a module of this machine"), "{refused}");
        }
    }

    #[test]
    fn what_is_in_the_cgroup_of_a_module_is_a_modules() {
        let own = std::fs::read_to_string("/proc/self/cgroup").ok();
        let Some(own) = own.and_then(|text| unified(&text)) else {
            return;
        };
        let modules = ModuleProcesses {
            cgroup: Some(own),
            ..below(i32::MAX)
        };
        assert!(modules.judge(Pid::this().as_raw(), uid()).is_err());
    }
}
