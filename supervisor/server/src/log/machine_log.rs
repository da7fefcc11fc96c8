//! The log of the machine as `mainstay logs` shows it: its newest lines in memory, all of them for a while on the disk.
//!
//! Whoever logs waits for neither: a thread of its own follows the lines and writes the file.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use mainstay_config::store::LastGood;
use mainstay_config::store::machine_log;
use mainstay_config::store::machine_log::LogRecord;
use mainstay_model::Level;
use mainstay_proto::mainstay::control::v1 as pb;
use mainstay_runtime::event_log::{EventLog, Weighted};
use mainstay_runtime::rotating_file::RotatingFile;
use mainstay_wire::log::{LogFilter, Newest, line};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::feeds::{self, AnswerStream};

/// Lines in memory.
const MAX_LINES: usize = 2000;
/// Bytes that these may take.
const MAX_BYTES: usize = 256 * 1024;

/// The log of the machine. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct MachineLog {
    lines: EventLog<Line>,
    /// Start of this core, in milliseconds since 1970: what was logged before is on the disk alone.
    run: u64,
    /// Folder of the file, once there is one.
    folder: Arc<OnceLock<PathBuf>>,
}

/// A record whose number is that of its place.
#[derive(Debug, Clone)]
pub struct Line(Arc<LogRecord>);

impl Line {
    /// The record with the number of its place.
    fn numbered(&self, number: u64) -> LogRecord {
        LogRecord {
            number,
            ..LogRecord::clone(&self.0)
        }
    }
}

impl Weighted for Line {
    fn weight(&self) -> usize {
        let record = &*self.0;
        record.text.len() + record.module.len() + record.stream.len() + size_of::<LogRecord>()
    }
}

impl Default for MachineLog {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            lines: EventLog::new(MAX_LINES, MAX_BYTES),
            run: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            folder: Arc::default(),
        }
    }
}

impl MachineLog {
    /// Adds a line. Waits for nothing.
    pub fn record(&self, level: Level, module: Option<&str>, stream: &str, text: &str) {
        self.lines.push(Line(Arc::new(LogRecord {
            time: SystemTime::now(),
            level,
            module: module.unwrap_or_default().to_owned(),
            stream: stream.to_owned(),
            text: text.to_owned(),
            run: self.run,
            number: 0,
        })));
    }

    /// Keeps all lines of this run in a file beside the last good config, those included that were logged before. Ends with
    /// `until`, after the last line was written.
    pub async fn keep(self, store: LastGood, until: CancellationToken) {
        let Some(folder) = store.folder() else { return };
        let _set_once = self.folder.set(folder.to_owned());
        let (done, written) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        // What the disk makes wait is this thread alone.
        let thread = std::thread::Builder::new()
            .name("machine-log".into())
            .stack_size(256 * 1024)
            .spawn(move || {
                runtime.block_on(self.write(&store, until));
                let _nobody = done.send(());
            });
        match thread {
            Ok(_ends_with_the_machine) => _ = written.await,
            Err(error) => warn!("the log is kept in memory only: no thread to write it: {error}"),
        }
    }

    async fn write(self, store: &LastGood, until: CancellationToken) {
        let Some(path) = store.folder().map(machine_log::path) else {
            return;
        };
        let mut files = RotatingFile::new(path.clone(), machine_log::MAX_SIZE, machine_log::KEEP);
        let mut follower = self.lines.follow(0);
        let mut failing = false;
        loop {
            let mut batch = follower.read();
            if batch.entries.is_empty() {
                if until.is_cancelled() {
                    return;
                }
                batch = tokio::select! {
                    batch = follower.next() => batch,
                    () = until.cancelled() => continue,
                };
            }
            // Somebody may have removed it. What is wrong is told by who writes.
            let _made = store.prepared();
            for (number, line) in batch.numbered() {
                let text = serde_json::to_string(&line.numbered(number)).unwrap_or_default() + "\n";
                match files.append(&text) {
                    Ok(()) if std::mem::take(&mut failing) => info!("the log is written to `{}` again", path.display()),
                    Ok(()) => {}
                    // Once for each trouble, not once for each line.
                    Err(_) if failing => {}
                    Err(error) => {
                        failing = true;
                        let path = path.display();
                        warn!(
                            "the log cannot be written to `{path}`: {error}; until that is mended it is kept in memory only"
                        );
                    }
                }
            }
        }
    }

    /// Sends what a request asks for: what is kept of earlier runs, what is in memory, and then, if it follows, what comes.
    pub fn send(
        &self,
        request: &pb::LogsRequest,
        (tasks, stopping): (&TaskTracker, CancellationToken),
    ) -> AnswerStream<pb::LogLine> {
        let filter = LogFilter::of(request);
        let (follow, last) = (request.follow, request.last);
        let log = self.clone();
        let (sender, answers) = mpsc::channel(feeds::WAITING);
        tasks.spawn(async move {
            // A file of some megabytes is read within a moment; a disk that hangs holds up this answer alone.
            let history = tokio::task::spawn_blocking({
                let log = log.clone();
                move || log.history(filter, last)
            });
            let (history, next) = history.await.unwrap_or_default();
            for line in history {
                if sender.send(Ok(line)).await.is_err() {
                    return;
                }
            }
            let convert = move |number, missed, record: Line| {
                let line = line(record.numbered(number), missed);
                filter.admits(record.0.time, line.level()).then_some(line)
            };
            if follow {
                feeds::pass(log.lines.follow(next), true, convert, sender, stopping).await;
            }
        });
        Box::pin(ReceiverStream::new(answers))
    }

    /// The newest lines that are kept, and the number with which memory goes on.
    fn history(&self, filter: LogFilter, last: Option<u32>) -> (VecDeque<pb::LogLine>, u64) {
        let mut newest = Newest::new(filter, last);
        let (first, in_memory) = {
            let ring = self.lines.ring();
            (ring.oldest(), ring.read(ring.oldest(), usize::MAX))
        };
        let next = in_memory.next;
        if let Some(folder) = self.folder.get() {
            machine_log::read(folder, |record| {
                if record.run != self.run || record.number < first {
                    newest.add(record);
                }
            });
        }
        for (number, line) in in_memory.numbered() {
            newest.add(line.numbered(number));
        }
        (newest.lines, next)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    const ALL: LogFilter = LogFilter {
        since: None,
        least: pb::LogLevel::Unspecified,
    };

    fn texts(log: &MachineLog, filter: LogFilter, last: Option<u32>) -> Vec<String> {
        let (lines, _) = log.history(filter, last);
        lines.into_iter().map(|line| line.text).collect()
    }

    /// Lets a log write what it has, below `state`.
    async fn written(log: &MachineLog, state: &Path) {
        let until = CancellationToken::new();
        until.cancel();
        let store = LastGood::within(Some(state), Path::new("/robots/rover.yaml"));
        log.clone().keep(store, until).await;
    }

    #[tokio::test]
    async fn what_an_earlier_run_logged_comes_first_and_nothing_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let before = MachineLog::default();
        before.record(Level::Info, None, "core", "one");
        before.record(Level::Error, Some("eyes"), "stderr", "two");
        written(&before, folder.path()).await;
        let log = MachineLog {
            run: before.run + 1,
            ..MachineLog::default()
        };
        log.record(Level::Warn, None, "core", "three");
        written(&log, folder.path()).await;
        log.record(Level::Info, None, "core", "four");
        assert_eq!(texts(&log, ALL, None), ["one", "two", "three", "four"]);
        assert_eq!(texts(&log, ALL, Some(2)), ["three", "four"]);
        let warnings = LogFilter {
            least: pb::LogLevel::Warn,
            ..ALL
        };
        assert_eq!(texts(&log, warnings, None), ["two", "three"]);
        let future = LogFilter {
            since: Some(SystemTime::now() + Duration::from_secs(60)),
            ..ALL
        };
        assert!(texts(&log, future, None).is_empty());
        let (lines, next) = log.history(ALL, None);
        assert_eq!(next, 2);
        let shown = |line: &pb::LogLine| (line.module.clone(), line.stream(), line.number);
        assert_eq!(shown(&lines[1]), ("eyes".into(), pb::LogStream::Stderr, 1));
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_written_is_still_there_in_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("not-a-folder");
        std::fs::write(&file, "").expect("written");
        let log = MachineLog::default();
        log.record(Level::Info, None, "core", "one");
        written(&log, &file).await;
        assert_eq!(texts(&log, ALL, None), ["one"]);
    }
}
