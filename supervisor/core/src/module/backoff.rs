//! Pause between a failure of a module and its next try. Reads no clock and no source of chance.

use std::time::Duration;

use mainstay_model::Restart;

/// Shortest pause after the burst: a program that cannot be run must not keep a processor busy, whatever the config
/// says.
const MIN_PAUSE: Duration = Duration::from_millis(10);

/// Failures in a row, and what follows from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backoff {
    /// Failures in a row.
    failures: u32,
    /// Failures among them that were followed by a pause that grows. The others are the burst.
    slow: u32,
    /// Number of the growing pause that follows the last failure, from 1; 0: the last failure belongs to the burst.
    step: u32,
}

/// Reaction to a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another try after this pause; zero means at once.
    After(Duration),
    /// No more: that many failures in a row are the limit.
    GiveUp(u32),
}

impl Backoff {
    /// Counts one more failure, of a process that had become READY or not. `chance`, from 0 to 1, says where in the
    /// range of the jitter the pause lies.
    pub fn failed(&mut self, restart: &Restart, was_ready: bool, chance: f64) -> Next {
        self.failures = self.failures.saturating_add(1);
        // The first try costs nothing but is one of the burst all the same. What does not even start gains nothing by haste.
        let in_burst = self.failures == 1 || (was_ready && self.failures - self.slow <= restart.burst);
        self.slow = self.slow.saturating_add(u32::from(!in_burst));
        self.step = if in_burst { 0 } else { self.slow };
        self.next(restart, chance)
    }

    /// Reaction to the last failure.
    pub fn next(&self, restart: &Restart, chance: f64) -> Next {
        if restart.limit.is_some_and(|limit| self.failures >= limit) {
            return Next::GiveUp(self.failures);
        }
        Next::After(pause(restart, self.step, chance))
    }

    /// The next failure counts as the first.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Failures in a row so far.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// Growing pause number `step`, from 1; 0: that of the burst.
fn pause(restart: &Restart, step: u32, chance: f64) -> Duration {
    let plain = match step {
        0 => restart.first.as_secs_f64(),
        step => {
            let longer = i32::try_from(step - 1).unwrap_or(i32::MAX);
            restart.then.as_secs_f64() * restart.factor.powi(longer)
        }
    };
    // Large powers are infinite, and zero times infinity is no number at all.
    let longest = restart.max_delay.as_secs_f64();
    let capped = if plain < longest { plain } else { longest };
    let varied = capped * (1.0 + restart.jitter * (2.0 * chance - 1.0));
    let pause = Duration::try_from_secs_f64(varied).unwrap_or(restart.max_delay);
    if step == 0 { pause } else { pause.max(MIN_PAUSE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses, in ms, after failures of processes that had become READY (`r`) or not (`-`); `MAX`: it gave up.
    fn after(restart: &Restart, ends: &str, chance: f64) -> Vec<u128> {
        let mut backoff = Backoff::default();
        let mut next = |end| match backoff.failed(restart, end == 'r', chance) {
            Next::After(pause) => pause.as_millis(),
            Next::GiveUp(_) => u128::MAX,
        };
        ends.chars().map(&mut next).collect()
    }

    fn pauses(restart: &Restart, count: usize, chance: f64) -> Vec<u128> {
        after(restart, &"-".repeat(count), chance)
    }

    #[test]
    fn the_first_try_comes_at_once_and_the_pauses_double_up_to_the_longest() {
        let expected = [0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
        assert_eq!(pauses(&Restart::default(), 9, 0.5), expected);
    }

    #[test]
    fn what_had_been_ready_is_tried_at_once_until_its_burst_is_used_up() {
        let burst = |burst| Restart {
            burst,
            ..Restart::default()
        };
        let gives_up = u128::MAX;
        for (restart, ends, expected) in [
            (burst(5), "rrrrrrrr", &[0, 0, 0, 0, 0, 500, 1_000, 2_000][..]),
            (burst(2), "rrrr", &[0, 0, 500, 1_000]),
            // The first try is not the burst's to refuse.
            (burst(1), "rrrr", &[0, 500, 1_000, 2_000]),
            (burst(0), "rrrr", &[0, 500, 1_000, 2_000]),
            // What does not become READY waits longer each time, and leaves the rest of the burst for later.
            (burst(5), "--rr", &[0, 500, 0, 0]),
            (burst(3), "r-r-rr", &[0, 500, 0, 1_000, 0, 2_000]),
            (burst(3), "----rrr", &[0, 500, 1_000, 2_000, 0, 0, 4_000]),
            (
                Restart {
                    first: Duration::from_millis(100),
                    ..burst(3)
                },
                "rr-rr",
                &[100, 100, 500, 100, 1_000],
            ),
            (
                Restart {
                    limit: Some(4),
                    ..burst(5)
                },
                "rrrr",
                &[0, 0, 0, gives_up],
            ),
            (
                Restart {
                    limit: Some(4),
                    ..burst(2)
                },
                "rrrr",
                &[0, 0, 500, gives_up],
            ),
        ] {
            assert_eq!(after(&restart, ends, 0.5), expected, "{ends} {restart:?}");
        }
    }

    #[test]
    fn jitter_makes_a_pause_longer_or_shorter_by_its_share() {
        assert_eq!(pauses(&Restart::default(), 3, 0.0), [0, 400, 800]);
        assert_eq!(pauses(&Restart::default(), 3, 1.0), [0, 600, 1_200]);
        assert_eq!(pauses(&Restart::default(), 40, 1.0)[39], 36_000);
    }

    #[test]
    fn odd_settings_neither_panic_nor_spin() {
        let base = Restart {
            jitter: 0.0,
            ..Restart::default()
        };
        let ms = Duration::from_millis;
        let cases = [
            (Duration::ZERO, 2.0, ms(30_000), [0, 10, 10]),
            (Duration::ZERO, f64::INFINITY, ms(70), [0, 10, 70]),
            (ms(500), 1e300, ms(1_000), [0, 500, 1_000]),
            (ms(500), 0.0, ms(1_000), [0, 500, 10]),
            (ms(500), -1.0, ms(1_000), [0, 500, 1_000]),
            (ms(500), 2.0, Duration::ZERO, [0, 10, 10]),
        ];
        for (then, factor, max_delay, expected) in cases {
            let restart = Restart {
                then,
                factor,
                max_delay,
                ..base.clone()
            };
            assert_eq!(pauses(&restart, 3, 0.5), expected, "{restart:?}");
        }
        assert!(pauses(&Restart::default(), 5_000, 0.5)[4_999] <= 30_000);
        assert_eq!(after(&Restart::default(), &"r".repeat(5_000), 0.5)[4_999], 30_000);
    }

    #[test]
    fn so_many_failures_in_a_row_are_the_last_and_a_reset_begins_anew() {
        let restart = Restart {
            limit: Some(3),
            ..Restart::default()
        };
        let mut backoff = Backoff::default();
        assert_eq!(backoff.failed(&restart, false, 0.5), Next::After(Duration::ZERO));
        assert_eq!(
            backoff.failed(&restart, false, 0.5),
            Next::After(Duration::from_millis(500))
        );
        assert_eq!(backoff.failed(&restart, false, 0.5), Next::GiveUp(3));
        backoff.reset();
        assert_eq!(backoff.failures(), 0);
        assert_eq!(backoff.failed(&restart, false, 0.5), Next::After(Duration::ZERO));
    }
}
