//! Rate limit of a module's output: lines above it are counted instead of kept. Reads no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::LineOrigin;

/// Lines a second that are kept of one module.
pub const LINES_PER_SECOND: u32 = 200;
/// Number of the newest suppressed lines that are remembered: the last lines of a module matter most.
const HELD: usize = 20;
const WINDOW: Duration = Duration::from_secs(1);

/// Counts the lines of one module within the running second, on both streams together.
#[derive(Debug, Default)]
pub struct RateLimit {
    since: Option<Instant>,
    shown: u32,
    suppressed: u64,
    /// The newest of the suppressed, as they came. Its buffers are used again and again.
    held: VecDeque<(LineOrigin, Vec<u8>)>,
}

/// Verdict of the limit on a line.
#[derive(Debug, PartialEq, Eq)]
pub enum LineVerdict {
    /// Keep it, after a note about so many lines that were not kept (0: no note).
    Keep {
        /// Lines that were suppressed before it.
        suppressed: u64,
    },
    /// The line was counted, and is not kept.
    Suppress,
}

/// Report of the lines suppressed until the flood ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SuppressedLines {
    /// Lines that are lost.
    pub suppressed: u64,
    /// The newest lines, which come after those.
    pub last: Vec<(LineOrigin, Vec<u8>)>,
}

impl RateLimit {
    /// A line has come.
    pub fn admit(&mut self, origin: LineOrigin, line: &[u8], now: Instant) -> LineVerdict {
        let over = self.since.is_none_or(|since| now.duration_since(since) >= WINDOW);
        if over {
            (self.since, self.shown) = (Some(now), 0);
        }
        if self.shown < LINES_PER_SECOND {
            self.shown += 1;
            self.held.clear();
            return LineVerdict::Keep {
                suppressed: std::mem::take(&mut self.suppressed),
            };
        }
        self.suppressed += 1;
        let full = self.held.len() == HELD;
        let spare = if full { self.held.pop_front() } else { None };
        let mut buffer = spare.map(|(_, buffer)| buffer).unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(line);
        self.held.push_back((origin, buffer));
        LineVerdict::Suppress
    }

    /// Time of the report even if no line follows.
    pub fn report_at(&self) -> Option<Instant> {
        self.since.filter(|_| self.suppressed > 0).map(|since| since + WINDOW)
    }

    /// Report at the end of the flood, or of its pipe.
    pub fn release(&mut self) -> SuppressedLines {
        let last: Vec<_> = std::mem::take(&mut self.held).into();
        let suppressed = std::mem::take(&mut self.suppressed);
        SuppressedLines {
            suppressed: suppressed.saturating_sub(last.len() as u64),
            last,
        }
    }

    /// The newest of the suppressed lines, oldest first.
    pub fn held(&self) -> impl DoubleEndedIterator<Item = &(LineOrigin, Vec<u8>)> {
        self.held.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::output::Stream;

    const ORIGIN: LineOrigin = LineOrigin {
        stream: Stream::Stdout,
        life: 1,
    };

    fn flood(limit: &mut RateLimit, lines: u32, now: Instant) -> u32 {
        let kept = |line: &u32| limit.admit(ORIGIN, line.to_string().as_bytes(), now) != LineVerdict::Suppress;
        u32::try_from((0..lines).filter(kept).count()).expect("a count of u32")
    }

    #[test]
    fn a_flood_is_counted_and_the_count_told_with_the_next_line() {
        let (start, mut limit) = (Instant::now(), RateLimit::default());
        assert_eq!(flood(&mut limit, LINES_PER_SECOND, start), LINES_PER_SECOND);
        assert_eq!(limit.report_at(), None);
        assert_eq!(flood(&mut limit, 500, start), 0);
        assert_eq!(limit.report_at(), Some(start + WINDOW));
        let next = limit.admit(ORIGIN, b"next", start + WINDOW);
        assert_eq!(next, LineVerdict::Keep { suppressed: 500 });
        assert_eq!(limit.report_at(), None);
        assert_eq!(limit.release(), SuppressedLines::default());
    }

    #[test]
    fn the_last_lines_of_a_flood_are_not_lost() {
        let (start, mut limit) = (Instant::now(), RateLimit::default());
        flood(&mut limit, LINES_PER_SECOND + 100, start);
        let released = limit.release();
        assert_eq!((released.suppressed, released.last.len()), (80, 20));
        assert_eq!(released.last[19].1, (LINES_PER_SECOND + 99).to_string().as_bytes());
        assert_eq!(limit.release(), SuppressedLines::default());
        flood(&mut limit, 3, start);
        let released = limit.release();
        assert_eq!((released.suppressed, released.last.len()), (0, 3));
    }
}
