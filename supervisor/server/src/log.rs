//! The core's log: one line per event on stderr, filtered by the config's `log` patterns, repetitions counted.

pub mod machine_log;
mod repeats;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{IsTerminal, Write as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mainstay_model::{Config, LogRule};
use mainstay_runtime::module::output::PRINTED_BY_MODULE;
use mainstay_runtime::rollout::ASKED_FOR;
use tracing::error;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::log::machine_log::MachineLog;
use crate::log::repeats::{LogMessage, RepeatAction, Repeats, Summary};

/// Entries that modules send by RPC: what a module sends is wanted, because filtering is its own job.
const SENT_BY_MODULE: &str = "module";

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
    let levels = Levels(Arc::new(ArcSwap::from_pointee(Rules::new(config))));
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

/// Levels of the loggers, which may change at any time.
#[derive(Clone, Debug)]
pub struct Levels(Arc<ArcSwap<Rules>>);

impl Levels {
    /// Sets the levels of this config.
    pub fn set(&self, config: &Config) {
        let rules = Rules::new(config);
        if **self.0.load() != rules {
            self.0.store(Arc::new(rules));
            // What was of no interest so far may be now.
            tracing::callsite::rebuild_interest_cache();
        }
    }
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

/// Bytes and lines that wait to be written.
#[derive(Debug, Default)]
struct QueueLoad {
    bytes: AtomicUsize,
    /// Lines for which there was no room.
    dropped: AtomicU64,
}

/// Our own way to standard error: the usual one has a lock, and whoever holds it may wait for a reader.
struct Stderr(Option<File>);

impl Stderr {
    fn open() -> Self {
        let stderr = std::io::stderr();
        Self(stderr.as_fd().try_clone_to_owned().ok().map(File::from))
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }
}

/// Message to the writing thread.
enum WriterMessage {
    Text(String),
    /// A message is counted from now on instead of written.
    Counting,
    /// Request for a signal once everything before this was written.
    Flushed(SyncSender<()>),
}

/// The messages of the last minute. The lock is held for the moment of one look.
#[derive(Clone, Debug, Default)]
struct RepeatCounts(Arc<Mutex<Repeats>>);

impl RepeatCounts {
    fn get(&self) -> MutexGuard<'_, Repeats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(
    inbox: &Receiver<WriterMessage>,
    waiting: &QueueLoad,
    repeats: &RepeatCounts,
    (format, kept): (LineFormat, &MachineLog),
) {
    let mut stderr = Stderr::open();
    let mut ended = Vec::new();
    loop {
        let due = repeats.get().due();
        let line = match due {
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => inbox.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match line {
            // There is nowhere to tell that stderr is gone: a closed pipe, a terminal that was hung up, a full disk. It
            // may be mended, so every line is tried.
            Ok(WriterMessage::Text(text)) => {
                let written = stderr.write(text.as_bytes());
                waiting.bytes.fetch_sub(text.len(), Ordering::Relaxed);
                let lost = waiting.dropped.load(Ordering::Relaxed);
                if written.is_ok() && lost > 0 {
                    waiting.dropped.fetch_sub(lost, Ordering::Relaxed);
                    let _ = stderr
                        .write(format!("{lost} lines of the log were lost: nobody read them in time\n").as_bytes());
                }
            }
            Ok(WriterMessage::Counting) => {}
            Ok(WriterMessage::Flushed(done)) => {
                repeats.get().end_all(Instant::now(), &mut ended);
                write_summaries(&mut stderr, (format, kept), &mut ended);
                let _nobody = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => {
                repeats.get().end(Instant::now(), &mut ended);
                write_summaries(&mut stderr, (format, kept), &mut ended);
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn write_summaries(stderr: &mut Stderr, (format, kept): (LineFormat, &MachineLog), ended: &mut Vec<Summary>) {
    for summary in ended.drain(..) {
        kept.record(
            level_of(summary.level),
            summary.module.as_deref(),
            "core",
            &summary.text,
        );
        let mut line = format.line(summary.level, summary.module.as_deref(), &summary.text);
        line.push('\n');
        let _ = stderr.write(line.as_bytes());
    }
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

/// Level rules of a config.
#[derive(Debug, PartialEq)]
struct Rules {
    root: Level,
    /// Rules in config order; the last that matches counts.
    rules: Vec<LogRule>,
    /// The most talkative level that any rule lets through.
    most: Level,
    /// Repetitions are counted, of loggers that are not at debug level.
    counts_repeats: bool,
    /// Modules that were told to log at debug level.
    debugged: BTreeSet<String>,
}

struct Log {
    levels: Levels,
    format: LineFormat,
    lines: SyncSender<WriterMessage>,
    waiting: Arc<QueueLoad>,
    repeats: RepeatCounts,
    kept: MachineLog,
}

impl Rules {
    fn new(config: &Config) -> Self {
        let root = if config.debug { Level::DEBUG } else { Level::INFO };
        let own = config.resources.iter().filter_map(|resource| {
            let level = resource.log_level?;
            Some(LogRule::of_name(
                &format!("rdk.resource_manager.{}", resource.name),
                level,
            ))
        });
        let jobs = config.jobs.iter().filter_map(|job| {
            let level = job.log_level?;
            Some(LogRule::of_name(&format!("rdk.job_manager.{}", job.name), level))
        });
        let rules: Vec<_> = config.log.iter().cloned().chain(own).chain(jobs).collect();
        let most = rules
            .iter()
            .map(|rule| of(rule.level))
            .chain([root])
            .max()
            .unwrap_or(root);
        let debugs = |module: &&mainstay_model::ModuleConfig| {
            let level = config.module_log_level(module, false);
            level.is_some_and(|level| level.eq_ignore_ascii_case("debug"))
        };
        Self {
            root,
            rules,
            most,
            counts_repeats: !config.disable_log_deduplication,
            debugged: config
                .modules
                .iter()
                .filter(debugs)
                .map(|module| module.name.clone())
                .collect(),
        }
    }

    fn level_of(&self, logger: &str) -> Level {
        self.rules
            .iter()
            .rev()
            .find(|rule| rule.matches(logger))
            .map_or(self.root, |rule| of(rule.level))
    }

    /// Whether a message of this origin is counted once it was said often enough. A line that a module printed is not
    /// a message: without its like, a traceback or a table would fall apart. Nor is
    /// the answer to what somebody just did. Whoever looks for a fault wants all.
    fn counts(&self, target: &str, logger: &str, module: Option<&str>) -> bool {
        let debugged = || target == SENT_BY_MODULE && module.is_some_and(|module| self.debugged.contains(module));
        self.counts_repeats
            && target != PRINTED_BY_MODULE
            && target != ASKED_FOR
            && self.root < Level::DEBUG
            && self.level_of(logger) < Level::DEBUG
            && !debugged()
    }
}

/// Format of the lines.
#[derive(Clone, Copy, Debug)]
struct LineFormat {
    colour: bool,
}

impl LineFormat {
    fn of_stderr() -> Self {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour }
    }

    /// A line that is written now, without its end.
    fn line(self, level: Level, module: Option<&str>, text: &str) -> String {
        let mut line = String::with_capacity(64 + text.len());
        // Writing to a String cannot fail.
        let _ = SystemTime.format_time(&mut Writer::new(&mut line));
        let (word, colour) = word(level);
        let _ = if self.colour {
            write!(line, " \x1b[{colour}m{word}\x1b[0m ")
        } else {
            write!(line, " {word} ")
        };
        if let Some(module) = module {
            let _ = write!(line, "[{module}] ");
        }
        line.push_str(text);
        line
    }
}

impl Log {
    /// Whether any rule lets an event of this origin through.
    fn may_write(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == SENT_BY_MODULE || *metadata.level() <= self.levels.0.load().most
    }

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

/// A level as configs know it.
fn level_of(level: Level) -> mainstay_model::Level {
    match level {
        Level::TRACE | Level::DEBUG => mainstay_model::Level::Debug,
        Level::INFO => mainstay_model::Level::Info,
        Level::WARN => mainstay_model::Level::Warn,
        Level::ERROR => mainstay_model::Level::Error,
    }
}

fn of(level: mainstay_model::Level) -> Level {
    match level {
        mainstay_model::Level::Debug => Level::DEBUG,
        mainstay_model::Level::Info => Level::INFO,
        mainstay_model::Level::Warn => Level::WARN,
        mainstay_model::Level::Error => Level::ERROR,
    }
}

/// The name by which `log` patterns know the origin of an event.
fn logger(target: &str, fields: &Fields) -> String {
    let room = target
        .strip_prefix("mainstay::")
        .unwrap_or(target)
        .split("::")
        .next()
        .unwrap_or_default();
    match (room, &fields.module, &fields.resource) {
        (PRINTED_BY_MODULE, Some(module), _) if fields.stream.as_deref() == Some("stderr") => {
            format!("rdk.modmanager.{module}.StdErr")
        }
        (PRINTED_BY_MODULE, Some(module), _) => format!("rdk.modmanager.{module}.StdOut"),
        ("module", Some(module), _) => format!("rdk.modmanager.{module}"),
        ("module", None, _) => "rdk.modmanager".into(),
        ("jobs", ..) => match &fields.job {
            Some(job) => format!("rdk.job_manager.{job}"),
            None => "rdk.job_manager".into(),
        },
        (_, _, Some(resource)) => format!("rdk.resource_manager.{resource}"),
        ("machine", ..) => "rdk.resource_manager".into(),
        ("serve" | "route", ..) => "rdk.networking".into(),
        ("config", ..) => "rdk.config".into(),
        _ => "rdk".into(),
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_event() && self.may_write(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.may_write(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (target, level) = (metadata.target(), *metadata.level());
        let logger = logger(target, &fields);
        let rules = self.levels.0.load();
        if target != SENT_BY_MODULE && level > rules.level_of(&logger) {
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

fn word(level: Level) -> (&'static str, u8) {
    match level {
        Level::ERROR => ("ERROR", 31),
        Level::WARN => ("WARN ", 33),
        Level::INFO => ("INFO ", 32),
        Level::DEBUG => ("DEBUG", 34),
        Level::TRACE => ("TRACE", 35),
    }
}

/// The fields of one event, the ones with a meaning apart.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    module: Option<String>,
    resource: Option<String>,
    job: Option<String>,
    stream: Option<String>,
    rest: String,
}

impl Fields {
    fn add(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = text,
            "module" => self.module = Some(text),
            "stream" => self.stream = Some(text),
            name => {
                let _ = write!(self.rest, " {name}={text}");
                match name {
                    "resource" => self.resource = Some(text),
                    "job" => self.job = Some(text),
                    _ => {}
                }
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.add(field, text);
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
                levels: Levels(Arc::new(ArcSwap::from_pointee(Rules {
                    root: Level::INFO,
                    rules: Vec::new(),
                    most: Level::INFO,
                    counts_repeats: true,
                    debugged: BTreeSet::new(),
                }))),
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

    #[test]
    fn messages_are_counted_unless_somebody_wants_all_of_them() {
        let own = ("mainstay::run", "rdk", None);
        let network = ("mainstay::serve::listen", "rdk.networking", None);
        let sent = (SENT_BY_MODULE, "rdk.modmanager.eyes", Some("eyes"));
        let printed = (PRINTED_BY_MODULE, "rdk.modmanager.eyes.StdOut", Some("eyes"));
        let eyes = |level: &str| format!("modules: [{{name: eyes, executable_path: /bin/eyes, log_level: {level}}}]");
        for (text, of, counts) in [
            ("{}".to_owned(), own, true),
            ("{}".to_owned(), printed, false),
            ("disable_log_deduplication: true".to_owned(), own, false),
            ("debug: true".to_owned(), own, false),
            ("log: [{pattern: rdk.n*, level: debug}]".to_owned(), network, false),
            ("log: [{pattern: rdk.n*, level: debug}]".to_owned(), own, true),
            (eyes("info"), sent, true),
            (eyes("DEBUG"), sent, false),
            (eyes("debug"), own, true),
        ] {
            let bundle = mainstay_config::ConfigFiles::single("/r.yaml", &*text);
            let loaded = mainstay_config::parse(&bundle, &mainstay_config::LoadContext::default()).expect("usable");
            let (target, logger, module) = of;
            assert_eq!(
                Rules::new(&loaded.config).counts(target, logger, module),
                counts,
                "{text} {of:?}"
            );
        }
    }

    #[test]
    fn patterns_meet_the_names_that_the_config_documents() {
        let fields = |module: Option<&str>, resource: Option<&str>, stderr: bool| Fields {
            module: module.map(str::to_owned),
            resource: resource.map(str::to_owned),
            stream: stderr.then(|| "stderr".to_owned()),
            ..Fields::default()
        };
        for (target, fields, expected) in [
            (
                PRINTED_BY_MODULE,
                fields(Some("gear"), None, false),
                "rdk.modmanager.gear.StdOut",
            ),
            (
                PRINTED_BY_MODULE,
                fields(Some("gear"), None, true),
                "rdk.modmanager.gear.StdErr",
            ),
            (
                "mainstay::module::actor",
                fields(Some("gear"), None, false),
                "rdk.modmanager.gear",
            ),
            (
                "mainstay::machine::actor",
                fields(None, Some("a:b:c/d"), false),
                "rdk.resource_manager.a:b:c/d",
            ),
            ("mainstay::serve::listen", fields(None, None, false), "rdk.networking"),
            ("mainstay::run", fields(None, None, false), "rdk"),
        ] {
            assert_eq!(logger(target, &fields), expected);
        }
    }
}
