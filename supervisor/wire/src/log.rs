//! Lines of the machine's log as messages, and which of them a request wants.

use std::collections::VecDeque;
use std::time::SystemTime;

use mainstay_config::store::machine_log::LogRecord;
use mainstay_model::Level;
use mainstay_proto::mainstay::control::v1 as pb;

/// Lines that somebody wants to see.
#[derive(Debug, Clone, Copy)]
pub struct LogFilter {
    /// From this time on.
    pub since: Option<SystemTime>,
    /// From this level on.
    pub least: pb::LogLevel,
}

impl LogFilter {
    /// The filter that a request names.
    pub fn of(request: &pb::LogsRequest) -> Self {
        Self {
            since: request.since.and_then(|since| since.try_into().ok()),
            least: request.min_level(),
        }
    }

    /// Whether a line is wanted.
    pub fn admits(&self, time: SystemTime, level: pb::LogLevel) -> bool {
        self.since.is_none_or(|since| time >= since) && level >= self.least
    }
}

/// The newest lines that a filter admits.
#[derive(Debug)]
pub struct Newest {
    filter: LogFilter,
    most: usize,
    /// The lines, oldest first.
    pub lines: VecDeque<pb::LogLine>,
}

impl Newest {
    /// At most `last` lines, or all.
    pub fn new(filter: LogFilter, last: Option<u32>) -> Self {
        Self {
            filter,
            most: last.and_then(|last| usize::try_from(last).ok()).unwrap_or(usize::MAX),
            lines: VecDeque::new(),
        }
    }

    /// Adds a record that is newer than all before.
    pub fn add(&mut self, record: LogRecord) {
        let (time, line) = (record.time, line(record, 0));
        if self.filter.admits(time, line.level()) {
            self.lines.push_back(line);
            if self.lines.len() > self.most {
                self.lines.pop_front();
            }
        }
    }
}

/// A record on the wire. `missed` lines before it are lost.
pub fn line(record: LogRecord, missed: u64) -> pb::LogLine {
    let level = match record.level {
        Level::Debug => pb::LogLevel::Debug,
        Level::Info => pb::LogLevel::Info,
        Level::Warn => pb::LogLevel::Warn,
        Level::Error => pb::LogLevel::Error,
    };
    let stream = match record.stream.as_str() {
        "stdout" => pb::LogStream::Stdout,
        "stderr" => pb::LogStream::Stderr,
        "log" => pb::LogStream::Log,
        "build" => pb::LogStream::Build,
        _ => pb::LogStream::Core,
    };
    pb::LogLine {
        number: record.number,
        time: Some(record.time.into()),
        stream: stream.into(),
        level: level.into(),
        text: record.text,
        missed,
        module: record.module,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_newest_that_are_wanted_are_kept() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let record = |number: u64, level| LogRecord {
            time: start + Duration::from_secs(number),
            level,
            module: String::new(),
            stream: "core".into(),
            text: String::new(),
            run: 0,
            number,
        };
        let kept = |since: u64, least: pb::LogLevel, last| -> Vec<u64> {
            let since = Some(start + Duration::from_secs(since));
            let mut newest = Newest::new(LogFilter { since, least }, last);
            for (number, level) in [Level::Info, Level::Error, Level::Debug, Level::Warn]
                .into_iter()
                .enumerate()
            {
                newest.add(record(number as u64, level));
            }
            newest.lines.iter().map(|line| line.number).collect()
        };
        assert_eq!(kept(0, pb::LogLevel::Unspecified, None), [0, 1, 2, 3]);
        assert_eq!(kept(0, pb::LogLevel::Info, Some(2)), [1, 3]);
        assert_eq!(kept(2, pb::LogLevel::Unspecified, None), [2, 3]);
        assert_eq!(kept(0, pb::LogLevel::Error, Some(0)), [0; 0]);
    }
}
