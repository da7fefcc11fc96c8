//! Position of a fake encoder, a pure function of its commands and the time.
//!
//! The position is computed on demand, so an idle encoder costs nothing.

use std::time::Duration;

use tokio::time::Instant;

const MINUTE: f64 = 60.0;

/// Position in ticks that moves at constant speed. Readings change in steps, like those of a real encoder read by a timer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Motion {
    /// Position at `since` in ticks, exact whatever the display step is.
    ticks: f64,
    /// Speed from `since` on, in ticks per minute.
    speed: f64,
    since: Instant,
    /// Start of the display steps.
    origin: Instant,
    step: Duration,
}

impl Motion {
    /// Creates a motion at rest at zero. A reading changes once per `step`; a `step` of zero shows every change at once.
    pub(crate) fn new(step: Duration, now: Instant) -> Self {
        Self {
            ticks: 0.0,
            speed: 0.0,
            since: now,
            origin: now,
            step,
        }
    }

    /// Reading in ticks: the position at the last display step.
    pub(crate) fn shown(&self, now: Instant) -> f64 {
        let running = now.saturating_duration_since(self.origin).as_nanos();
        let part = match self.step.as_nanos() {
            0 => 0,
            step => running % step,
        };
        let shown = now - Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX));
        // A command shows its effect at once: a reading never goes back to before it.
        self.at(shown.max(self.since))
    }

    /// Exact position in ticks, also between two display steps.
    pub(crate) fn exact(&self, now: Instant) -> f64 {
        self.at(now)
    }

    /// Sets the speed in ticks per minute. NaN and infinities count as 0, because they would spoil the position for
    /// ever.
    pub(crate) fn set_speed(&mut self, speed: f64, now: Instant) {
        self.set_ticks(self.at(now), now);
        self.speed = if speed.is_finite() { speed } else { 0.0 };
    }

    /// Sets the position in ticks and keeps the speed.
    pub(crate) fn set_ticks(&mut self, ticks: f64, now: Instant) {
        (self.ticks, self.since) = (ticks, now);
    }

    /// Takes over position and speed of `other`, and keeps its own display steps.
    pub(crate) fn take_over(&mut self, other: &Self, now: Instant) {
        self.set_ticks(other.at(now), now);
        self.speed = other.speed;
    }

    fn at(&self, time: Instant) -> f64 {
        self.ticks + self.speed * (time.saturating_duration_since(self.since).as_secs_f64() / MINUTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Do {
        Speed(f64),
        Ticks(f64),
    }
    use Do::{Speed, Ticks};

    /// Runs commands at times in ms, then returns the positions at `read_ms`: (shown, exact).
    fn check(step_ms: u64, commands: &[(u64, Do)], read_ms: u64, expected: (f64, f64)) {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut motion = Motion::new(Duration::from_millis(step_ms), start);
        for (ms, command) in commands {
            match command {
                Speed(speed) => motion.set_speed(*speed, at(*ms)),
                Ticks(ticks) => motion.set_ticks(*ticks, at(*ms)),
            }
        }
        let (shown, exact) = (motion.shown(at(read_ms)), motion.exact(at(read_ms)));
        assert!(
            (shown - expected.0).abs() < 1e-6 && (exact - expected.1).abs() < 1e-6,
            "at {read_ms} ms: shows {shown}, stands at {exact}; expected {expected:?}"
        );
    }

    #[test]
    fn a_position_advances_with_speed_and_shows_it_step_by_step() {
        check(100, &[], 1_000, (0.0, 0.0));
        check(100, &[(0, Speed(60_000.0))], 0, (0.0, 0.0));
        check(100, &[(0, Speed(60_000.0))], 99, (0.0, 99.0));
        check(100, &[(0, Speed(60_000.0))], 100, (100.0, 100.0));
        check(100, &[(0, Speed(60_000.0))], 1_050, (1_000.0, 1_050.0));
        check(1_000, &[(0, Speed(60_000.0))], 1_999, (1_000.0, 1_999.0));
        check(0, &[(0, Speed(60_000.0))], 77, (77.0, 77.0));
        check(100, &[(0, Speed(-600.0))], 60_000, (-600.0, -600.0));
    }

    #[test]
    fn a_change_of_speed_keeps_what_was_turned_so_far() {
        check(100, &[(0, Speed(60_000.0)), (150, Speed(0.0))], 160, (150.0, 150.0));
        check(
            100,
            &[(0, Speed(60_000.0)), (150, Speed(-60_000.0))],
            199,
            (150.0, 101.0),
        );
        check(
            100,
            &[(0, Speed(60_000.0)), (150, Speed(-60_000.0))],
            200,
            (100.0, 100.0),
        );
    }

    #[test]
    fn a_set_position_shows_at_once_and_motion_goes_on_from_there() {
        check(100, &[(0, Speed(60_000.0)), (150, Ticks(-7.5))], 150, (-7.5, -7.5));
        check(100, &[(0, Speed(60_000.0)), (150, Ticks(-7.5))], 200, (42.5, 42.5));
    }

    #[test]
    fn a_speed_that_is_no_number_stands_still() {
        check(100, &[(0, Ticks(3.0)), (0, Speed(f64::NAN))], 500, (3.0, 3.0));
        check(100, &[(0, Ticks(3.0)), (0, Speed(f64::INFINITY))], 500, (3.0, 3.0));
    }
}
