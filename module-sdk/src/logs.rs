//! Log forwarding to the core: a `tracing` layer that never waits, a bounded queue, and a sender task. Entries that
//! cannot be sent go to stderr, which the core reads too.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use mainstay_proto::viam::{common::v1::LogEntry, robot::v1::LogRequest};
use prost_types::Struct;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Event, Level, Metadata, Subscriber, field, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::layer::{Context, Layer};

use crate::{Object, Robot, Value, call::Scope, object, value::wire};

/// Capacity of the queue, in entries. Entries beyond it are counted and dropped.
const QUEUE: usize = 1024;
/// Timeout for sending one entry.
const LIMIT: Duration = Duration::from_secs(5);
/// Timeout for sending the remaining entries when the module stops.
const LAST: Duration = Duration::from_millis(500);
/// Libraries of the SDK whose entries below WARN are dropped.
const NOISE: [&str; 6] = ["h2", "hyper", "hyper_util", "tonic", "tower", "mio"];

/// `tracing` layer that queues log entries and never waits.
pub(crate) struct LogLayer {
    shared: Arc<LogQueue>,
}

/// Queue of log entries, shared by the layer and the sender.
struct LogQueue {
    /// Name of the module, the logger of entries that belong to no resource.
    module: String,
    level: Level,
    queue: mpsc::Sender<LogEntry>,
    /// True while the sender task empties the queue.
    sending: AtomicBool,
    lost: AtomicU64,
}

/// Sender of queued log entries to the core.
pub(crate) struct LogSender {
    shared: Arc<LogQueue>,
    queue: mpsc::Receiver<LogEntry>,
}

/// Parses a level by any of the words that configurations and peers use, in any case.
pub(crate) fn parse_level(text: &str) -> Option<Level> {
    match text.to_ascii_lowercase().as_str() {
        "trace" | "notset" => Some(Level::TRACE),
        "debug" => Some(Level::DEBUG),
        "info" => Some(Level::INFO),
        "warn" | "warning" => Some(Level::WARN),
        "error" | "critical" | "fatal" | "panic" => Some(Level::ERROR),
        _ => None,
    }
}

/// Creates the layer and the sender that empties its queue.
pub(crate) fn channel(module: &str, level: Level) -> (LogLayer, LogSender) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let (sending, lost) = (AtomicBool::new(false), AtomicU64::new(0));
    let shared = Arc::new(LogQueue {
        module: module.to_owned(),
        level,
        queue: sender,
        sending,
        lost,
    });
    (LogLayer { shared: shared.clone() }, LogSender { shared, queue })
}

impl LogSender {
    /// Sends entries until `stop`, then the remaining ones. An entry that cannot be sent goes to stderr.
    pub(crate) async fn run(mut self, robots: watch::Receiver<Robot>, stop: CancellationToken) {
        self.shared.sending.store(true, Ordering::Relaxed);
        while let Some(Some(entry)) = stop.run_until_cancelled(self.queue.recv()).await {
            self.send(&robots, entry, LIMIT).await;
            let lost = self.shared.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                let message = format!("{lost} log entries came faster than the core took them, and were lost");
                let entry = self
                    .shared
                    .entry(Level::WARN, &self.shared.module, message, &Object::new(), Vec::new());
                self.send(&robots, entry, LIMIT).await;
            }
        }
        self.shared.sending.store(false, Ordering::Relaxed);
        let last = async {
            while let Ok(entry) = self.queue.try_recv() {
                self.send(&robots, entry, LAST).await;
            }
        };
        // What remains after this would only delay the end.
        let _ = tokio::time::timeout(LAST, last).await;
    }

    async fn send(&self, robots: &watch::Receiver<Robot>, entry: LogEntry, limit: Duration) {
        // One entry per request, because cores refuse more.
        let request = LogRequest {
            logs: vec![entry.clone()],
        };
        let mut service = robots.borrow().service();
        if !matches!(tokio::time::timeout(limit, service.log(request)).await, Ok(Ok(_))) {
            print(&entry);
        }
    }
}

impl LogQueue {
    fn entry(&self, level: Level, logger: &str, message: String, caller: &Object, fields: Vec<Struct>) -> LogEntry {
        LogEntry {
            level: level.as_str().to_ascii_lowercase(),
            time: Some(SystemTime::now().into()),
            logger_name: logger.to_owned(),
            message,
            caller: Some(wire::to_struct(caller.clone())),
            fields,
            ..LogEntry::default()
        }
    }

    fn take(&self, entry: LogEntry) {
        if !self.sending.load(Ordering::Relaxed) {
            print(&entry);
        } else if self.queue.try_send(entry).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes an entry to stderr as one line. Errors are ignored: stderr may be closed.
fn print(entry: &LogEntry) {
    let mut line = format!(
        "{} {}: {}",
        entry.level.to_ascii_uppercase(),
        entry.logger_name,
        entry.message
    );
    for field in &entry.fields {
        let field = wire::from_struct(Some(field.clone()));
        let key = field.get("Key").and_then(Value::as_str).unwrap_or_default();
        let value = match field.get("Type").and_then(Value::as_f64) {
            Some(zap::STRING | zap::FLOAT) => field
                .get("String")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            Some(zap::BOOL) => (field.get("Integer").and_then(Value::as_f64) == Some(1.0)).to_string(),
            _ => field
                .get("Integer")
                .and_then(Value::as_f64)
                .unwrap_or_default()
                .to_string(),
        };
        let _ = write!(line, " {key}={value}");
    }
    line.push('\n');
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let root = metadata.target().split("::").next().unwrap_or_default();
        if NOISE.contains(&root) && *metadata.level() > Level::WARN {
            Interest::never()
        } else {
            Interest::sometimes() // One resource may be told to say more than another.
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let level = metadata.level();
        Scope::logging(|label, verbose| {
            *level <= label.and_then(|label| label.level).unwrap_or(self.shared.level)
                || (verbose && *level <= Level::DEBUG)
        })
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // A resource, or a single call, may ask for DEBUG at any time; TRACE is for the whole module.
        Some(LevelFilter::from_level(self.shared.level.max(Level::DEBUG)))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let file = fields.file.as_deref().or(metadata.file());
        let caller = object! {
            "Defined" => file.is_some(),
            "File" => file.unwrap_or_default(),
            "Line" => fields.line.or(metadata.line().map(u64::from)).unwrap_or_default(),
            "Function" => metadata.target(),
        };
        let logger = Scope::logging(|label, _| match label {
            Some(label) => format!("{}.{}", self.shared.module, label.name),
            None => self.shared.module.clone(),
        });
        self.shared.take(
            self.shared
                .entry(*metadata.level(), &logger, fields.message, &caller, fields.fields),
        );
    }
}

/// Field types by the numbers that cores know (those of the `zap` library).
mod zap {
    pub(super) const BOOL: f64 = 4.0;
    pub(super) const FLOAT: f64 = 9.0;
    pub(super) const INTEGER: f64 = 11.0;
    pub(super) const STRING: f64 = 15.0;
    pub(super) const UNSIGNED: f64 = 18.0;
}

/// `tracing` visitor that collects the message and the other fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    /// Place that the event tells of if it is not where the macro stands: fields `log.file` and `log.line`, as
    /// `tracing-log` names them.
    file: Option<String>,
    line: Option<u64>,
    fields: Vec<Struct>,
}

impl Fields {
    fn push(&mut self, field: &field::Field, kind: f64, integer: f64, text: &str) {
        let name = field.name();
        let name = name.strip_prefix("r#").unwrap_or(name);
        self.fields.push(wire::to_struct(object! {
            "Key" => name, "Type" => kind, "Integer" => integer, "String" => text, "Interface" => Value::Null,
        }));
    }
}

impl field::Visit for Fields {
    fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.push(field, zap::STRING, 0.0, &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &field::Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            "log.file" => self.file = Some(value.to_owned()),
            _ => self.push(field, zap::STRING, 0.0, value),
        }
    }

    fn record_bool(&mut self, field: &field::Field, value: bool) {
        self.push(field, zap::BOOL, f64::from(u8::from(value)), "");
    }

    fn record_i64(&mut self, field: &field::Field, value: i64) {
        self.push(field, zap::INTEGER, value as f64, "");
    }

    fn record_u64(&mut self, field: &field::Field, value: u64) {
        match field.name() {
            "log.line" => self.line = Some(value),
            _ => self.push(field, zap::UNSIGNED, value as f64, ""),
        }
    }

    fn record_f64(&mut self, field: &field::Field, value: f64) {
        self.push(field, zap::FLOAT, 0.0, &value.to_string()); // Doubles travel as text.
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::call::Label;

    /// Entries that reach the queue while `log` runs.
    fn logged(level: Level, log: impl FnOnce()) -> Vec<LogEntry> {
        let (layer, mut sender) = channel("weather", level);
        sender.shared.sending.store(true, Ordering::Relaxed);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, log);
        std::iter::from_fn(|| sender.queue.try_recv().ok()).collect()
    }

    fn texts(entries: &[LogEntry]) -> Vec<String> {
        entries
            .iter()
            .map(|entry| format!("{} {} {}", entry.level, entry.logger_name, entry.message))
            .collect()
    }

    #[test]
    fn an_entry_carries_its_logger_its_place_and_its_fields() {
        let entries = logged(Level::INFO, || {
            tracing::debug!("not wanted");
            tracing::info!(count = 3, ratio = 0.5, on = true, who = "me", "hello");
            tracing::info!(log.file = "lamp.rs", log.line = 7_u32, "from elsewhere");
        });
        assert_eq!(texts(&entries), ["info weather hello", "info weather from elsewhere"]);
        let elsewhere = wire::from_struct(entries[1].caller.clone());
        assert_eq!(
            (
                elsewhere["File"].as_str(),
                elsewhere["Line"].as_f64(),
                entries[1].fields.len()
            ),
            (Some("lamp.rs"), Some(7.0), 0)
        );
        let caller = wire::from_struct(entries[0].caller.clone());
        assert_eq!(
            (&caller["Defined"], caller["File"].as_str()),
            (&Value::Bool(true), Some(file!()))
        );
        let field = |n: usize| wire::from_struct(Some(entries[0].fields[n].clone()));
        assert_eq!(
            (field(0)["Key"].as_str(), field(0)["Integer"].as_f64()),
            (Some("count"), Some(3.0))
        );
        assert_eq!(
            (field(1)["Key"].as_str(), field(1)["String"].as_str()),
            (Some("ratio"), Some("0.5"))
        );
    }

    #[test]
    fn a_resource_has_its_own_name_and_level_and_a_call_may_ask_for_more() {
        let label = |level| {
            Arc::new(Label {
                name: "rdk:component:sensor/s".into(),
                level,
            })
        };
        let entries = logged(Level::INFO, || {
            Scope::of_resource(label(Some(Level::DEBUG))).run_sync(|| tracing::debug!("one"));
            Scope::of_resource(label(Some(Level::ERROR))).run_sync(|| tracing::warn!("two"));
            Scope::of_resource(label(None)).run_sync(|| tracing::debug!("three"));
            let verbose = http::Request::builder().header("dtname", "key").body(()).unwrap();
            Scope::of_call(&verbose, std::time::Instant::now()).run_sync(|| tracing::debug!("four"));
        });
        assert_eq!(
            texts(&entries),
            ["debug weather.rdk:component:sensor/s one", "debug weather four"]
        );
    }

    #[test]
    fn a_full_queue_loses_entries_and_never_waits() {
        let (layer, sender) = channel("weather", Level::INFO);
        sender.shared.sending.store(true, Ordering::Relaxed);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || (0..QUEUE + 7).for_each(|n| tracing::info!(n)));
        assert_eq!(sender.shared.lost.load(Ordering::Relaxed), 7);
    }

    #[test]
    fn levels_are_read_leniently() {
        for (text, level) in [
            ("debug", Some(Level::DEBUG)),
            ("WARNING", Some(Level::WARN)),
            ("Critical", Some(Level::ERROR)),
            ("", None),
            ("loud", None),
        ] {
            assert_eq!(parse_level(text), level, "{text}");
        }
    }
}
