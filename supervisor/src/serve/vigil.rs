//! Whether a connection should stay awake for what comes next.
//!
//! Where calls follow each other within microseconds, most of a small call's time is spent going to sleep and being woken
//! again: twice per call in the core. A connection that has just seen a run of such calls keeps looking for a moment
//! instead. Any longer pause ends the run, so a caller who asks a hundred times per second costs nothing extra.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// How long to stay awake after the last sign of life; a longer pause ends a run.
const WINDOW: Duration = Duration::from_micros(250);

/// Signs of life, each within [`WINDOW`] of the one before, that make a run. A call gives two: it comes, and it ends.
const RUN: u8 = 16;

/// With a single processor, looking keeps the peer from answering.
static ALONE: LazyLock<bool> =
    LazyLock::new(|| std::thread::available_parallelism().is_ok_and(|count| count.get() == 1));

/// What a connection remembers of its calls.
pub struct Vigil {
    last: Instant,
    run: u8,
}

impl Vigil {
    /// Nothing was seen yet.
    pub fn new(now: Instant) -> Self {
        Self { last: now, run: 0 }
    }

    /// A call came or ended.
    pub fn sign(&mut self, now: Instant) {
        let quick = now.saturating_duration_since(self.last) < WINDOW;
        self.run = if quick { self.run.saturating_add(1) } else { 0 };
        self.last = now;
    }

    /// True while it is worth looking again at once.
    pub fn is_awake(&self) -> bool {
        // The clock is read only inside a run.
        self.run >= RUN && self.within(Instant::now()) && !*ALONE
    }

    fn within(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) < WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_quick_calls_keeps_it_awake_and_a_pause_lets_it_sleep() {
        let mut now = Instant::now();
        let mut vigil = Vigil::new(now);
        for _ in 0..RUN - 1 {
            now += WINDOW / 2;
            vigil.sign(now);
        }
        assert!(vigil.run < RUN);
        now += WINDOW / 2;
        vigil.sign(now);
        assert!(vigil.run >= RUN && vigil.within(now + WINDOW / 2));
        assert!(!vigil.within(now + WINDOW), "it does not wait for long");
        vigil.sign(now + WINDOW);
        assert_eq!(vigil.run, 0, "a pause ends the run");
    }
}
