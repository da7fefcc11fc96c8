//! Busy polling: whether a connection should stay awake for what comes next.
//!
//! Where calls follow each other within microseconds, most of a small call's time is spent going to sleep and being
//! woken again: twice per call in the core. A connection that expects the next thing to happen at once keeps looking
//! for a moment instead; with one caller that took a quarter off the time of a call (`cargo xtask bench`). What to
//! expect is learnt from what happened: a caller who asks even a thousand times per second costs nothing extra, because
//! the pauses between the calls are too long to be worth it.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Time to stay awake after a sign of life; the next one must come within it to have been worth that.
const WINDOW: Duration = Duration::from_micros(250);

/// Lowest score at which the connection stays awake.
const ENOUGH: u8 = 16;

/// The highest score: how much luck is remembered.
const MOST: u8 = 32;

/// Points that a sign which came too late takes from the score; one in time adds 1. So it stays awake where at least
/// two of three signs come in time.
const LATE: u8 = 2;

/// With a single processor, looking keeps the peer from answering.
static ALONE: LazyLock<bool> =
    LazyLock::new(|| std::thread::available_parallelism().is_ok_and(|count| count.get() == 1));

/// Busy polling of a connection: its score and its last sign of life.
pub struct BusyPoll {
    last: Instant,
    score: u8,
}

impl BusyPoll {
    /// State of a connection on which nothing was seen yet.
    pub fn new(now: Instant) -> Self {
        Self { last: now, score: 0 }
    }

    /// A call came or ended.
    pub fn sign(&mut self, now: Instant) {
        self.score = if self.within(now) {
            (self.score + 1).min(MOST)
        } else {
            self.score.saturating_sub(LATE)
        };
        self.last = now;
    }

    /// Time at which a call last came or ended.
    pub fn last_sign(&self) -> Instant {
        self.last
    }

    /// True while it is worth looking again at once.
    pub fn is_awake(&self) -> bool {
        // The clock is read only where it matters.
        self.score >= ENOUGH && self.within(Instant::now()) && !*ALONE
    }

    fn within(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) < WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The score after as many rounds of these pauses, in microseconds, as it takes to settle.
    fn settled(pauses: &[u64]) -> u8 {
        let mut now = Instant::now();
        let mut busy_poll = BusyPoll::new(now);
        for pause in pauses.iter().cycle().take(1_000) {
            now += Duration::from_micros(*pause);
            busy_poll.sign(now);
        }
        busy_poll.score
    }

    #[test]
    fn it_stays_awake_for_those_who_come_back_at_once() {
        let cases: [(&str, &[u64], bool); 5] = [
            ("back to back", &[100, 100], true),
            (
                "back to back, with a hiccup now and then",
                &[190, 190, 190, 190, 190, 400],
                true,
            ),
            ("a thousand calls per second, each answered at once", &[150, 850], false),
            ("a hundred calls per second", &[300, 9_700], false),
            ("a slow module", &[5_000, 100], false),
        ];
        for (who, pauses, awake) in cases {
            assert_eq!(settled(pauses) >= ENOUGH, awake, "{who}");
        }
    }

    #[test]
    fn it_looks_for_a_moment_and_then_sleeps() {
        let now = Instant::now();
        let mut busy_poll = BusyPoll::new(now);
        busy_poll.sign(now);
        assert!(busy_poll.within(now + WINDOW / 2) && !busy_poll.within(now + WINDOW));
    }

    #[test]
    fn when_the_caller_stops_it_soon_forgets() {
        let mut now = Instant::now();
        let mut busy_poll = BusyPoll::new(now);
        for _ in 0..1_000 {
            now += WINDOW / 2;
            busy_poll.sign(now);
        }
        for _ in 0..(MOST - ENOUGH) / LATE + 1 {
            assert!(busy_poll.score >= ENOUGH);
            now += 2 * WINDOW;
            busy_poll.sign(now);
        }
        assert!(busy_poll.score < ENOUGH);
    }
}
