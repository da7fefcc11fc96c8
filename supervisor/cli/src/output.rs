//! Writing results to stdout. A reader that went away ends the verb quietly instead of with a panic.

use std::io::{self, Write as _};

use crate::failure::CliError;

/// Writes one result, which may have several lines, and lets it out at once.
///
/// # Errors
/// The reader is gone, or the disk that stdout leads to is full.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::reader_gone(),
            _ => CliError::wrong(format!("cannot write the result to stdout: {error}")),
        })
}

/// Says something on stderr that is no result. Nothing is lost when nobody listens there.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Those of the parts that are not empty, on one line or apart by line breaks.
pub fn joined(parts: impl IntoIterator<Item = String>, between: &str) -> String {
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(between)
}

/// The text, unless it is empty: what a message leaves out is empty there, and `null` for a script.
pub fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
