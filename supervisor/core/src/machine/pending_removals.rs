//! Time at which removed resources vanish from what others see: soon, but not each for itself, because the view is
//! swapped whole. Pure.

use std::time::{Duration, Instant};

/// The longest that one which is gone is still seen.
const AT_LAST: Duration = Duration::from_millis(50);

/// Removed resources that are still in the published view.
#[derive(Debug, Default)]
pub struct PendingRemovals {
    count: usize,
    since: Option<Instant>,
}

impl PendingRemovals {
    /// Records one more removal.
    pub fn add(&mut self, now: Instant) {
        self.count += 1;
        self.since.get_or_insert(now);
    }

    /// Time at which they vanish even if more are about to go.
    pub fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + AT_LAST)
    }

    /// True if they are to vanish now, with so many more about to go; then they count no more. At once if none is, and
    /// else when half of all that leave are gone: that is asked of a thousand ten times, not a thousand.
    pub fn take(&mut self, leaving: usize, now: Instant) -> bool {
        let taken = self.count > 0 && (self.count >= leaving || self.due().is_some_and(|due| due <= now));
        if taken {
            *self = Self::default();
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_one_vanishes_at_once_and_of_a_thousand_none_waits_long() {
        let start = Instant::now();
        let mut forgotten = PendingRemovals::default();
        assert!(!forgotten.take(0, start) && forgotten.due().is_none());
        forgotten.add(start);
        assert!(forgotten.take(0, start), "nothing else leaves");
        assert!(!forgotten.take(0, start), "it is gone once");
        // One that does not go holds the others back no longer than that.
        forgotten.add(start);
        assert!(!forgotten.take(7, start));
        assert_eq!(forgotten.due(), Some(start + AT_LAST));
        assert!(forgotten.take(7, start + AT_LAST));
    }

    #[test]
    fn the_view_is_swapped_a_few_times_however_many_go() {
        for (all, most) in [(1usize, 1), (10, 4), (1_000, 10), (100_000, 17)] {
            let (mut forgotten, start) = (PendingRemovals::default(), Instant::now());
            let swaps = (1..=all).rev().filter(|left| {
                forgotten.add(start);
                forgotten.take(left - 1, start)
            });
            let swaps = swaps.count();
            assert!(swaps <= most, "{all}: {swaps}");
            assert!(!forgotten.take(0, start), "{all}: all are told of");
        }
    }
}
