//! Positions in the text of a config: ranges of bytes, and what a person reads of them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A range of bytes in the text of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// The byte behind the last.
    pub end: u32,
}

impl Span {
    /// Span from byte `start` up to byte `end`. Texts are limited far below what an offset can count.
    pub fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end.max(start) as u32,
        }
    }

    /// The same range, `by` bytes further back in the text.
    pub fn moved(self, by: u32) -> Self {
        Self {
            start: self.start + by,
            end: self.end + by,
        }
    }
}

/// A stretch of text in a file. Lines and columns count from 1, columns and lengths in characters.
/// Line 0 stands for the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceSpan {
    /// The file, as its path was given.
    pub file: Arc<Path>,
    /// Line of the first character.
    pub line: u32,
    /// Column of the first character.
    pub column: u32,
    /// Number of characters that are underlined, all on `line`; at least 1.
    pub len: u32,
}

impl SourceSpan {
    /// The file as a whole.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self {
            file: Arc::from(path),
            line: 0,
            column: 0,
            len: 0,
        }
    }
}

impl fmt::Display for SourceSpan {
    /// `file:line:column`, or only the file if it is meant as a whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        if self.line == 0 {
            write!(f, "{file}")
        } else {
            write!(f, "{file}:{}:{}", self.line, self.column)
        }
    }
}
