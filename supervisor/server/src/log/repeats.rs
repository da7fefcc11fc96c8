//! Filter for lines of the log that repeat one of a moment ago, with their count. Reads no clock and holds a bounded
//! number of bytes, however many different lines come.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use mainstay_model::duration;
use tracing::Level;

/// Time for which repetitions of a message are counted, from the first one.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Number of times that a message is written within that window; from then on it is counted.
const WRITTEN: u64 = 3;
/// Messages whose repetitions are counted at the same time; of more, those that began first are forgotten.
const MAX_MESSAGES: usize = 1000;
/// Bytes that the texts of counted messages may have together.
const MAX_BYTES: usize = 256 << 10;
/// Longest text of a counted message that is kept for its summary, in bytes.
const MAX_TEXT: usize = 4 << 10;

/// Message that the log is about to write.
#[derive(Clone, Copy, Debug)]
pub struct LogMessage<'a> {
    /// The name of its logger. Two loggers may say the same, and both are written.
    pub logger: &'a str,
    /// Level.
    pub level: Level,
    /// The module that it is about, if it is about one.
    pub module: Option<&'a str>,
    /// Text, with all its fields.
    pub text: &'a str,
}

/// Summary of what was left out of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Level of each of the messages.
    pub level: Level,
    /// The module that they are about.
    pub module: Option<String>,
    /// Text to be written.
    pub text: String,
}

/// Decision about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepeatAction {
    /// Write it.
    Write,
    /// Count it; it is the first of its kind that is counted. [`Repeats::due`] has a new answer.
    Begin,
    /// Count it.
    Count,
}

/// The messages of the last minute.
#[derive(Debug, Default)]
pub struct Repeats {
    hasher: RandomState,
    /// Messages by hash of logger, level and text. The hash is keyed and has 64 bits: no two messages of these few will
    /// ever share one.
    open: HashMap<u64, Repetition>,
    /// The same, those that began first in front.
    order: VecDeque<(Instant, u64)>,
    /// Bytes in the texts of all that are counted.
    bytes: usize,
}

/// Message with its count since its window began.
#[derive(Debug, Default)]
struct Repetition {
    times: u64,
    /// Set once it is counted instead of written.
    counted: Option<Summary>,
}

impl Repeats {
    /// A message has come. What has to be told of earlier ones, because their time is over or their room is needed, is
    /// added to `ended`.
    pub fn admit(&mut self, said: LogMessage<'_>, now: Instant, ended: &mut Vec<Summary>) -> RepeatAction {
        self.end(now, ended);
        let key = self.hasher.hash_one((said.logger, said.level, said.text));
        let seen = match self.open.entry(key) {
            Entry::Occupied(seen) => seen.into_mut(),
            Entry::Vacant(new) => {
                self.order.push_back((now, key));
                new.insert(Repetition::default())
            }
        };
        seen.times += 1;
        let admit = match &seen.counted {
            Some(_) => RepeatAction::Count,
            None if seen.times <= WRITTEN => RepeatAction::Write,
            None => {
                let counted = Summary::of(said);
                self.bytes += counted.weight();
                seen.counted = Some(counted);
                RepeatAction::Begin
            }
        };
        while self.order.len() > MAX_MESSAGES || self.bytes > MAX_BYTES {
            if !self.close_oldest(now, ended) {
                break;
            }
        }
        admit
    }

    /// Time at which [`end`](Self::end) has something to report even if no message comes.
    pub fn due(&self) -> Option<Instant> {
        let counted = |key: &u64| self.open.get(key).is_some_and(|seen| seen.counted.is_some());
        let first = self.order.iter().find(|(_, key)| counted(key));
        first.map(|(since, _)| *since + WINDOW)
    }

    /// Adds what is to be told of messages whose time is over.
    pub fn end(&mut self, now: Instant, ended: &mut Vec<Summary>) {
        while self.order.front().is_some_and(|(since, _)| *since + WINDOW <= now) {
            self.close_oldest(now, ended);
        }
    }

    /// Adds what is to be told of all, because nothing comes any more.
    pub fn end_all(&mut self, now: Instant, ended: &mut Vec<Summary>) {
        while self.close_oldest(now, ended) {}
    }

    fn close_oldest(&mut self, now: Instant, ended: &mut Vec<Summary>) -> bool {
        let Some((since, key)) = self.order.pop_front() else {
            return false;
        };
        let Some(Repetition { times, counted }) = self.open.remove(&key) else {
            return true;
        };
        let Some(counted) = counted else { return true };
        self.bytes -= counted.weight();
        let length = now.duration_since(since).min(WINDOW);
        // A part of a second only where there is no whole one.
        let length = match length.as_secs() {
            0 => Duration::from_millis(u64::from(length.subsec_millis())),
            seconds => Duration::from_secs(seconds),
        };
        let length = duration::show(length);
        ended.push(Summary {
            text: format!("Message logged {times} times in past {length}: {}", counted.text),
            ..counted
        });
        true
    }
}

impl Summary {
    /// Summary whose text is the message alone, until its count is known.
    fn of(said: LogMessage<'_>) -> Self {
        let cut = said.text.floor_char_boundary(MAX_TEXT);
        let more = if cut < said.text.len() { "…" } else { "" };
        Self {
            level: said.level,
            module: said.module.map(str::to_owned),
            text: format!("{}{more}", &said.text[..cut]),
        }
    }

    fn weight(&self) -> usize {
        self.text.len() + self.module.as_ref().map_or(0, String::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<'a>(logger: &'a str, text: &'a str) -> LogMessage<'a> {
        LogMessage {
            logger,
            level: Level::INFO,
            module: None,
            text,
        }
    }

    /// Checks what the log shows of messages `(second, logger, text)`, and of the end of all after `until`: one letter
    /// each (`w`ritten, `b`egun to count, `c`ounted), and the summaries.
    fn check(messages: &[(u64, &str, &str)], until: u64, admitted: &str, summaries: &[&str]) {
        let (start, mut repeats, mut ended) = (Instant::now(), Repeats::default(), Vec::new());
        let at = |second: u64| start + Duration::from_secs(second);
        let mut letters = String::new();
        for (second, logger, text) in messages {
            letters.push(match repeats.admit(said(logger, text), at(*second), &mut ended) {
                RepeatAction::Write => 'w',
                RepeatAction::Begin => 'b',
                RepeatAction::Count => 'c',
            });
        }
        repeats.end_all(at(until), &mut ended);
        let texts: Vec<_> = ended.iter().map(|summary| summary.text.as_str()).collect();
        assert_eq!((letters.as_str(), &texts[..]), (admitted, summaries), "{messages:?}");
        assert_eq!((repeats.bytes, repeats.open.len(), repeats.due()), (0, 0, None));
    }

    #[test]
    fn a_message_is_written_three_times_a_minute_and_then_counted() {
        check(&[(0, "a", "x"); 3], 1, "www", &[]);
        check(
            &[(0, "a", "x"); 5],
            7,
            "wwwbc",
            &["Message logged 5 times in past 7s: x"],
        );
        check(
            &[(0, "a", "x"); 4],
            90,
            "wwwb",
            &["Message logged 4 times in past 1m0s: x"],
        );
        let spread = [0, 10, 20, 30, 59, 60, 61].map(|second| (second, "a", "x"));
        check(&spread, 200, "wwwbcww", &["Message logged 5 times in past 1m0s: x"]);
        let slow = [0, 25, 50, 75, 100, 125].map(|second| (second, "a", "x"));
        check(&slow, 200, "wwwwww", &[]);
    }

    #[test]
    fn only_the_same_words_of_the_same_logger_are_the_same_message() {
        let two = [
            (0, "a", "x"),
            (0, "b", "x"),
            (0, "a", "x"),
            (0, "a", "y"),
            (0, "a", "x"),
            (0, "b", "x"),
            (0, "a", "x"),
            (1, "b", "x"),
        ];
        check(&two, 60, "wwwwwwbw", &["Message logged 4 times in past 1m0s: x"]);
        let (now, mut repeats) = (Instant::now(), Repeats::default());
        for level in [Level::INFO, Level::WARN, Level::ERROR, Level::INFO] {
            let said = LogMessage {
                level,
                ..said("a", "x")
            };
            assert_eq!(repeats.admit(said, now, &mut Vec::new()), RepeatAction::Write);
        }
    }

    #[test]
    fn a_count_is_told_when_its_minute_is_over_even_if_nothing_is_said_any_more() {
        let (start, mut repeats, mut ended) = (Instant::now(), Repeats::default(), Vec::new());
        let about = LogMessage {
            module: Some("eyes"),
            level: Level::WARN,
            ..said("a", "x")
        };
        repeats.admit(said("a", "first"), start, &mut ended);
        for second in 1..=5 {
            assert_eq!(repeats.due(), (second > 4).then(|| start + Duration::from_secs(61)));
            repeats.admit(about, start + Duration::from_secs(second), &mut ended);
        }
        repeats.end(start + Duration::from_secs(60), &mut ended);
        assert_eq!(ended, []);
        repeats.end(start + Duration::from_secs(61), &mut ended);
        let expected = Summary {
            level: Level::WARN,
            module: Some("eyes".into()),
            text: "Message logged 5 times in past 1m0s: x".into(),
        };
        assert_eq!((ended, repeats.due()), (vec![expected], None));
    }

    #[test]
    fn whatever_is_said_little_is_remembered_and_nothing_is_left_out_silently() {
        let (start, mut repeats) = (Instant::now(), Repeats::default());
        let (mut written, mut reported) = (0, 0);
        let long = "é".repeat(MAX_TEXT);
        let mut say = |text: &str, millisecond: u64, repeats: &mut Repeats| {
            let mut ended = Vec::new();
            let now = start + Duration::from_millis(millisecond);
            written += u64::from(repeats.admit(said("a", text), now, &mut ended) == RepeatAction::Write);
            reported += counted(&ended);
            assert!(repeats.order.len() <= MAX_MESSAGES && repeats.bytes <= MAX_BYTES);
            assert_eq!(repeats.order.len(), repeats.open.len());
        };
        for number in 0..20_000_u64 {
            say(&number.to_string(), number, &mut repeats);
            say("again and again", number, &mut repeats);
            say(&format!("{}{long}", number % 200), number, &mut repeats);
        }
        let mut ended = Vec::new();
        repeats.end_all(start + Duration::from_secs(20), &mut ended);
        reported += counted(&ended);
        assert_eq!(written + reported, 60_000);
        assert!(reported > 10_000, "{reported}");
        assert!(repeats.order.capacity() <= 4 * MAX_MESSAGES && repeats.open.capacity() <= 4 * MAX_MESSAGES);
    }

    /// Messages that were not written.
    fn counted(ended: &[Summary]) -> u64 {
        let times = |summary: &Summary| {
            let times = summary
                .text
                .split(' ')
                .nth(2)
                .and_then(|times| times.parse::<u64>().ok());
            times.expect("a number of times") - WRITTEN
        };
        ended.iter().map(times).sum()
    }
}
