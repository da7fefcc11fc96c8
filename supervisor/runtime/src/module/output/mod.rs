//! Output of a module, printed and logged: drained for as long as it runs, kept in memory within limits, and shown in the
//! core's log. It outlives the module's processes, so that the last words of one are there when the next one runs.
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

use arc_swap::ArcSwapOption;
use mainstay_model::{ModuleName, policy, text};
use tracing::{Level, error, info, warn};

use crate::event_log::{EventLog, Weighted};
pub use crate::module::output::drain::drain;
use crate::module::output::file::LogFile;
pub use crate::module::output::level::word;
use crate::module::output::limit::{LineVerdict, RateLimit};
use crate::module::output::split::printable;

/// Target of log events for lines that modules print.
pub const PRINTED_BY_MODULE: &str = "module_output";
/// Lines that are kept of one module.
const MAX_LINES: usize = 1000;
/// Bytes that these may take.
const MAX_BYTES: usize = 128 * 1024;
/// Longest entry that a module may send, in bytes; what is longer is cut.
const MAX_ENTRY: usize = 16 * 1024;

/// Origin of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error; ordinary log lines go there too, so it is not a sign of a fault.
    Stderr,
    /// The robot protocol's `Log`.
    Log,
    /// The core, about the module.
    Core,
    /// The build of the module's program.
    Build,
}

impl Stream {
    /// True for what the module's own process printed or logged.
    fn is_of_process(self) -> bool {
        !matches!(self, Self::Core | Self::Build)
    }

    /// Name of the stream in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Log => "log",
            Self::Core => "core",
            Self::Build => "build",
        }
    }
}

/// Process and pipe that a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LineOrigin {
    stream: Stream,
    life: u64,
}

/// Output line of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputLine {
    /// Time of reading.
    pub at: SystemTime,
    /// Origin of the line.
    pub stream: Stream,
    /// Life number of the process that printed it, counted from 1.
    pub life: u64,
    /// Level as the module said, or as guessed from the text.
    pub level: Level,
    /// Fit to be shown; without its end.
    pub text: Arc<str>,
}

impl Weighted for OutputLine {
    fn weight(&self) -> usize {
        self.text.len() + size_of::<Self>() + 2 * size_of::<usize>()
    }
}

/// Output of one module over all its lives. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct ModuleOutput(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    module: ModuleName,
    lines: EventLog<OutputLine>,
    gate: Mutex<Gate>,
    file: ArcSwapOption<LogFile>,
}

#[derive(Debug, Default)]
struct Gate {
    limit: RateLimit,
    /// Number of the present process, from 1.
    life: u64,
}

impl ModuleOutput {
    /// Empty output of a module.
    pub fn new(module: ModuleName, policy: &policy::Output) -> Self {
        let file = ArcSwapOption::new(file_of(&module, policy));
        Self(Arc::new(Shared {
            module,
            lines: EventLog::new(MAX_LINES, MAX_BYTES),
            gate: Mutex::default(),
            file,
        }))
    }

    /// The lines that are kept.
    pub fn lines(&self) -> &EventLog<OutputLine> {
        &self.0.lines
    }

    /// Keeps further lines in files as `policy` says.
    pub fn keep_in(&self, policy: &policy::Output) {
        self.0.file.store(file_of(&self.0.module, policy));
    }

    /// Opens its file anew, if it has one: somebody may have moved it away.
    pub fn reopen_file(&self) {
        if let Some(file) = &*self.0.file.load() {
            file.reopen();
        }
    }

    /// Begins the output of a new process. The last output of the one before may still be on its way; the two are kept
    /// apart.
    pub fn begin(&self) -> Tail {
        let mut gate = self.gate();
        gate.life += 1;
        Tail {
            output: self.clone(),
            life: gate.life,
        }
    }

    /// Begins the output of a build, beside that of the present process.
    pub fn begin_build(&self) -> Tail {
        let life = self.gate().life;
        let output = self.clone();
        Tail { output, life }
    }

    /// The core has something to say about the module.
    pub fn note(&self, level: Level, text: &str) {
        self.keep(self.present(Stream::Core), level, text.into());
    }

    /// The module logged an entry. It is not counted: a call can be refused, so a flood of them slows down its sender.
    pub fn logged(&self, level: Level, text: &str) {
        let cut = &text[..text.floor_char_boundary(MAX_ENTRY)];
        self.keep(self.present(Stream::Log), level, cut.into());
    }

    fn present(&self, stream: Stream) -> LineOrigin {
        let life = self.gate().life;
        LineOrigin { stream, life }
    }

    /// Logs the number of suppressed lines, and the last of them.
    pub fn release(&self) {
        let released = self.gate().limit.release();
        self.suppressed(released.suppressed);
        for (origin, line) in released.last {
            self.show(origin, &line);
        }
    }

    /// Time when `release` is due.
    fn report_at(&self) -> Option<Instant> {
        self.gate().limit.report_at()
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
            warn!(target: PRINTED_BY_MODULE, module = %self.0.module, "{text}");
            self.note(Level::WARN, &text);
        }
    }

    /// A printed line: into the core's log, and kept.
    fn show(&self, origin: LineOrigin, line: &[u8]) {
        let text = printable(line);
        let level = level::guess(&text).unwrap_or(Level::INFO);
        self.log_line(origin.stream, level, &text);
        self.keep(origin, level, text.into());
    }

    /// Into the core's log. What is below `info` there shows as `info`: a guess must not hide what a module printed.
    fn log_line(&self, stream: Stream, level: Level, text: &str) {
        let (module, stream) = (&self.0.module, (stream != Stream::Stdout).then_some(stream.as_str()));
        match level {
            Level::ERROR => error!(target: PRINTED_BY_MODULE, %module, stream, "{text}"),
            Level::WARN => warn!(target: PRINTED_BY_MODULE, %module, stream, "{text}"),
            _ => info!(target: PRINTED_BY_MODULE, %module, stream, "{text}"),
        }
    }

    fn keep(&self, origin: LineOrigin, level: Level, text: Arc<str>) {
        let LineOrigin { stream, life } = origin;
        let line = OutputLine {
            at: SystemTime::now(),
            stream,
            life,
            level,
            text,
        };
        if let Some(file) = &*self.0.file.load() {
            let OutputLine { at, text, .. } = &line;
            file.write(format!(
                "{} {level:<5} {:<6} {text}\n",
                text::time(*at),
                stream.as_str()
            ));
        }
        self.0.lines.push(line);
    }
}

fn file_of(module: &ModuleName, policy: &policy::Output) -> Option<Arc<LogFile>> {
    let path = policy.file.clone()?;
    Some(Arc::new(LogFile::new(
        module.clone(),
        path,
        policy.max_size,
        policy.keep,
    )))
}

/// Last output of one process of a module; cheap to clone.
#[derive(Debug, Clone)]
pub struct Tail {
    output: ModuleOutput,
    life: u64,
}

/// Lines that a tail is long.
const TAIL: usize = 20;

impl Tail {
    /// A line was printed, as it came.
    fn printed(&self, stream: Stream, line: &[u8], now: Instant) {
        let origin = LineOrigin {
            stream,
            life: self.life,
        };
        let admit = self.output.gate().limit.admit(origin, line, now);
        let LineVerdict::Keep { suppressed } = admit else {
            return;
        };
        self.output.suppressed(suppressed);
        self.output.show(origin, line);
    }

    /// Number that the next line will have.
    pub fn end(&self) -> u64 {
        self.output.lines().ring().next()
    }

    /// The lines of this process from number `from` on, oldest first.
    pub fn since(&self, from: u64) -> Vec<String> {
        let kept = self.output.lines().ring().read(from, MAX_LINES).entries;
        let kept = kept
            .into_iter()
            .filter(|line| line.life == self.life && line.stream.is_of_process());
        kept.map(|line| line.text.to_string()).collect()
    }

    /// The last lines that a build printed since number `from`, oldest first.
    pub fn of_build(&self, from: u64) -> Vec<String> {
        let kept = self.output.lines().ring().read(from, MAX_LINES).entries;
        let kept = kept.into_iter().filter(|line| line.stream == Stream::Build);
        let mut lines: Vec<_> = kept.map(|line| line.text.to_string()).collect();
        lines.drain(..lines.len().saturating_sub(TAIL));
        lines
    }

    /// The last lines that this process printed or logged, oldest first; what the core said of it does not count.
    pub fn lines(&self) -> Vec<String> {
        let gate = self.output.gate();
        let held = gate.limit.held().rev();
        let held = held.filter(|(origin, _)| origin.life == self.life && origin.stream.is_of_process());
        let ring = self.output.lines().ring();
        let kept = ring.newest_first().map(|(_, line)| line);
        // Two lives overlap by a moment at most, so there is no need to search all that was ever said.
        let kept = kept.take_while(|line| line.life + 1 >= self.life);
        let kept = kept.filter(|line| line.life == self.life && line.stream.is_of_process());
        let mut lines: Vec<String> = held
            .map(|(_, line)| printable(line))
            .chain(kept.map(|line| line.text.to_string()))
            .take(TAIL)
            .collect();
        lines.reverse();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> ModuleOutput {
        ModuleOutput::new("m".into(), &policy::Output::default())
    }

    fn texts(output: &ModuleOutput) -> Vec<String> {
        let read = output.lines().ring().read(0, MAX_LINES);
        read.entries.iter().map(|line| line.text.to_string()).collect()
    }

    #[test]
    fn each_process_has_its_own_last_words_even_if_they_come_late() {
        let (output, now) = (output(), Instant::now());
        let first = output.begin();
        first.printed(Stream::Stdout, b"1", now);
        let second = output.begin();
        output.note(Level::INFO, "from the core");
        assert!(second.lines().is_empty());
        second.printed(Stream::Stderr, b"2", now);
        first.printed(Stream::Stdout, b"late", now);
        output.logged(Level::WARN, "3");
        assert_eq!(first.lines(), ["1", "late"]);
        assert_eq!(second.lines(), ["2", "3"]);
        assert_eq!(texts(&output), ["1", "from the core", "2", "late", "3"]);
    }

    #[test]
    fn the_last_words_of_a_flood_are_in_the_tail_and_in_the_ring() {
        let (output, now) = (output(), Instant::now());
        let tail = output.begin();
        for line in 0..1000_u32 {
            tail.printed(Stream::Stdout, line.to_string().as_bytes(), now);
        }
        assert_eq!(tail.lines()[18..], ["998", "999"]);
        output.release();
        let texts = texts(&output);
        assert_eq!(texts.len(), 200 + 1 + 20);
        assert_eq!(
            texts[199..202],
            ["199", "780 lines suppressed: more than 200 a second", "980"]
        );
        assert_eq!(tail.lines()[18..], ["998", "999"]);
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
        let tail = output.begin();
        tail.printed(Stream::Stderr, b"up", now);
        tail.printed(Stream::Stdout, b"WARNING:root:slow", now);
        let levels: Vec<_> = output
            .lines()
            .ring()
            .read(0, 9)
            .entries
            .iter()
            .map(|line| line.level)
            .collect();
        assert_eq!(levels, [Level::INFO, Level::WARN]);
    }
}
