//! What a module prints and logs: drained for as long as it runs, kept in memory within limits, and shown in the core's
//! log. It outlives the module's processes, so that the last words of one are there when the next one runs.
//!
//! `drain` reads the pipes, `split` makes lines of bytes, `limit` decides what is kept, `level` guesses how serious a
//! line is, `file` writes files for those who want them.

mod drain;
mod file;
mod level;
mod limit;
mod split;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use tracing::{Level, error, info, warn};

pub use self::drain::drain;
use self::file::LogFile;
pub use self::level::word;
use self::limit::{Admit, RateLimit};
use self::split::printable;
use crate::feed::{Feed, Weigh};
use crate::identity::ModuleName;
use crate::policy;
use crate::text;

/// Lines that are kept of one module.
const MAX_LINES: usize = 1000;
/// Bytes that these may take.
const MAX_BYTES: usize = 128 * 1024;
/// Longest entry that a module may send, in bytes; what is longer is cut.
const MAX_ENTRY: usize = 16 * 1024;

/// How a line came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error; ordinary log lines go there too, so it is not a sign of a fault.
    Stderr,
    /// The robot protocol's `Log`.
    Log,
    /// From the core, about the module.
    Core,
}

impl Stream {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Log => "log",
            Self::Core => "core",
        }
    }
}

/// One line of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was read.
    pub at: SystemTime,
    /// How it came.
    pub stream: Stream,
    /// As the module said, or as guessed from the text.
    pub level: Level,
    /// Fit to be shown; without its end.
    pub text: Arc<str>,
}

impl Weigh for Line {
    fn weight(&self) -> usize {
        self.text.len() + size_of::<Self>() + 2 * size_of::<usize>()
    }
}

/// What one module printed and logged, over all its lives. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Output(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    module: ModuleName,
    lines: Feed<Line>,
    gate: Mutex<Gate>,
    file: Option<LogFile>,
}

#[derive(Debug, Default)]
struct Gate {
    limit: RateLimit,
    /// Number of the first line of the present process.
    life: u64,
}

impl Output {
    /// Of a module that has said nothing yet.
    pub fn new(module: ModuleName, policy: &policy::Output) -> Self {
        let file = policy
            .file
            .clone()
            .map(|path| LogFile::new(module.clone(), path, policy.max_size, policy.keep));
        Self(Arc::new(Shared {
            module,
            lines: Feed::new(MAX_LINES, MAX_BYTES),
            gate: Mutex::default(),
            file,
        }))
    }

    /// The lines that are kept.
    pub fn lines(&self) -> &Feed<Line> {
        &self.0.lines
    }

    /// A new process begins; what came before is not its word.
    pub fn begin(&self) {
        self.release();
        self.gate().life = self.0.lines.ring().next();
    }

    /// The core has something to say about the module.
    pub fn note(&self, level: Level, text: &str) {
        self.keep(Stream::Core, level, text.into());
    }

    /// The module logged an entry. It is not counted: a call can be refused, so a flood of them slows down its sender.
    pub fn logged(&self, level: Level, text: &str) {
        let cut = &text[..text.floor_char_boundary(MAX_ENTRY)];
        self.keep(Stream::Log, level, cut.into());
    }

    /// The module printed a line, as it came.
    fn printed(&self, stream: Stream, line: &[u8], now: Instant) {
        let admit = self.gate().limit.admit(stream, line, now);
        let Admit::Keep { suppressed } = admit else { return };
        self.suppressed(suppressed);
        self.show(stream, line);
    }

    /// Tells what was suppressed, and the last of it.
    pub fn release(&self) {
        let released = self.gate().limit.release();
        self.suppressed(released.suppressed);
        for (stream, line) in released.last {
            self.show(stream, &line);
        }
    }

    /// When `release` is due.
    fn report_at(&self) -> Option<Instant> {
        self.gate().limit.report_at()
    }

    /// The last lines that the present process printed or logged, oldest first.
    pub fn tail(&self, most: usize) -> Vec<String> {
        let gate = self.gate();
        let held = gate.limit.held().rev().map(|(_, line)| printable(line));
        let ring = self.0.lines.ring();
        let kept = ring.newest_first().take_while(|(number, _)| *number >= gate.life);
        let kept = kept.filter(|(_, line)| line.stream != Stream::Core);
        let mut tail: Vec<String> = held
            .chain(kept.map(|(_, line)| line.text.to_string()))
            .take(most)
            .collect();
        tail.reverse();
        tail
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.0.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn suppressed(&self, lines: u64) {
        if lines > 0 {
            let text = format!(
                "{lines} lines suppressed: more than {} a second",
                limit::LINES_PER_SECOND
            );
            warn!(target: crate::log::PRINTED_BY_MODULE, module = %self.0.module, "{text}");
            self.note(Level::WARN, &text);
        }
    }

    /// A printed line: into the core's log, and kept.
    fn show(&self, stream: Stream, line: &[u8]) {
        let text = printable(line);
        let level = level::guess(&text).unwrap_or(Level::INFO);
        self.tell(stream, level, &text);
        self.keep(stream, level, text.into());
    }

    /// Into the core's log. What is below `info` there shows as `info`: a guess must not hide what a module printed.
    fn tell(&self, stream: Stream, level: Level, text: &str) {
        let (module, stream) = (&self.0.module, (stream == Stream::Stderr).then_some("stderr"));
        match level {
            Level::ERROR => error!(target: crate::log::PRINTED_BY_MODULE, %module, stream, "{text}"),
            Level::WARN => warn!(target: crate::log::PRINTED_BY_MODULE, %module, stream, "{text}"),
            _ => info!(target: crate::log::PRINTED_BY_MODULE, %module, stream, "{text}"),
        }
    }

    fn keep(&self, stream: Stream, level: Level, text: Arc<str>) {
        let line = Line {
            at: SystemTime::now(),
            stream,
            level,
            text,
        };
        if let Some(file) = &self.0.file {
            let Line { at, text, .. } = &line;
            file.write(format!(
                "{} {level:<5} {:<6} {text}\n",
                text::time(*at),
                stream.as_str()
            ));
        }
        self.0.lines.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> Output {
        Output::new("m".into(), &policy::Output::default())
    }

    fn texts(output: &Output) -> Vec<String> {
        let read = output.lines().ring().read(0, MAX_LINES);
        read.things.iter().map(|line| line.text.to_string()).collect()
    }

    #[test]
    fn the_tail_is_what_the_present_process_said() {
        let output = output();
        let now = Instant::now();
        output.printed(Stream::Stdout, b"of an earlier life", now);
        output.begin();
        output.note(Level::INFO, "from the core");
        assert!(output.tail(3).is_empty());
        for text in ["1", "2", "3"] {
            output.printed(Stream::Stderr, text.as_bytes(), now);
        }
        output.logged(Level::WARN, "4");
        assert_eq!(output.tail(3), ["2", "3", "4"]);
        assert_eq!(texts(&output).len(), 6, "the ring keeps all");
    }

    #[test]
    fn the_last_words_of_a_flood_are_in_the_tail_and_in_the_ring() {
        let (output, now) = (output(), Instant::now());
        for line in 0..1000_u32 {
            output.printed(Stream::Stdout, line.to_string().as_bytes(), now);
        }
        assert_eq!(output.tail(2), ["998", "999"]);
        output.release();
        let texts = texts(&output);
        assert_eq!(texts.len(), 200 + 1 + 20);
        assert_eq!(
            texts[199..202],
            ["199", "780 lines suppressed: more than 200 a second", "980"]
        );
        assert_eq!(output.tail(2), ["998", "999"]);
    }

    #[test]
    fn the_ring_is_bounded_in_bytes() {
        let output = output();
        for _ in 0..100 {
            output.logged(Level::INFO, &"ü".repeat(MAX_ENTRY));
        }
        let kept: usize = texts(&output).iter().map(String::len).sum();
        assert!(kept <= MAX_BYTES && kept > MAX_BYTES - 2 * MAX_ENTRY, "{kept}");
    }

    #[test]
    fn a_line_has_the_level_that_it_names() {
        let (output, now) = (output(), Instant::now());
        output.printed(Stream::Stderr, b"up", now);
        output.printed(Stream::Stdout, b"WARNING:root:slow", now);
        let levels: Vec<_> = output
            .lines()
            .ring()
            .read(0, 9)
            .things
            .iter()
            .map(|line| line.level)
            .collect();
        assert_eq!(levels, [Level::INFO, Level::WARN]);
    }
}
