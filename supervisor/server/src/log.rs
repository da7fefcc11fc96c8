//! The core's log: one line per event on stderr, filtered by the config's `log` patterns, repetitions counted.

mod fields;
mod line;
pub mod machine_log;
mod repeats;
mod rules;
mod writer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use mainstay_model::Config;
use mainstay_runtime::module::output::PRINTED_BY_MODULE;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber, error};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::log::fields::Fields;
use crate::log::line::LineFormat;
use crate::log::machine_log::MachineLog;
use crate::log::repeats::{LogMessage, RepeatAction, Summary};
pub use crate::log::rules::Levels;
use crate::log::rules::{SENT_BY_MODULE, level_of, logger};
use crate::log::writer::{QueueLoad, RepeatCounts, Stderr, WriterMessage, write};

/// Lines that may wait to be written.
const WAITING: usize = 4096;
/// Bytes that these may have together.
const MAX_WAITING_BYTES: usize = 2 << 20;
/// Longest line, in bytes; the rest of a longer one is left out.
const MAX_LINE: usize = 64 << 10;
/// Time that the end of the process waits for a reader of the log.
const FLUSH: Duration = Duration::from_millis(500);

/// Installs the log for the whole process. Dropping the guard writes what is left.
pub fn install(config: &Config) -> (Flush, Levels, MachineLog) {
    let (lines, inbox) = sync_channel(WAITING);
    let waiting = Arc::new(QueueLoad::default());
    let repeats = RepeatCounts::default();
    let format = LineFormat::of_stderr();
    let kept = MachineLog::default();
    let (shared, counts, summaries) = (waiting.clone(), repeats.clone(), kept.clone());
    // A thread of its own: a reader of our log that sleeps must not hold up the machine.
    let _without = std::thread::Builder::new()
        .name("log".into())
        .stack_size(128 * 1024)
        .spawn(move || write(&inbox, &shared, &counts, (format, &summaries)));
    let levels = Levels::new(config);
    let subscriber = tracing_subscriber::registry().with(Log {
        levels: levels.clone(),
        format,
        lines: lines.clone(),
        waiting,
        repeats,
        kept: kept.clone(),
    });
    // Only a second installation fails, and that one would say the same.
    let _installed = tracing::subscriber::set_global_default(subscriber);
    // The usual report of a panic is written by the thread that panics, which waits for the reader like any other.
    std::panic::set_hook(Box::new(|panic| {
        let trace = Backtrace::capture();
        match trace.status() {
            BacktraceStatus::Captured => error!("{panic}\n{trace}"),
            _ => error!("{panic}"),
        }
    }));
    (Flush(lines), levels, kept)
}

/// Writes a text to stderr when there is no log any more, or not yet: for as long as a reader may take, and no longer.
pub fn last_words(text: &str) {
    let text = format!("{text}\n");
    let (done, written) = sync_channel(1);
    let _without = std::thread::Builder::new().spawn(move || {
        let _unheard = Stderr::open().write(text.as_bytes());
        let _late = done.send(());
    });
    let _late = written.recv_timeout(FLUSH);
}

/// Waits, for a moment, until the log is written.
#[derive(Debug)]
pub struct Flush(SyncSender<WriterMessage>);

impl Drop for Flush {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        if self.0.try_send(WriterMessage::Flushed(done)).is_ok() {
            let _late = written.recv_timeout(FLUSH);
        }
    }
}

struct Log {
    levels: Levels,
    format: LineFormat,
    lines: SyncSender<WriterMessage>,
    waiting: Arc<QueueLoad>,
    repeats: RepeatCounts,
    kept: MachineLog,
}

impl Log {
    /// Counts a message, and says whether it is written, too. What is to be told of others is written before it.
    fn admits(&self, message: LogMessage<'_>) -> bool {
        let mut ended = Vec::new();
        let admit = self.repeats.get().admit(message, Instant::now(), &mut ended);
        for Summary { level, module, text } in ended {
            self.kept.record(level_of(level), module.as_deref(), "core", &text);
            self.send(self.format.line(level, module.as_deref(), &text));
        }
        if admit == RepeatAction::Begin {
            // Without room the thread is awake anyway, and looks.
            let _awake = self.lines.try_send(WriterMessage::Counting);
        }
        admit == RepeatAction::Write
    }

    /// Hands a line to the writing thread. Waits for nothing: without room it is counted.
    fn send(&self, mut line: String) {
        if line.len() > MAX_LINE {
            line.truncate(line.floor_char_boundary(MAX_LINE));
            line.push('…');
        }
        line.push('\n');
        let length = line.len();
        let room = self.waiting.bytes.fetch_add(length, Ordering::Relaxed) + length <= MAX_WAITING_BYTES;
        if !(room && self.lines.try_send(WriterMessage::Text(line)).is_ok()) {
            self.waiting.bytes.fetch_sub(length, Ordering::Relaxed);
            self.waiting.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_event() && self.levels.may_write(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.levels.may_write(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (target, level) = (metadata.target(), *metadata.level());
        let logger = logger(target, &fields);
        let rules = self.levels.rules();
        if !rules.writes(target, level, &logger) {
            return;
        }
        let Fields {
            message: mut text,
            module,
            stream,
            rest,
            ..
        } = fields;
        text.push_str(&rest);
        let module = module.as_deref().filter(|module| !module.is_empty());
        let message = LogMessage {
            logger: &logger,
            level,
            module,
            text: &text,
        };
        if !rules.counts(target, &logger, module) || self.admits(message) {
            let stream = match target {
                PRINTED_BY_MODULE => stream.as_deref().unwrap_or("stdout"),
                SENT_BY_MODULE if module.is_some() => "log",
                _ => "core",
            };
            self.kept.record(level_of(level), module, stream, &text);
            self.send(self.format.line(level, module, &text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_reader_is_bounded_in_lines_and_in_bytes() {
        for (length, most) in [(10, WAITING), (MAX_LINE * 2, MAX_WAITING_BYTES / MAX_LINE)] {
            let (lines, inbox) = sync_channel(WAITING);
            let waiting = Arc::new(QueueLoad::default());
            let log = Log {
                levels: Levels::new(&Config::default()),
                format: LineFormat { colour: false },
                lines,
                waiting: waiting.clone(),
                repeats: RepeatCounts::default(),
                kept: MachineLog::default(),
            };
            for _ in 0..2 * WAITING {
                log.send("x".repeat(length));
            }
            let held: Vec<_> = inbox.try_iter().collect();
            assert!(
                held.len() <= most && held.len() >= most - 1,
                "{} lines of {length}",
                held.len()
            );
            let dropped = waiting.dropped.load(Ordering::Relaxed);
            assert_eq!(dropped, (2 * WAITING - held.len()) as u64);
            let bytes: usize = held
                .iter()
                .map(|line| match line {
                    WriterMessage::Text(text) => text.len(),
                    WriterMessage::Flushed(_) | WriterMessage::Counting => 0,
                })
                .sum();
            assert_eq!(bytes, waiting.bytes.load(Ordering::Relaxed));
            assert!(bytes <= MAX_WAITING_BYTES, "{bytes}");
        }
    }
}
