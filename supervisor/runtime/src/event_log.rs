//! A bounded run of numbered things that many may follow. Writers never wait: a follower that is slower than the
//! things come loses the oldest of them, and is told how many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Size of a value towards the limit of its ring, in bytes.
pub trait Weighted {
    /// Size of the value with all that hangs on it.
    fn weight(&self) -> usize;
}

/// Ring of the newest entries, as many as its limits allow. Each has a number; numbers begin with 0 and are never used
/// twice.
#[derive(Debug)]
pub struct Ring<T> {
    entries: VecDeque<T>,
    /// Number of the oldest that is kept.
    oldest: u64,
    weight: usize,
    max_entries: usize,
    max_weight: usize,
}

/// Batch of values that a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<T> {
    /// Number of values that came and went between the last reading and this one.
    pub missed: u64,
    /// Values of this batch, oldest first.
    pub entries: Vec<T>,
    /// Number with which the next reading goes on.
    pub next: u64,
}

impl<T> Batch<T> {
    /// Its values with their numbers, oldest first.
    pub fn numbered(self) -> impl Iterator<Item = (u64, T)> {
        let first = self.next - self.entries.len() as u64;
        (first..).zip(self.entries)
    }
}

impl<T: Weighted + Clone> Ring<T> {
    /// Empty ring that keeps at most so many entries of at most so many bytes together, and always the newest.
    pub fn new(max_entries: usize, max_weight: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            oldest: 0,
            weight: 0,
            max_entries: max_entries.max(1),
            max_weight,
        }
    }

    /// Number of the oldest entry that is kept.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    /// Number that the next entry gets.
    pub fn next(&self) -> u64 {
        self.oldest + self.entries.len() as u64
    }

    /// Adds an entry and removes the oldest where the limits ask for it.
    pub fn push(&mut self, thing: T) {
        self.weight += thing.weight();
        self.entries.push_back(thing);
        while self.entries.len() > self.max_entries || (self.weight > self.max_weight && self.entries.len() > 1) {
            if let Some(gone) = self.entries.pop_front() {
                self.weight -= gone.weight();
                self.oldest += 1;
            }
        }
    }

    /// Entries from number `from` on, `most` at most.
    pub fn read(&self, from: u64, most: usize) -> Batch<T> {
        let start = from.clamp(self.oldest, self.next());
        let skip = usize::try_from(start - self.oldest).unwrap_or(usize::MAX);
        let entries: Vec<T> = self.entries.iter().skip(skip).take(most).cloned().collect();
        Batch {
            missed: start.saturating_sub(from),
            next: start + entries.len() as u64,
            entries,
        }
    }

    /// Kept entries, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = (u64, &T)> {
        let numbers = (0..self.next()).rev();
        numbers.zip(self.entries.iter().rev())
    }
}

/// A ring that many write to and follow.
#[derive(Debug, Clone)]
pub struct EventLog<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    ring: Mutex<Ring<T>>,
    /// Number of the next entry; followers wait for it to change.
    last_number: watch::Sender<u64>,
}

impl<T: Weighted + Clone> EventLog<T> {
    /// An empty feed with the limits of [`Ring::new`].
    pub fn new(max_entries: usize, max_weight: usize) -> Self {
        Self(Arc::new(Shared {
            ring: Mutex::new(Ring::new(max_entries, max_weight)),
            last_number: watch::Sender::new(0),
        }))
    }

    /// Adds an entry. Never waits.
    pub fn push(&self, thing: T) {
        let next = {
            let mut ring = self.ring();
            ring.push(thing);
            ring.next()
        };
        self.0.last_number.send_replace(next);
    }

    /// The ring, for a look. Not to be held for long.
    pub fn ring(&self) -> MutexGuard<'_, Ring<T>> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows from the entry of number `from` on.
    pub fn follow(&self, from: u64) -> Subscription<T> {
        Subscription {
            log: self.clone(),
            last_number: self.0.last_number.subscribe(),
            next: from,
        }
    }
}

/// Reads a feed as it grows.
#[derive(Debug)]
pub struct Subscription<T> {
    log: EventLog<T>,
    last_number: watch::Receiver<u64>,
    next: u64,
}

/// Limit of entries that a follower is given at once.
const BATCH: usize = 256;

impl<T: Weighted + Clone> Subscription<T> {
    /// Values that were not read yet; empty if there are none.
    pub fn read(&mut self) -> Batch<T> {
        self.last_number.mark_unchanged();
        let read = self.log.ring().read(self.next, BATCH);
        self.next = read.next;
        read
    }

    /// Waits until there is something to read, and reads it. May be dropped and called again at any time.
    pub async fn next(&mut self) -> Batch<T> {
        loop {
            let read = self.read();
            if !read.entries.is_empty() {
                return read;
            }
            // The feed holds its own sender, so there is no end to wait for.
            let _never = self.last_number.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weighted for String {
        fn weight(&self) -> usize {
            self.len()
        }
    }

    fn ring(max_entries: usize, max_weight: usize, entries: &[&str]) -> Ring<String> {
        let mut ring = Ring::new(max_entries, max_weight);
        for thing in entries {
            ring.push((*thing).to_owned());
        }
        ring
    }

    #[test]
    fn a_ring_keeps_the_newest_within_both_limits() {
        for (entries, weight, pushed, kept) in [
            (3, 100, &["a", "b"][..], &["a", "b"][..]),
            (3, 100, &["a", "b", "c", "d"], &["b", "c", "d"]),
            (3, 4, &["aaa", "bb", "cc"], &["bb", "cc"]),
            (
                3,
                4,
                &["a", "a thing that is too large"],
                &["a thing that is too large"],
            ),
            (3, 4, &["a thing that is too large", "b"], &["b"]),
        ] {
            let ring = ring(entries, weight, pushed);
            assert_eq!(ring.read(0, 9).entries, kept, "{pushed:?}");
            assert_eq!(ring.next(), pushed.len() as u64);
            assert_eq!(ring.weight, kept.iter().map(|text| text.len()).sum::<usize>());
        }
    }

    #[test]
    fn a_reader_is_told_what_it_missed() {
        let ring = ring(3, 100, &["a", "b", "c", "d", "e"]);
        for (from, most, missed, entries, next) in [
            (0, 9, 2, &["c", "d", "e"][..], 5),
            (0, 2, 2, &["c", "d"], 4),
            (4, 9, 0, &["e"], 5),
            (5, 9, 0, &[], 5),
        ] {
            let read = ring.read(from, most);
            assert_eq!(
                (read.missed, &read.entries[..], read.next),
                (
                    missed,
                    &entries.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()[..],
                    next
                )
            );
        }
        let newest: Vec<_> = ring.newest_first().map(|(number, _)| number).collect();
        assert_eq!(newest, [4, 3, 2]);
    }

    #[tokio::test]
    async fn followers_wait_for_what_comes_and_writers_for_nobody() {
        let log = EventLog::new(2, 100);
        let mut follower = log.follow(0);
        {
            let waiting = follower.next();
            tokio::pin!(waiting);
            assert!(futures_util::poll!(waiting.as_mut()).is_pending());
            log.push("a".to_owned());
            assert_eq!(waiting.await.entries, ["a"]);
        }
        for text in ["b", "c", "d"] {
            log.push(text.to_owned());
        }
        let read = follower.next().await;
        assert_eq!((read.missed, read.entries), (1, vec!["c".to_owned(), "d".to_owned()]));
    }
}
