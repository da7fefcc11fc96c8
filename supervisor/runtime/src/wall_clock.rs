//! Time of day for what is shown as an age. A robot without a battery for its clock starts decades ago and is set right later;
//! what was recorded before must not look decades old then. Recorded times run with the monotonic clock, and are moved by
//! whatever the system's clock was set by when they are shown.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

/// Differences of the two clocks below this are drift, and no reason to show another time than before.
const DRIFT: Duration = Duration::from_secs(2);

/// One moment on both clocks.
static START: LazyLock<(SystemTime, Instant)> = LazyLock::new(|| (SystemTime::now(), Instant::now()));

/// Now, for a record.
pub fn now() -> SystemTime {
    let (wall, monotonic) = *START;
    wall + monotonic.elapsed()
}

/// A recorded time, on the clock as the system has it now.
pub fn shown(recorded: SystemTime) -> SystemTime {
    moved(recorded, now(), SystemTime::now())
}

fn moved(recorded: SystemTime, steady: SystemTime, system: SystemTime) -> SystemTime {
    match system.duration_since(steady) {
        Ok(ahead) if ahead >= DRIFT => recorded + ahead,
        Err(behind) if behind.duration() >= DRIFT => recorded
            .checked_sub(behind.duration())
            .unwrap_or(SystemTime::UNIX_EPOCH),
        _ => recorded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_stays_what_it_is_when_the_clock_is_set() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let decades = 1_700_000_000;
        for (recorded, steady, system, expected) in [
            (at(100), at(160), at(160), at(100)),
            (at(100), at(160), at(161), at(100)),
            (at(100), at(160), at(160 + decades), at(100 + decades)),
            (at(100 + decades), at(160 + decades), at(160), at(100)),
        ] {
            let shown = moved(recorded, steady, system);
            assert_eq!(shown, expected);
        }
    }
}
