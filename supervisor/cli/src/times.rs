//! Times and durations in messages, as values to count with. Clocks step: less than nothing is nothing.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

/// The time, if the message has one.
pub fn at(time: Option<&Timestamp>) -> Option<SystemTime> {
    SystemTime::try_from(*time?).ok()
}

/// Time from `time` to `now`.
pub fn since(time: Option<&Timestamp>, now: SystemTime) -> Option<Duration> {
    Some(now.duration_since(at(time)?).unwrap_or_default())
}

/// Time from `now` to `time`.
pub fn until(time: Option<&Timestamp>, now: SystemTime) -> Option<Duration> {
    Some(at(time)?.duration_since(now).unwrap_or_default())
}

/// A duration, if the message has one.
pub fn length(length: Option<&prost_types::Duration>) -> Option<Duration> {
    Duration::try_from(*length?).ok()
}

/// A duration in seconds, as scripts get it.
pub fn seconds(of: Option<&prost_types::Duration>) -> Option<f64> {
    length(of).map(|length| length.as_secs_f64())
}

/// A time as scripts get it: RFC 3339 in UTC.
pub fn rfc3339(time: Option<&Timestamp>) -> Option<String> {
    time.map(ToString::to_string)
}
