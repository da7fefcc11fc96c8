//! Failed tries to authenticate, slowed down for each peer address; nobody else waits for them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Failures that cost nothing: a person mistypes, and SDKs try three times.
const FREE: u32 = 5;
/// Wait after the next failure; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between two tries.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Longest wait of a try behind others from the same address; one that would wait longer is refused.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Time after which one failure is forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(10);
/// Most failures that count.
const MAX_FAILURES: u32 = 16;
/// Most addresses that are remembered; of more, the one that was heard of longest ago is forgotten.
const MAX_PEERS: usize = 1024;

/// Failures of all peers.
#[derive(Debug, Default)]
pub struct Throttle {
    peers: HashMap<IpAddr, Peer>,
}

#[derive(Debug)]
struct Peer {
    failures: u32,
    /// Since then failures are forgiven.
    since: Instant,
    /// Before that no further try is looked at.
    next: Instant,
}

/// Refusal of a try that would wait too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyTries;

impl Throttle {
    /// Begins a try from `address` at `now`: says how long it has to wait before it is looked at.
    ///
    /// # Errors
    /// Too many tries from there wait already.
    pub fn begin(&mut self, address: IpAddr, now: Instant) -> Result<Duration, TooManyTries> {
        let Some(peer) = self.peers.get_mut(&network(address)) else {
            return Ok(Duration::ZERO);
        };
        peer.forgive(now);
        let at = peer.next.max(now);
        let wait = at.saturating_duration_since(now);
        if wait > MAX_WAIT {
            return Err(TooManyTries);
        }
        // Tries at once wait one behind the other, or many of them would be one.
        peer.next = at + peer.pause();
        Ok(wait)
    }

    /// The try has failed. Gives the failures from there that count now.
    pub fn failed(&mut self, address: IpAddr, now: Instant) -> u32 {
        let key = network(address);
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&key) {
            let oldest = self
                .peers
                .iter()
                .min_by_key(|(_, peer)| peer.since)
                .map(|(address, _)| *address);
            oldest.map(|oldest| self.peers.remove(&oldest));
        }
        let peer = self.peers.entry(key).or_insert(Peer {
            failures: 0,
            since: now,
            next: now,
        });
        peer.forgive(now);
        peer.failures = (peer.failures + 1).min(MAX_FAILURES);
        peer.next = peer.next.max(now + peer.pause());
        peer.failures
    }
}

impl Peer {
    fn forgive(&mut self, now: Instant) {
        let periods = now.saturating_duration_since(self.since).as_secs() / FORGIVEN_AFTER.as_secs();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_sub(periods);
        self.since += FORGIVEN_AFTER * periods.min(1 << 20);
    }

    fn pause(&self) -> Duration {
        match self.failures.checked_sub(FREE) {
            None | Some(0) => Duration::ZERO,
            Some(more) => (FIRST_PAUSE * (1 << (more - 1).min(16))).min(MAX_PAUSE),
        }
    }
}

/// What counts as one peer: an IPv4 address, or the network that one IPv6 host has to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// One try after the other, each as soon as it may be; gives the waits.
    fn tries(throttle: &mut Throttle, from: &str, mut now: Instant, count: usize) -> (Vec<u128>, Instant) {
        let waits = (0..count).map(|_| {
            let wait = throttle.begin(address(from), now).expect("alone");
            now += wait;
            throttle.failed(address(from), now);
            wait.as_millis()
        });
        (waits.collect(), now)
    }

    #[test]
    fn a_peer_that_fails_again_and_again_waits_longer_and_longer_and_nobody_else_does() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let (waits, now) = tries(&mut throttle, "10.0.0.1", start, 14);
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(throttle.begin(address("10.0.0.2"), now), Ok(Duration::ZERO));
        assert!(throttle.begin(address("::ffff:10.0.0.1"), now).expect("one") > Duration::ZERO);
        // With time all is forgiven.
        let later = now + FORGIVEN_AFTER * MAX_FAILURES;
        assert_eq!(throttle.begin(address("10.0.0.1"), later), Ok(Duration::ZERO));
    }

    #[test]
    fn tries_at_once_wait_one_behind_the_other_and_those_too_far_behind_are_refused() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let (_, now) = tries(&mut throttle, "10.0.0.1", start, 12);
        let mut begin = || throttle.begin(address("10.0.0.1"), now);
        let waits: Vec<_> = (0..1000).map_while(|_| begin().ok()).collect();
        assert!(waits.is_sorted() && waits.len() < 5, "{waits:?}");
        assert_eq!(begin(), Err(TooManyTries));
    }

    #[test]
    fn a_host_that_changes_its_ipv6_address_is_one_peer() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for host in 0..8 {
            throttle.failed(address(&format!("2001:db8::{host}")), now);
        }
        assert!(throttle.begin(address("2001:db8::ffff"), now).expect("one") > Duration::ZERO);
        assert_eq!(throttle.begin(address("2001:db8:0:1::1"), now), Ok(Duration::ZERO));
    }

    #[test]
    fn memory_is_bounded_however_many_peers_fail() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for number in 0..5_000_u32 {
            let now = start + Duration::from_millis(number.into());
            throttle.failed(IpAddr::V4(number.into()), now);
        }
        assert_eq!(throttle.peers.len(), MAX_PEERS);
    }
}
