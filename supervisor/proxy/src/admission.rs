//! Connections of clients: how many there may be, in all and of one peer, and which of them makes room for a new one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Instant;

use mainstay_model::held::{Account, Everybody};
use tokio_util::sync::CancellationToken;

/// Connections in all: at 40 kB each, the most of an idle one with TLS, no more than 160 MB.
const MAX: usize = 4_096;
/// Connections of one other host. A program has two; a host behind which many hide has room for a hundred programs.
const MAX_PER_HOST: usize = 256;
/// Connections of this host, whose programs could do worse than connect.
const MAX_LOCAL: usize = 2_048;

/// Mark of a connection with calls in flight.
const BUSY: u64 = u64::MAX;

/// Activity of one connection: when it fell idle, or that it is not; and the account of what it has the core hold.
#[derive(Debug, Default)]
pub struct Activity {
    idle_since: AtomicU64,
    pub(crate) account: Account,
}

impl Activity {
    /// A call began.
    pub fn begin(&self) {
        self.idle_since.store(BUSY, Ordering::Relaxed);
    }

    /// The last call ended.
    pub fn end(&self) {
        self.idle_since.store(now(), Ordering::Relaxed);
    }
}

/// Milliseconds of this process.
fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or_default()
}

/// Connections of all listeners for clients.
#[derive(Debug, Clone, Default)]
pub struct ClientConnections(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    /// Number of the next connection.
    next: u64,
    connections: HashMap<u64, Entry>,
    everybody: Everybody,
}

#[derive(Debug, Clone)]
struct Entry {
    peer: IpAddr,
    activity: Arc<Activity>,
    close: CancellationToken,
    closed: CancellationToken,
}

/// Place of one connection, until it is dropped. Drop it after the socket.
#[derive(Debug)]
pub struct Admitted {
    number: u64,
    connections: ClientConnections,
    /// Activity of the connection.
    pub activity: Arc<Activity>,
    /// Cancelled when the connection is to end, because it is idle and others need its place.
    pub close: CancellationToken,
    closed: CancellationToken,
}

impl ClientConnections {
    /// A place for a connection of `peer`, which ends with `stop`. The longest idle one makes room: of this peer, if it has as many
    /// as it may, else of all. `None` if none is idle.
    pub fn admit(&self, peer: IpAddr, stop: &CancellationToken) -> Option<Admitted> {
        let peer = peer.to_canonical();
        let most = if peer.is_loopback() { MAX_LOCAL } else { MAX_PER_HOST };
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.connections.values().filter(|entry| entry.peer == peer).count() >= most {
            open.close_one(Some(peer))?;
        } else if open.connections.len() >= MAX {
            open.close_one(None)?;
        }
        let same_peer = open.connections.values().find(|entry| entry.peer == peer);
        let account = same_peer.map(|entry| entry.activity.account.beside());
        let activity = Arc::new(Activity {
            idle_since: now().into(),
            account: account.unwrap_or_else(|| Account::of_peer(peer, &open.everybody)),
        });
        let (close, closed) = (stop.child_token(), CancellationToken::new());
        let number = open.next;
        open.next += 1;
        let entry = Entry {
            peer,
            activity: activity.clone(),
            close: close.clone(),
            closed: closed.clone(),
        };
        open.connections.insert(number, entry);
        Some(Admitted {
            number,
            connections: self.clone(),
            activity,
            close,
            closed,
        })
    }

    /// Ends the connection that has been idle longest. Gives what is cancelled when its socket is closed; `None` if none is idle.
    pub fn make_room(&self) -> Option<CancellationToken> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.close_one(None)
    }
}

impl Open {
    fn close_one(&mut self, of: Option<IpAddr>) -> Option<CancellationToken> {
        let idle = self.connections.iter().filter_map(|(number, entry)| {
            let since = entry.activity.idle_since.load(Ordering::Relaxed);
            let counts = since != BUSY && of.is_none_or(|peer| peer == entry.peer);
            counts.then_some((since, *number))
        });
        let (_, oldest) = idle.min()?;
        let entry = self.connections.remove(&oldest)?;
        entry.close.cancel();
        Some(entry.closed)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.connections.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.connections.remove(&self.number);
        self.closed.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_one_makes_room_and_a_busy_one_never() {
        let (all, stop) = (ClientConnections::default(), CancellationToken::new());
        let [host, other]: [IpAddr; 2] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        let mut of_host: Vec<_> = (0..MAX_PER_HOST).filter_map(|_| all.admit(host, &stop)).collect();
        assert_eq!(of_host.len(), MAX_PER_HOST);
        for (at, admitted) in of_host.iter().enumerate() {
            admitted.activity.idle_since.store(1_000 + at as u64, Ordering::Relaxed);
        }
        of_host[0].activity.begin();
        let of_other = all.admit(other, &stop).expect("another host has its own");
        of_other.activity.idle_since.store(5, Ordering::Relaxed);
        let one_more = all.admit(host, &stop).expect("an idle one makes room");
        one_more.activity.idle_since.store(9_000, Ordering::Relaxed);
        assert!(of_host[1].close.is_cancelled() && !of_host[0].close.is_cancelled());
        assert!(!of_other.close.is_cancelled(), "older, and of another");
        let closed = all.make_room().expect("the oldest of all");
        assert!(of_other.close.is_cancelled() && !closed.is_cancelled());
        drop(of_other);
        assert!(closed.is_cancelled());
        for admitted in &of_host {
            admitted.activity.begin();
        }
        one_more.activity.begin();
        assert!(all.admit(host, &stop).is_none() && all.make_room().is_none());
        of_host.truncate(1);
        assert!(all.admit(host, &stop).is_some());
        assert_eq!(all.0.lock().expect("sound").connections.len(), 2);
    }
}
