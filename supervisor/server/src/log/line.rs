//! Lines of the log, as people read them.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use tracing::Level;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

/// Format of the lines.
#[derive(Clone, Copy, Debug)]
pub struct LineFormat {
    /// Words of the terminal for colours.
    pub colour: bool,
}

impl LineFormat {
    /// As whoever reads our standard error can show it.
    pub fn of_stderr() -> Self {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour }
    }

    /// A line that is written now, without its end.
    pub fn line(self, level: Level, module: Option<&str>, text: &str) -> String {
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

fn word(level: Level) -> (&'static str, u8) {
    match level {
        Level::ERROR => ("ERROR", 31),
        Level::WARN => ("WARN ", 33),
        Level::INFO => ("INFO ", 32),
        Level::DEBUG => ("DEBUG", 34),
        Level::TRACE => ("TRACE", 35),
    }
}
