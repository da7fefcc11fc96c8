//! Thread that writes the log to standard error, and what waits for it.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::line::LineFormat;
use super::machine_log::MachineLog;
use super::repeats::{Repeats, Summary};
use super::rules::level_of;

/// Bytes and lines that wait to be written.
#[derive(Debug, Default)]
pub struct QueueLoad {
    /// Bytes.
    pub bytes: AtomicUsize,
    /// Lines for which there was no room.
    pub dropped: AtomicU64,
}

/// Our own way to standard error: the usual one has a lock, and whoever holds it may wait for a reader.
pub struct Stderr(Option<File>);

impl Stderr {
    /// Opens it.
    pub fn open() -> Self {
        let stderr = std::io::stderr();
        Self(stderr.as_fd().try_clone_to_owned().ok().map(File::from))
    }

    /// Writes; a closed one takes everything.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }
}

/// Message to the writing thread.
pub enum WriterMessage {
    /// A line, with its end.
    Text(String),
    /// A message is counted from now on instead of written.
    Counting,
    /// Request for a signal once everything before this was written.
    Flushed(SyncSender<()>),
}

/// Writes what comes, until nobody can send any more.
pub fn write(
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

/// The messages of the last minute. The lock is held for the moment of one look.
#[derive(Clone, Debug, Default)]
pub struct RepeatCounts(Arc<Mutex<Repeats>>);

impl RepeatCounts {
    /// A look at them.
    pub fn get(&self) -> MutexGuard<'_, Repeats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
