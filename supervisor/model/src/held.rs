//! Bytes that are held for callers until somebody reads them: counted by connection, by peer and in all, and how many there
//! may be.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Direction of what is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Way {
    /// From a caller to a module.
    #[default]
    Request,
    /// From a module to a caller.
    Answer,
}

/// Most bytes that are held in one direction.
struct Bounds {
    /// Beside the call that would hold more: one message may be as long as any, where it is unpacked for its name.
    connection: usize,
    peer: usize,
    all: usize,
}

/// 280 calls at once, each with all that flow control lets it send ahead of a module that reads nothing.
const REQUESTS: Bounds = Bounds {
    connection: 20 << 20,
    peer: 64 << 20,
    all: 128 << 20,
};

/// 60 answers at once, each with all that flow control lets a module send ahead of a caller: those are pictures.
const ANSWERS: Bounds = Bounds {
    connection: 64 << 20,
    peer: 96 << 20,
    all: 192 << 20,
};

/// Bytes that a connection may have held whatever others have, up to twice the bound for all: who does nothing unusual is not to be refused because of
/// somebody else, who may share its address.
const ALWAYS: usize = 2 << 20;

/// What a call holds that says little, such as Stop and heartbeats: those are not to be refused because one beside them is as long as any.
const SMALL: usize = 12 << 10;
/// Longest message.
const LONGEST: usize = 32 << 20;

/// Most messages of one peer that are unpacked at once, or wait for it: as many as a caller may have calls at one resource.
pub const MAX_PACKED: usize = 100;

/// Whether so much may be held for a call, for its connection, for its peer and in all.
fn allows(way: Way, call: usize, [connection, peer, all]: [usize; 3]) -> bool {
    let bounds = match way {
        Way::Request => REQUESTS,
        Way::Answer => ANSWERS,
    };
    let beside = match call {
        ..=SMALL => connection.saturating_sub(LONGEST),
        _ => connection - call,
    };
    (connection <= ALWAYS && all <= 2 * bounds.all)
        || (beside <= bounds.connection && peer <= bounds.peer && all <= bounds.all)
}

/// Counts of bytes held, by direction.
#[derive(Debug, Default)]
struct Counts([AtomicUsize; 2]);

/// Everybody for whom something is held. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Everybody(Arc<Counts>);

#[derive(Debug)]
struct Peer {
    address: IpAddr,
    /// Somebody was told of a refusal.
    told: AtomicBool,
    counts: Counts,
    /// Messages that are not unpacked yet.
    packed: AtomicUsize,
}

#[derive(Debug)]
struct Connection {
    counts: Counts,
    peer: Arc<Peer>,
    everybody: Everybody,
}

/// Account of one connection. Clones are the same; the default one counts nothing and refuses nothing.
#[derive(Debug, Clone, Default)]
pub struct Account(Option<Arc<Connection>>);

/// Error for more than may be held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdrawn {
    /// The peer, the first time that it happens to it.
    pub news_of: Option<IpAddr>,
}

impl Account {
    /// An account of a peer that has none yet.
    pub fn of_peer(address: IpAddr, everybody: &Everybody) -> Self {
        let peer = Arc::new(Peer {
            address,
            told: AtomicBool::new(false),
            counts: Counts::default(),
            packed: AtomicUsize::new(0),
        });
        Self::of(peer, everybody.clone())
    }

    /// An account of another connection of the same peer.
    pub fn beside(&self) -> Self {
        let other = |known: &Arc<Connection>| Self::of(known.peer.clone(), known.everybody.clone());
        self.0.as_ref().map(other).unwrap_or_default()
    }

    /// A place for one more message that is to be unpacked; `None` if its peer has [`MAX_PACKED`] of them.
    pub fn packed(&self) -> Option<Packed> {
        if let Some(connection) = &self.0 {
            let more = |count| (count < MAX_PACKED).then_some(count + 1);
            connection.peer.packed.fetch_update(Relaxed, Relaxed, more).ok()?;
        }
        Some(Packed(self.clone()))
    }

    fn of(peer: Arc<Peer>, everybody: Everybody) -> Self {
        Self(Some(Arc::new(Connection {
            counts: Counts::default(),
            peer,
            everybody,
        })))
    }
}

impl Connection {
    fn levels(&self, way: Way) -> [&AtomicUsize; 3] {
        [&self.counts, &self.peer.counts, &self.everybody.0].map(|counts| &counts.0[way as usize])
    }
}

/// Place of a message that is to be unpacked, until it is dropped.
#[derive(Debug)]
pub struct Packed(Account);

impl Drop for Packed {
    fn drop(&mut self) {
        if let Some(connection) = &self.0.0 {
            connection.peer.packed.fetch_sub(1, Relaxed);
        }
    }
}

/// Bytes held on an account until it is dropped.
#[derive(Debug, Default)]
pub struct Hold {
    account: Account,
    way: Way,
    bytes: usize,
}

impl Hold {
    /// Nothing yet.
    pub fn new(account: Account, way: Way) -> Self {
        let bytes = 0;
        Self { account, way, bytes }
    }

    /// The account.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Changes how many bytes are held.
    ///
    /// # Errors
    /// They may not be; it stays as it was.
    #[inline]
    pub fn set(&mut self, bytes: usize) -> Result<(), Overdrawn> {
        match &self.account.0 {
            Some(connection) if bytes != self.bytes => self.bytes = connection.change(self.way, self.bytes, bytes)?,
            _ => {}
        }
        Ok(())
    }
}

impl Connection {
    fn change(&self, way: Way, before: usize, after: usize) -> Result<usize, Overdrawn> {
        let levels = self.levels(way);
        let Some(more) = after.checked_sub(before) else {
            for level in levels {
                level.fetch_sub(before - after, Relaxed);
            }
            return Ok(after);
        };
        let now = levels.map(|level| level.fetch_add(more, Relaxed) + more);
        if allows(way, after, now) {
            return Ok(after);
        }
        for level in levels {
            level.fetch_sub(more, Relaxed);
        }
        let news = !self.peer.told.swap(true, Relaxed);
        Err(Overdrawn {
            news_of: news.then_some(self.peer.address),
        })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Fewer are always allowed.
        let _ = self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn the_narrowest_bound_counts_but_a_little_is_always_allowed() {
        for (way, call, connection, peer, all, wanted) in [
            (Way::Request, 1, 21, 21, 21, true),
            (Way::Request, 1, 22, 22, 22, false),
            (Way::Request, 40, 60, 60, 60, true),
            (Way::Request, 40, 61, 61, 61, false),
            (Way::Request, 1, 10, 64, 128, true),
            (Way::Request, 1, 10, 65, 65, false),
            (Way::Request, 1, 10, 10, 129, false),
            (Way::Request, 2, 2, 1_000, 256, true),
            (Way::Request, 2, 2, 2, 257, false),
            (Way::Answer, 1, 65, 96, 192, true),
            (Way::Answer, 1, 66, 66, 66, false),
            (Way::Answer, 1, 3, 97, 97, false),
            (Way::Answer, 1, 3, 3, 193, false),
            (Way::Answer, 2, 2, 1_000, 384, true),
        ] {
            let allowed = allows(way, call * MIB, [connection, peer, all].map(|mib| mib * MIB));
            assert_eq!(allowed, wanted, "{way:?} {call} {connection} {peer} {all}");
        }
        for (call, connection, wanted) in [(SMALL, 52, true), (SMALL, 53, false), (SMALL + 1, 21, false)] {
            let allowed = allows(Way::Request, call, [connection * MIB; 3]);
            assert_eq!(allowed, wanted, "{call} {connection}");
        }
    }

    #[test]
    fn a_peer_has_so_many_places_for_what_is_packed_over_all_its_connections() {
        let everybody = Everybody::default();
        let one = Account::of_peer([10, 0, 0, 1].into(), &everybody);
        let mut places: Vec<_> = (0..MAX_PACKED).map_while(|_| one.packed()).collect();
        assert_eq!(places.len(), MAX_PACKED);
        assert!(one.packed().is_none() && one.beside().packed().is_none());
        let other = Account::of_peer([10, 0, 0, 2].into(), &everybody);
        assert!(other.packed().is_some() && Account::default().packed().is_some());
        places.pop();
        let again = one.beside().packed();
        assert!(again.is_some() && one.packed().is_none());
    }

    #[test]
    fn what_is_held_counts_for_connection_peer_and_all_until_it_is_dropped() {
        let everybody = Everybody::default();
        let one = Account::of_peer([10, 0, 0, 1].into(), &everybody);
        let (same_peer, other) = (one.beside(), Account::of_peer([10, 0, 0, 2].into(), &everybody));
        let held = |account: &Account, way: Way| {
            let connection = account.0.as_ref().expect("counted");
            connection.levels(way).map(|level| level.load(Relaxed) / MIB)
        };
        let mut first = Hold::new(one.clone(), Way::Request);
        let mut second = Hold::new(same_peer.clone(), Way::Request);
        let mut third = Hold::new(other.clone(), Way::Request);
        assert_eq!(first.set(20 * MIB), Ok(()));
        assert_eq!(second.set(20 * MIB), Ok(()));
        assert_eq!(third.set(20 * MIB), Ok(()));
        assert_eq!(held(&one, Way::Request), [20, 40, 60]);
        assert_eq!(held(&other, Way::Request), [20, 20, 60]);
        assert_eq!(held(&one, Way::Answer), [0, 0, 0]);
        let told = first.set(50 * MIB).expect_err("too much");
        assert_eq!(told.news_of, Some([10, 0, 0, 1].into()));
        let told = second.set(50 * MIB).expect_err("too much");
        assert_eq!(told.news_of, None, "once for each peer");
        assert_eq!(held(&one, Way::Request), [20, 40, 60], "as before");
        assert_eq!(first.set(5 * MIB), Ok(()));
        drop((second, third));
        assert_eq!(held(&same_peer, Way::Request), [0, 5, 5]);
        drop(first);
        assert_eq!(held(&other, Way::Request), [0, 0, 0]);
        assert_eq!(Hold::default().set(usize::MAX), Ok(()), "nobody's");
    }
}
