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

/// The newest things, as many as its limits allow. Each has a number; numbers begin with 0 and are never used twice.
#[derive(Debug)]
pub struct Ring<T> {
    things: VecDeque<T>,
    /// Number of the oldest that is kept.
    oldest: u64,
    weight: usize,
    max_things: usize,
    max_weight: usize,
}

/// Batch of values that a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read<T> {
    /// Number of values that came and went between the last reading and this one.
    pub missed: u64,
    /// Values of this batch, oldest first.
    pub things: Vec<T>,
    /// Number with which the next reading goes on.
    pub next: u64,
}

impl<T: Weighted + Clone> Ring<T> {
    /// An empty ring that keeps at most so many things of at most so many bytes together, and always the newest.
    pub fn new(max_things: usize, max_weight: usize) -> Self {
        Self {
            things: VecDeque::new(),
            oldest: 0,
            weight: 0,
            max_things: max_things.max(1),
            max_weight,
        }
    }

    /// The number of the oldest thing that is kept.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    /// The number that the next thing gets.
    pub fn next(&self) -> u64 {
        self.oldest + self.things.len() as u64
    }

    /// Adds a thing and gives up the oldest where the limits ask for it.
    pub fn push(&mut self, thing: T) {
        self.weight += thing.weight();
        self.things.push_back(thing);
        while self.things.len() > self.max_things || (self.weight > self.max_weight && self.things.len() > 1) {
            if let Some(gone) = self.things.pop_front() {
                self.weight -= gone.weight();
                self.oldest += 1;
            }
        }
    }

    /// Things from number `from` on, `most` at most.
    pub fn read(&self, from: u64, most: usize) -> Read<T> {
        let start = from.clamp(self.oldest, self.next());
        let skip = usize::try_from(start - self.oldest).unwrap_or(usize::MAX);
        let things: Vec<T> = self.things.iter().skip(skip).take(most).cloned().collect();
        Read {
            missed: start.saturating_sub(from),
            next: start + things.len() as u64,
            things,
        }
    }

    /// The things that are kept, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = (u64, &T)> {
        let numbers = (0..self.next()).rev();
        numbers.zip(self.things.iter().rev())
    }
}

/// A ring that many write to and follow.
#[derive(Debug, Clone)]
pub struct EventLog<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    ring: Mutex<Ring<T>>,
    /// The number of the next thing; followers wait for it to change.
    news: watch::Sender<u64>,
}

impl<T: Weighted + Clone> EventLog<T> {
    /// An empty feed with the limits of [`Ring::new`].
    pub fn new(max_things: usize, max_weight: usize) -> Self {
        Self(Arc::new(Shared {
            ring: Mutex::new(Ring::new(max_things, max_weight)),
            news: watch::Sender::new(0),
        }))
    }

    /// Adds a thing. Waits for nobody.
    pub fn push(&self, thing: T) {
        let next = {
            let mut ring = self.ring();
            ring.push(thing);
            ring.next()
        };
        self.0.news.send_replace(next);
    }

    /// The ring, for a look. Not to be held for long.
    pub fn ring(&self) -> MutexGuard<'_, Ring<T>> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows from the thing of number `from` on.
    pub fn follow(&self, from: u64) -> Subscription<T> {
        Subscription {
            feed: self.clone(),
            news: self.0.news.subscribe(),
            next: from,
        }
    }
}

/// Reads a feed as it grows.
#[derive(Debug)]
pub struct Subscription<T> {
    feed: EventLog<T>,
    news: watch::Receiver<u64>,
    next: u64,
}

/// Things that a follower is given at once.
const BATCH: usize = 256;

impl<T: Weighted + Clone> Subscription<T> {
    /// Values that were not read yet; empty if there are none.
    pub fn read(&mut self) -> Read<T> {
        self.news.mark_unchanged();
        let read = self.feed.ring().read(self.next, BATCH);
        self.next = read.next;
        read
    }

    /// Waits until there is something to read, and reads it. May be dropped and called again at any time.
    pub async fn next(&mut self) -> Read<T> {
        loop {
            let read = self.read();
            if !read.things.is_empty() {
                return read;
            }
            // The feed holds its own sender, so there is no end to wait for.
            let _never = self.news.changed().await;
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

    fn ring(max_things: usize, max_weight: usize, things: &[&str]) -> Ring<String> {
        let mut ring = Ring::new(max_things, max_weight);
        for thing in things {
            ring.push((*thing).to_owned());
        }
        ring
    }

    #[test]
    fn a_ring_keeps_the_newest_within_both_limits() {
        for (things, weight, pushed, kept) in [
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
            let ring = ring(things, weight, pushed);
            assert_eq!(ring.read(0, 9).things, kept, "{pushed:?}");
            assert_eq!(ring.next(), pushed.len() as u64);
            assert_eq!(ring.weight, kept.iter().map(|text| text.len()).sum::<usize>());
        }
    }

    #[test]
    fn a_reader_is_told_what_it_missed() {
        let ring = ring(3, 100, &["a", "b", "c", "d", "e"]);
        for (from, most, missed, things, next) in [
            (0, 9, 2, &["c", "d", "e"][..], 5),
            (0, 2, 2, &["c", "d"], 4),
            (4, 9, 0, &["e"], 5),
            (5, 9, 0, &[], 5),
        ] {
            let read = ring.read(from, most);
            assert_eq!(
                (read.missed, &read.things[..], read.next),
                (
                    missed,
                    &things.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()[..],
                    next
                )
            );
        }
        let newest: Vec<_> = ring.newest_first().map(|(number, _)| number).collect();
        assert_eq!(newest, [4, 3, 2]);
    }

    #[tokio::test]
    async fn followers_wait_for_what_comes_and_writers_for_nobody() {
        let feed = EventLog::new(2, 100);
        let mut follower = feed.follow(0);
        {
            let waiting = follower.next();
            tokio::pin!(waiting);
            assert!(futures_util::poll!(waiting.as_mut()).is_pending());
            feed.push("a".to_owned());
            assert_eq!(waiting.await.things, ["a"]);
        }
        for text in ["b", "c", "d"] {
            feed.push(text.to_owned());
        }
        let read = follower.next().await;
        assert_eq!((read.missed, read.things), (1, vec!["c".to_owned(), "d".to_owned()]));
    }
}
