//! Access check of a module's parent socket: processes of the module may talk there, others of the same user may not.
//!
//! The module's task says who that is before its process runs; the listener asks at every connection.

use std::time::Duration;

use nix::unistd::Pid;
use tokio::net::unix::UCred;
use tokio::sync::watch;

use crate::members::Members;

/// Grace for a process that calls before the task that spawned it has its number.
const NUMBER_IS_LATE: Duration = Duration::from_millis(500);

/// Current members of a module, and their user.
#[derive(Debug, Clone)]
struct CurrentMembers {
    members: Members,
    uid: u32,
}

/// The module's side.
#[derive(Debug)]
pub struct Announcer(watch::Sender<Option<CurrentMembers>>);

/// The listener's side.
#[derive(Debug, Clone)]
pub struct AllowedPeers(watch::Receiver<Option<CurrentMembers>>);

/// Announcer and checker of one module, with no members yet.
pub fn pair() -> (Announcer, AllowedPeers) {
    let (announcer, allowed_peers) = watch::channel(None);
    (Announcer(announcer), AllowedPeers(allowed_peers))
}

impl Announcer {
    /// Replaces the members of the module, which run as `uid`.
    pub fn announce(&self, members: Members, uid: u32) {
        self.0.send_replace(Some(CurrentMembers { members, uid }));
    }
}

/// Reason for closing a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefused {
    /// The peer runs as another user.
    #[error(
        "process {pid} runs as user {uid}, not as the module's user {expected}; `sandbox.user` starts a module as another user"
    )]
    User {
        /// Process id of the peer.
        pid: i32,
        /// User id of the peer.
        uid: u32,
        /// The module's user.
        expected: u32,
    },
    /// The peer does not descend from the module.
    #[error("process {pid} does not belong to the module")]
    Process {
        /// Process id of the peer.
        pid: i32,
    },
}

impl AllowedPeers {
    /// Current members of the module; empty while none of its processes runs.
    pub fn members(&self) -> Members {
        let known = self.0.borrow();
        known.as_ref().map(|known| known.members.clone()).unwrap_or_default()
    }

    /// Lets a peer in that belongs to the module.
    ///
    /// # Errors
    /// It does not, or not within half a second.
    pub async fn admit(&self, peer: UCred) -> Result<(), PeerRefused> {
        let mut known = self.0.clone();
        let patience = tokio::time::sleep(NUMBER_IS_LATE);
        tokio::pin!(patience);
        loop {
            let judged = judge(known.borrow_and_update().as_ref(), peer);
            let Err(stranger) = judged else { return Ok(()) };
            tokio::select! {
                Ok(()) = known.changed() => {}
                () = &mut patience => return Err(stranger),
            }
        }
    }
}

fn judge(known: Option<&CurrentMembers>, peer: UCred) -> Result<(), PeerRefused> {
    // Systems that do not tell the process tell the user, at least.
    let pid = peer.pid().unwrap_or_default();
    let Some(CurrentMembers { members, uid }) = known else {
        return Err(PeerRefused::Process { pid });
    };
    // Root may be anybody anyway: what the module runs by `sudo` is still the module's.
    if peer.uid() != *uid && peer.uid() != 0 {
        return Err(PeerRefused::User {
            pid,
            uid: peer.uid(),
            expected: *uid,
        });
    }
    if cfg!(target_os = "linux") && !members.contain(Pid::from_raw(pid)) {
        return Err(PeerRefused::Process { pid });
    }
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use nix::unistd::{getsid, getuid};
    use tokio::net::UnixStream;

    use super::*;

    fn ourselves() -> UCred {
        let (one, _other) = UnixStream::pair().expect("a pair of sockets");
        one.peer_cred().expect("the system tells")
    }

    fn our_session() -> Members {
        Members {
            group: None,
            leader: Some(getsid(None).expect("we have a session")),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_belongs_to_the_module_comes_in() {
        let own = getuid().as_raw();
        let (announcer, allowed_peers) = pair();
        let pid = Pid::this().as_raw();
        let peer = ourselves();
        assert_eq!(allowed_peers.admit(peer).await, Err(PeerRefused::Process { pid }));
        announcer.announce(our_session(), own);
        assert_eq!(allowed_peers.admit(peer).await, Ok(()));
        announcer.announce(Members::default(), own);
        assert_eq!(allowed_peers.admit(peer).await, Err(PeerRefused::Process { pid }));
        announcer.announce(our_session(), own + 1);
        let expected = match own {
            0 => Ok(()),
            uid => Err(PeerRefused::User {
                pid,
                uid,
                expected: own + 1,
            }),
        };
        assert_eq!(allowed_peers.admit(peer).await, expected);
    }

    #[tokio::test]
    async fn a_process_that_calls_before_its_number_is_known_is_not_sent_away() {
        let (announcer, allowed_peers) = pair();
        announcer.announce(Members::default(), getuid().as_raw());
        let (admitted, ()) = tokio::join!(allowed_peers.admit(ourselves()), async {
            tokio::task::yield_now().await;
            announcer.announce(our_session(), getuid().as_raw());
        });
        assert_eq!(admitted, Ok(()));
    }
}
