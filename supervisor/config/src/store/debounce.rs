//! Debounce of file changes: whether a look at the file is to be reported, and when. Pure: time comes in.
//!
//! A lone change is told at once, one right behind it almost. What goes on is a burst: it is told when it rests, and not later than
//! [`LONGEST`] after it began.
//! That a file is away or unreadable is told only when it stays so: editors and deployments take it away for a moment.

use std::time::{Duration, Instant};

/// Absence that is not reported yet.
pub const GRACE: Duration = Duration::from_millis(500);
/// Longest gap after a reported change for the next one to belong to its burst.
const BURST: Duration = Duration::from_millis(250);
/// Rest time of the content for the first change that comes right behind another one. Twice as long for the next, and so on.
const FIRST_REST: Duration = Duration::from_millis(10);
/// Longest rest time, which also counts once the content changed again while it was waited for.
const REST: Duration = Duration::from_millis(60);
/// Longest time that a change is held back.
const LONGEST: Duration = Duration::from_millis(600);

/// Result of a look, as far as it matters whether it is the same as before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileChange {
    /// A readable config, by its digest.
    Text(String),
    /// Refused text, its files do not fit together: a hash of what was read.
    Refused(String),
    /// Missing file.
    Missing,
    /// A file that cannot be read, and why.
    Unreadable(String),
}

/// Verdict on a result.
#[derive(Debug, PartialEq, Eq)]
pub enum DebounceVerdict {
    /// The result was reported already.
    Known,
    /// The result may pass by itself, or change again: look again after this time.
    Wait(Duration),
    /// The result is new: report it.
    Tell,
}

/// Debouncer: the last reported result, and the one that may have to be.
#[derive(Debug)]
pub struct Debounce {
    reported: Option<FileChange>,
    reported_at: Option<Instant>,
    /// Number of reports right behind another one, in this burst.
    burst_reports: u32,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    found: FileChange,
    /// Since when it is what is found.
    since: Instant,
    /// Since when what is found is not what was reported.
    differs_since: Instant,
    /// Rest time of the next change.
    rest: Duration,
}

impl Debounce {
    /// Begins with what the listener knows, if anything.
    pub fn new(known: Option<FileChange>) -> Self {
        Self {
            reported: known,
            reported_at: None,
            burst_reports: 0,
            pending: None,
        }
    }

    /// Judges what a look at `now` found. `sudden`: some file was not there or not readable, so this may be the middle of a change.
    pub fn judge(&mut self, found: &FileChange, sudden: bool, now: Instant) -> DebounceVerdict {
        if self.reported.as_ref() == Some(found) {
            self.pending = None;
            return DebounceVerdict::Known;
        }
        let differs_since = self.pending.as_ref().map_or(now, |pending| pending.differs_since);
        let (since, rest) = match &self.pending {
            Some(pending) if pending.found == *found => (pending.since, pending.rest),
            Some(_) => (now, REST),
            None => (now, FIRST_REST.saturating_mul(1 << self.burst_reports.min(4)).min(REST)),
        };
        let in_burst = self
            .reported_at
            .is_some_and(|at| differs_since.duration_since(at) < BURST);
        let due = if sudden {
            since + GRACE
        } else if in_burst {
            (since + rest).min(differs_since + LONGEST)
        } else {
            now
        };
        if due <= now {
            let burst_reports = if in_burst {
                self.burst_reports.saturating_add(1)
            } else {
                0
            };
            self.set_reported(found.clone(), now);
            self.burst_reports = burst_reports;
            return DebounceVerdict::Tell;
        }
        self.pending = Some(Pending {
            found: found.clone(),
            since,
            differs_since,
            rest,
        });
        DebounceVerdict::Wait(due - now)
    }

    /// Sets the last reported result, whatever was reported before.
    pub fn set_reported(&mut self, found: FileChange, now: Instant) {
        self.reported = Some(found);
        self.reported_at = Some(now);
        self.burst_reports = 0;
        self.pending = None;
    }

    /// True if something may have to be reported though nothing changes any more.
    pub fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at the given milliseconds, each with what it finds: `-` nothing, `!` unreadable, else a text. Gives what is told when.
    fn reported(known: Option<&str>, looks: &[(u64, &str)]) -> String {
        let text = |text: &str| FileChange::Text(text.to_owned());
        let mut debounce = Debounce::new(known.map(text));
        let start = Instant::now();
        let mut reported = Vec::new();
        for (at_ms, found) in looks {
            let (found_now, sudden) = match *found {
                "-" => (FileChange::Missing, true),
                "!" => (FileChange::Unreadable("no".to_owned()), true),
                other => (text(other), false),
            };
            if debounce.judge(&found_now, sudden, start + Duration::from_millis(*at_ms)) == DebounceVerdict::Tell {
                reported.push(format!("{found}@{at_ms}"));
            }
        }
        reported.join(" ")
    }

    #[test]
    fn a_lone_change_is_told_at_once_and_nothing_twice() {
        assert_eq!(
            reported(None, &[(0, "a"), (1, "a"), (2000, "a"), (4000, "b")]),
            "a@0 b@4000"
        );
        assert_eq!(
            reported(Some("a"), &[(0, "a"), (1000, "b"), (3000, "a")]),
            "b@1000 a@3000"
        );
    }

    #[test]
    fn one_right_behind_another_is_told_almost_at_once_and_what_goes_on_ever_later() {
        let looks = [
            (0, "a"),
            (50, "b"),
            (59, "b"),
            (60, "b"),
            (100, "c"),
            (119, "c"),
            (120, "c"),
            (200, "d"),
            (239, "d"),
            (240, "d"),
            (300, "e"),
            (359, "e"),
            (360, "e"),
            // Alone, and right behind that.
            (700, "f"),
            (710, "g"),
            (719, "g"),
            (720, "g"),
        ];
        assert_eq!(reported(None, &looks), "a@0 b@60 c@120 d@240 e@360 f@700 g@720");
        // Who writes on while the first is waited for is not done.
        let goes_on = [(0, "a"), (50, "b"), (55, "c"), (65, "c"), (114, "c"), (115, "c")];
        assert_eq!(reported(None, &goes_on), "a@0 c@115");
    }

    #[test]
    fn a_burst_is_told_at_its_begin_and_when_it_rests() {
        let burst: Vec<(u64, &str)> = vec![(0, "a"), (10, "b"), (20, "c"), (30, "d"), (89, "d"), (90, "d")];
        assert_eq!(reported(None, &burst), "a@0 d@90");
    }

    #[test]
    fn a_burst_without_rest_is_told_now_and_then() {
        let texts: Vec<String> = (0..300).map(|n| format!("t{n}")).collect();
        let looks: Vec<(u64, &str)> = texts
            .iter()
            .enumerate()
            .map(|(n, t)| (n as u64 * 10, t.as_str()))
            .collect();
        assert_eq!(reported(None, &looks), "t0@0 t61@610 t122@1220 t183@1830 t244@2440");
    }

    #[test]
    fn what_returns_within_a_burst_is_no_news() {
        assert_eq!(
            reported(Some("a"), &[(0, "b"), (10, "a"), (20, "b"), (200, "b")]),
            "b@0"
        );
    }

    #[test]
    fn absence_is_told_when_it_stays_and_return_always() {
        assert_eq!(reported(Some("a"), &[(0, "-"), (5, "a"), (700, "a")]), "");
        assert_eq!(
            reported(Some("a"), &[(0, "-"), (499, "-"), (500, "-"), (900, "-"), (5000, "a")]),
            "-@500 a@5000"
        );
        assert_eq!(
            reported(Some("a"), &[(0, "-"), (400, "!"), (600, "!"), (900, "!")]),
            "!@900"
        );
        assert_eq!(reported(Some("a"), &[(0, "-"), (100, "b")]), "b@100");
    }
}
