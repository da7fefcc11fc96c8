//! Schedule of a job. Pure: the clock and the time zone come in.

use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use croner::parser::CronParser;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use mainstay_model::duration::parse as parse_duration;

/// Cron has five fields, and more with seconds in front or a year behind.
const CRON_FIELDS: usize = 5;
/// Latest begin of a run that still counts as the one of its time: beyond that somebody set the clock.
const LATE: Duration = Duration::from_secs(30);
/// Longest sleep before another look at the clock: it may be set, above all on computers that start in 1970.
const LOOK: Duration = Duration::from_secs(10);

/// Schedule of a job.
#[derive(Debug, Clone)]
pub enum Schedule {
    /// Again as soon as it is done.
    Continuous,
    /// Run at this interval, the first time after one. A run that takes longer is followed at once by one other, however
    /// many it missed.
    Every(Duration),
    /// Run when the local time matches. Matches that fall into a run are left out.
    Cron(Cron),
}

/// Cron fields.
#[derive(Debug, Clone)]
pub struct Cron(Box<croner::Cron>);

/// A text that is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// Neither a word that is known nor a duration nor enough fields.
    #[error("`{0}` is no schedule")]
    Unknown(String),
    /// A pause of nothing.
    #[error("the interval `{0}` is no time at all; `continuous` runs it again and again")]
    Zero(String),
    /// Fields that do not parse.
    #[error("`{text}` is no cron schedule: {problem}")]
    Fields {
        /// The schedule.
        text: String,
        /// Description of the fault.
        problem: String,
    },
    /// The expression never matches, such as the 30th of February.
    #[error("`{0}` matches no moment")]
    Never(String),
}

impl FromStr for Schedule {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        let text = text.trim();
        if text == "continuous" {
            return Ok(Self::Continuous);
        }
        match parse_duration(text) {
            Ok(interval) if interval.is_zero() => return Err(BadSchedule::Zero(text.to_owned())),
            Ok(interval) => return Ok(Self::Every(interval)),
            Err(_) => {}
        }
        if text.split_whitespace().count() < CRON_FIELDS {
            return Err(BadSchedule::Unknown(text.to_owned()));
        }
        // `5/15` for `5-59/15` is what peers accept, too.
        let parsed = CronParser::builder().sloppy_ranges(true).build().parse(text);
        let cron = parsed.map_err(|error| BadSchedule::Fields {
            text: text.to_owned(),
            problem: error.to_string(),
        })?;
        let begin = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        if cron.find_next_occurrence(&begin, false).is_err() {
            return Err(BadSchedule::Never(text.to_owned()));
        }
        Ok(Self::Cron(Cron(Box::new(cron))))
    }
}

/// Step that is due for a cron job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CronDue {
    /// Ask again after this time.
    In(Duration),
    /// Run: this is its time.
    Now(SystemTime),
}

impl Cron {
    /// Step at `now`, when all matches until `last` are past: it was begun then, or its last run ended. `None`: it will
    /// never match again.
    #[must_use]
    pub fn due(&self, last: SystemTime, now: SystemTime, zone: &TimeZone) -> Option<CronDue> {
        // A moment ago may be its time: nobody wakes up on the dot.
        let mut begin = now.checked_sub(LATE)?;
        // After a clock was set back, what is past is in its future and does not count.
        if last <= now + LATE {
            begin = begin.max(last);
        }
        let begin = Timestamp::try_from(begin).ok()?.to_zoned(zone.clone());
        let next: Zoned = self.0.find_next_occurrence(&begin, false).ok()?;
        let next = SystemTime::from(next.timestamp());
        Some(match next.duration_since(now) {
            Ok(left) if !left.is_zero() => CronDue::In(left.min(LOOK)),
            _ => CronDue::Now(next),
        })
    }
}

/// Begin of the next run at an interval, after one that was due at `due` and is over `now`: at once, if its time has come
/// already.
#[must_use]
pub fn next_turn(due: Instant, interval: Duration, now: Instant) -> Instant {
    let behind = now.saturating_duration_since(due).as_nanos() / interval.as_nanos().max(1);
    // One that was missed is made up for; further ones are not.
    let turns = u32::try_from(behind.max(1)).unwrap_or(u32::MAX);
    match interval.checked_mul(turns).and_then(|past| due.checked_add(past)) {
        Some(next) => next,
        None => now + interval,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(text: &str) -> Cron {
        match text.parse() {
            Ok(Schedule::Cron(cron)) => cron,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn time(text: &str) -> SystemTime {
        text.parse::<Timestamp>().expect("a time").into()
    }

    #[test]
    fn schedules_are_told_apart_as_the_config_says() {
        for (text, expected) in [
            ("continuous", "Continuous"),
            ("30s", "Every(30s)"),
            ("1h30m", "Every(5400s)"),
            ("0 3 * * *", "Cron"),
            ("*/10 * * * * *", "Cron"),
            ("0 0 9-17 * * MON-FRI", "Cron"),
            ("5/15 * * jan,JUL ?", "Cron"),
            ("often", "`often` is no schedule"),
            ("", "`` is no schedule"),
            ("* * * *", "`* * * *` is no schedule"),
            ("-5s", "`-5s` is no schedule"),
            (
                "0s",
                "the interval `0s` is no time at all; `continuous` runs it again and again",
            ),
            ("0 25 * * *", "`0 25 * * *` is no cron schedule: "),
            ("a b c d e", "`a b c d e` is no cron schedule: "),
            ("0 0 30 2 *", "`0 0 30 2 *` matches no moment"),
        ] {
            let found = match text.parse::<Schedule>() {
                Ok(schedule) => format!("{schedule:?}"),
                Err(bad) => bad.to_string(),
            };
            assert!(found.starts_with(expected) && !expected.is_empty(), "{text}: {found}");
        }
    }

    #[test]
    fn cron_fields_match_local_time() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap_or_else(|_| TimeZone::fixed(jiff::tz::offset(1)));
        for (fields, zone, now, expected) in [
            (
                "0 3 * * *",
                TimeZone::UTC,
                "2026-01-10T02:59:55Z",
                "2026-01-10T03:00:00Z",
            ),
            ("0 3 * * *", berlin, "2026-01-10T01:59:55Z", "2026-01-10T02:00:00Z"),
            (
                "*/10 * * * * *",
                TimeZone::UTC,
                "2026-01-10T00:00:01Z",
                "2026-01-10T00:00:10Z",
            ),
            // Either day field is enough when both are given: the 13th, or a Friday (the 9th).
            (
                "0 0 13 * FRI",
                TimeZone::UTC,
                "2026-01-08T23:59:55Z",
                "2026-01-09T00:00:00Z",
            ),
            (
                "0 0 13 * FRI",
                TimeZone::UTC,
                "2026-01-12T23:59:55Z",
                "2026-01-13T00:00:00Z",
            ),
        ] {
            let (now, expected) = (time(now), time(expected));
            let left = expected.duration_since(now).expect("later").min(LOOK);
            let due = cron(fields).due(now, now, &zone);
            assert_eq!(due, Some(CronDue::In(left)), "{fields}");
            let due = cron(fields).due(now, expected + Duration::from_millis(3), &zone);
            assert_eq!(due, Some(CronDue::Now(expected)), "{fields}");
        }
    }

    #[test]
    fn what_falls_into_a_run_is_left_out_and_a_clock_that_is_set_brings_no_surprise() {
        let (every_minute, zone) = (cron("* * * * *"), TimeZone::UTC);
        let due = |last: &str, now: &str| every_minute.due(time(last), time(now), &zone);
        let wait = |seconds| Some(CronDue::In(Duration::from_secs(seconds)));
        // It ran until 10:01:10, and until long ago.
        assert_eq!(
            due("2026-01-01T10:01:10Z", "2026-01-01T10:01:10.1Z"),
            Some(CronDue::In(LOOK))
        );
        assert_eq!(due("2026-01-01T10:00:00Z", "2026-01-01T10:03:40Z"), wait(10));
        assert_eq!(due("2026-01-01T10:00:00Z", "2026-01-01T10:03:50Z"), wait(10));
        assert_eq!(
            due("2026-01-01T10:00:00Z", "2026-01-01T10:04:00Z"),
            Some(CronDue::Now(time("2026-01-01T10:04:00Z")))
        );
        // Once for one minute.
        assert_eq!(
            due("2026-01-01T10:04:00Z", "2026-01-01T10:04:00.2Z"),
            Some(CronDue::In(LOOK))
        );
        // Set forward from 1970 in the middle of a minute, and back by a day.
        assert_eq!(
            due("1970-01-01T00:01:00Z", "2026-01-01T10:00:45Z"),
            Some(CronDue::In(LOOK))
        );
        assert_eq!(due("2026-01-02T10:00:00Z", "2026-01-01T10:00:55Z"), wait(5));
    }

    #[test]
    fn a_run_that_takes_too_long_is_followed_by_one_other() {
        let start = Instant::now();
        let s = Duration::from_secs;
        for (due_s, over_ms, next_s) in [(10, 10_200, 20), (10, 20_000, 20), (10, 25_000, 20), (10, 47_000, 40)] {
            let next = next_turn(start + s(due_s), s(10), start + Duration::from_millis(over_ms));
            assert_eq!(next - start, s(next_s), "over at {over_ms} ms");
        }
    }
}
