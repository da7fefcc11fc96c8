//! What a module prints: read line by line into the log, with the last lines kept for messages.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tracing::{info, warn};

use crate::identity::ModuleName;
use crate::text::plain;

/// Longest line, in bytes; a longer one is logged in pieces of this size.
const MAX_LINE: usize = 4096;
/// Lines kept for messages about a module that failed.
const TAIL_LINES: usize = 20;
/// Lines a second that a module may print into the log before the rest is counted instead of shown.
const LINES_PER_SECOND: u32 = 200;

/// The last lines that a module printed, on both streams.
#[derive(Debug, Clone, Default)]
pub struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    /// The last lines, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }
}

/// Which of the two streams a line came from.
#[derive(Debug, Clone, Copy)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error; ordinary log lines go there too, so it is not a sign of a fault.
    Stderr,
}

/// Reads `pipe` to its end. The pipe must stay open and drained: a module that cannot write stops.
pub async fn drain(pipe: impl AsyncRead + Unpin, module: ModuleName, stream: Stream, tail: Tail) {
    let mut reader = BufReader::with_capacity(MAX_LINE, pipe);
    let mut limit = RateLimit::new(Instant::now());
    let mut line = Vec::new();
    loop {
        let filled = match limit.report_at() {
            None => reader.fill_buf().await.map(<[u8]>::len),
            Some(at) => match tokio::time::timeout_at(at.into(), reader.fill_buf()).await {
                Ok(filled) => filled.map(<[u8]>::len),
                Err(_silent) => {
                    limit.report(&module);
                    continue;
                }
            },
        };
        if !matches!(filled, Ok(1..)) {
            break;
        }
        let buffer = reader.buffer();
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let take = end.unwrap_or(buffer.len()).min(MAX_LINE - line.len());
        let complete = end == Some(take);
        line.extend_from_slice(&buffer[..take]);
        reader.consume(take + usize::from(complete));
        if complete || line.len() == MAX_LINE {
            log(&line, &module, stream, &tail, &mut limit);
            line.clear();
        }
    }
    if !line.is_empty() {
        log(&line, &module, stream, &tail, &mut limit);
    }
    limit.report(&module);
}

fn log(line: &[u8], module: &ModuleName, stream: Stream, tail: &Tail, limit: &mut RateLimit) {
    let text = String::from_utf8_lossy(line);
    let text = plain(&text);
    tail.push(&text);
    match limit.admit(Instant::now()) {
        Admit::Drop => {}
        Admit::Show { dropped } => {
            report(module, dropped);
            match stream {
                Stream::Stdout => info!(target: crate::log::PRINTED_BY_MODULE, %module, "{text}"),
                Stream::Stderr => info!(target: crate::log::PRINTED_BY_MODULE, %module, stream = "stderr", "{text}"),
            }
        }
    }
}

fn report(module: &ModuleName, dropped: u64) {
    if dropped > 0 {
        warn!(%module, dropped, "the module prints too fast; lines were left out");
    }
}

/// Counts lines within the running second.
#[derive(Debug)]
struct RateLimit {
    second: Instant,
    shown: u32,
    dropped: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Admit {
    Show { dropped: u64 },
    Drop,
}

impl RateLimit {
    fn new(now: Instant) -> Self {
        Self {
            second: now,
            shown: 0,
            dropped: 0,
        }
    }

    /// When what was left out is told, even if no line follows.
    fn report_at(&self) -> Option<Instant> {
        (self.dropped > 0).then(|| self.second + Duration::from_secs(1))
    }

    fn report(&mut self, module: &ModuleName) {
        report(module, std::mem::take(&mut self.dropped));
    }

    fn admit(&mut self, now: Instant) -> Admit {
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.shown) = (now, 0);
        }
        if self.shown >= LINES_PER_SECOND {
            self.dropped += 1;
            return Admit::Drop;
        }
        self.shown += 1;
        Admit::Show {
            dropped: std::mem::take(&mut self.dropped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tail_of(text: &'static [u8]) -> Vec<String> {
        let tail = Tail::default();
        drain(text, "m".into(), Stream::Stdout, tail.clone()).await;
        tail.lines()
    }

    #[tokio::test]
    async fn lines_are_cut_at_line_ends_and_at_the_limit() {
        assert_eq!(tail_of(b"a\nb\r\n\nlast").await, ["a", "b", "", "last"]);
        let long = [b'x'; MAX_LINE + 5];
        let lines = tail_of(Vec::from(long).leak()).await;
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE, 5]);
        assert_eq!(tail_of(b"\xff\xfe\n").await, ["\u{fffd}\u{fffd}"]);
    }

    #[test]
    fn a_flood_is_counted_instead_of_shown() {
        let start = Instant::now();
        let mut limit = RateLimit::new(start);
        for _ in 0..LINES_PER_SECOND {
            assert_eq!(limit.admit(start), Admit::Show { dropped: 0 });
        }
        assert_eq!(limit.report_at(), None);
        assert_eq!(limit.admit(start), Admit::Drop);
        assert_eq!(limit.admit(start), Admit::Drop);
        assert_eq!(limit.report_at(), Some(start + Duration::from_secs(1)));
        assert_eq!(limit.admit(start + Duration::from_secs(1)), Admit::Show { dropped: 2 });
        assert_eq!(limit.report_at(), None);
    }
}
