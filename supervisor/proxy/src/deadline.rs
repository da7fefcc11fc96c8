//! Deadline of a call: `grpc-timeout` read, counted down and written again for the next hop.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tokio::time::Instant;
use tonic::Status;

use crate::body::CallBody;
use crate::status::{CallError, plain};

/// Default deadline of a unary call whose caller set none.
pub const DEFAULT_UNARY: Duration = Duration::from_secs(10 * 60);

/// A `grpc-timeout` header that says no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed grpc-timeout `{0}`: expected up to 8 digits and one of H, M, S, m, u, n, for example `250m`")]
pub struct BadTimeout(String);

impl BadTimeout {
    /// The answer to such a request: HTTP 400 with the reason as text, as gRPC servers do.
    pub fn into_response(self) -> Response<CallBody> {
        plain(StatusCode::BAD_REQUEST, self.to_string())
    }
}

/// The moment at which a call ends by itself, if there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No end.
    pub const NEVER: Self = Self(None);

    /// Deadline that the request's headers ask for, counted from `now`; else `default`, else none.
    pub fn of(headers: &HeaderMap, default: Option<Duration>, now: Instant) -> Result<Self, BadTimeout> {
        let timeout = match headers.get("grpc-timeout") {
            Some(value) => Some(parse(value.as_bytes())?),
            None => default,
        };
        Ok(Self::after(timeout, now))
    }

    /// Deadline after so much time; none without it, and none if it leaves the clock's range.
    pub fn after(timeout: Option<Duration>, now: Instant) -> Self {
        Self(timeout.and_then(|timeout| now.checked_add(timeout)))
    }

    /// The moment itself.
    pub fn at(self) -> Option<Instant> {
        self.0
    }

    /// Time that is left at `now`.
    pub fn remaining(self, now: Instant) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(now))
    }

    /// Runs `work` until the deadline; then its end is `context deadline exceeded`.
    pub async fn limit<T>(self, work: impl Future<Output = T>) -> Result<T, Status> {
        match self.0 {
            Some(at) => tokio::time::timeout_at(at, work)
                .await
                .map_err(|_| CallError::DeadlineExceeded.into()),
            None => Ok(work.await),
        }
    }
}

/// Reads a `grpc-timeout`.
pub fn parse(text: &[u8]) -> Result<Duration, BadTimeout> {
    let bad = || BadTimeout(String::from_utf8_lossy(text).into_owned());
    let (unit, digits) = text.split_last().ok_or_else(bad)?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    let count = digits
        .iter()
        .fold(0u64, |count, digit| count * 10 + u64::from(digit - b'0'));
    Ok(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return Err(bad()),
    })
}

/// Writes a `grpc-timeout` in the finest unit whose count fits eight digits. Rounds up, so that nobody downstream ends
/// a call before this hop would.
pub fn print(timeout: Duration) -> HeaderValue {
    const LIMIT: u128 = 100_000_000;
    let nanos = timeout.as_nanos();
    let (count, unit) = [
        (1_000, 'u'),
        (1_000_000, 'm'),
        (1_000_000_000, 'S'),
        (60_000_000_000, 'M'),
    ]
    .into_iter()
    .map(|(size, unit)| (nanos.div_ceil(size), unit))
    .find(|&(count, _)| count < LIMIT)
    .unwrap_or((nanos.div_ceil(3_600_000_000_000).min(LIMIT - 1), 'H'));
    HeaderValue::try_from(format!("{count}{unit}")).expect("digits and a letter are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        let cases = [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("4S", Duration::from_secs(4)),
            ("250m", Duration::from_millis(250)),
            ("99999999u", Duration::from_micros(99_999_999)),
            ("0n", Duration::ZERO),
        ];
        for (text, timeout) in cases {
            assert_eq!(parse(text.as_bytes()), Ok(timeout), "{text}");
        }
    }

    #[test]
    fn what_says_no_time_is_refused() {
        for text in [
            "",
            "S",
            "1",
            "1x",
            "123456789S",
            "-1S",
            "1.5S",
            "+1S",
            " 1S",
            "1 S",
            "\u{661}S",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_left_is_printed_in_the_finest_unit_that_fits() {
        let cases = [
            (Duration::ZERO, "0u"),
            (Duration::from_nanos(1), "1u"),
            (Duration::from_millis(250), "250000u"),
            (Duration::from_secs(600), "600000m"),
            (Duration::from_secs(200_000), "200000S"),
            (Duration::from_secs(200_000_000), "3333334M"),
            (Duration::MAX, "99999999H"),
        ];
        for (timeout, text) in cases {
            assert_eq!(print(timeout), text);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_callers_timeout_wins_over_the_default() {
        let now = Instant::now();
        let mut headers = HeaderMap::new();
        let default = Some(DEFAULT_UNARY);
        assert_eq!(Deadline::of(&headers, None, now), Ok(Deadline::NEVER));
        assert_eq!(Deadline::of(&headers, default, now).unwrap().remaining(now), default);
        headers.insert("grpc-timeout", HeaderValue::from_static("20M"));
        let deadline = Deadline::of(&headers, default, now).unwrap();
        assert_eq!(deadline.remaining(now), Some(Duration::from_secs(1200)));
        assert_eq!(
            deadline.remaining(now + Duration::from_secs(2000)),
            Some(Duration::ZERO)
        );
        headers.insert("grpc-timeout", HeaderValue::from_static("soon"));
        assert!(
            Deadline::of(&headers, default, now)
                .unwrap_err()
                .to_string()
                .contains("`soon`")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn work_ends_at_the_deadline() {
        let deadline = Deadline(Some(Instant::now() + Duration::from_millis(10)));
        let status = deadline.limit(std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (tonic::Code::DeadlineExceeded, "context deadline exceeded")
        );
        assert_eq!(Deadline::NEVER.limit(async { 5 }).await.unwrap(), 5);
    }
}
