//! The text of a config file, with the way from byte offsets to lines and columns and the excerpts for complaints.
//!
//! Offsets of the parsers are bytes; people count characters. Files of one very long line are common (machines write
//! them), so columns come from a sparse index and excerpts show a window of the line.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::complaint::Place;
use super::node::Span;
use super::secrets;

/// Distance of the entries of the character index, in bytes.
const STEP: usize = 256;
/// Characters of a line that an excerpt shows at most, and how many of them before the marked text.
const WINDOW: usize = 120;
const BEFORE: usize = 50;
/// Characters of a value that a message quotes at most.
const QUOTED: usize = 60;

/// One file as it was read.
pub struct Source {
    path: Arc<Path>,
    text: String,
    /// Byte offset of the first character of each line.
    lines: Vec<u32>,
    /// Characters before byte 0, [`STEP`], 2 × [`STEP`] …
    characters: Vec<u32>,
    /// Byte ranges that nobody may see, sorted and apart. Unset until the text has been read as a tree.
    hidden: OnceLock<Vec<Span>>,
}

/// A line of the file, or a part of it, ready to be shown.
#[derive(Debug)]
pub(super) struct Excerpt {
    /// The text, secrets masked.
    pub(super) text: String,
    /// What is marked in it, in bytes.
    pub(super) span: Range<usize>,
    /// True if the line goes on at either end, so that columns cannot be counted in `text`.
    pub(super) cut: bool,
}

impl fmt::Debug for Source {
    /// Only the path: the text may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Takes the text of `path`. It must be shorter than 4 GiB.
    #[must_use]
    pub fn new(path: &Path, text: String) -> Self {
        let mut lines = vec![0];
        let mut characters = Vec::with_capacity(text.len() / STEP + 1);
        let mut count = 0;
        for (at, byte) in text.bytes().enumerate() {
            if at % STEP == 0 {
                characters.push(count);
            }
            if byte & 0xC0 != 0x80 {
                count += 1;
            }
            if byte == b'\n' {
                lines.push(at as u32 + 1);
            }
        }
        Self {
            path: Arc::from(path),
            text,
            lines,
            characters,
            hidden: OnceLock::new(),
        }
    }

    /// The text, with all its secrets. Show it to no one.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The path, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells what must never be shown. The first call counts.
    pub(super) fn hide(&self, mut spans: Vec<Span>) {
        spans.sort_by_key(|span| span.start);
        let mut apart: Vec<Span> = Vec::with_capacity(spans.len());
        for span in spans {
            match apart.last_mut() {
                Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
                _ => apart.push(span),
            }
        }
        // A second reading of the same text would find the same secrets.
        let _ = self.hidden.set(apart);
    }

    /// Number of characters before `offset`, where characters begin at their first byte.
    fn characters_before(&self, offset: usize) -> u32 {
        let offset = offset.min(self.text.len());
        let Some(&known) = self.characters.get(offset / STEP) else {
            // Only an offset at the very end can lie behind the index.
            let last = self.characters.len().saturating_sub(1);
            return self
                .characters
                .last()
                .map_or(0, |known| known + self.count(last * STEP..offset));
        };
        known + self.count(offset / STEP * STEP..offset)
    }

    fn count(&self, range: Range<usize>) -> u32 {
        let bytes = self.text.as_bytes().get(range).unwrap_or_default();
        bytes.iter().filter(|byte| **byte & 0xC0 != 0x80).count() as u32
    }

    /// Bytes of line `index` (from 0), without its end.
    fn line(&self, index: usize) -> Option<Range<usize>> {
        let start = *self.lines.get(index)? as usize;
        let end = self
            .lines
            .get(index + 1)
            .map_or(self.text.len(), |next| *next as usize - 1);
        let end = if end > start && self.text.as_bytes()[end - 1] == b'\r' {
            end - 1
        } else {
            end
        };
        Some(start..end)
    }

    /// The line that holds a byte.
    pub(super) fn line_of(&self, at: u32) -> Span {
        let line = self.line(self.lines.partition_point(|line| *line <= at) - 1);
        line.map_or(Span { start: at, end: at }, |line| Span::new(line.start, line.end))
    }

    /// Where `span` is. Of a span over several lines only the part on the first is marked.
    pub(super) fn place(&self, span: Span) -> Place {
        let start = (span.start as usize).min(self.text.len());
        let index = self.lines.partition_point(|line| *line as usize <= start) - 1;
        let line = self.line(index).unwrap_or(start..start);
        let end = (span.end as usize).clamp(start, line.end.max(start));
        let before = self.characters_before(start);
        Place {
            file: Arc::clone(&self.path),
            line: index as u32 + 1,
            column: before - self.characters_before(line.start) + 1,
            len: (self.characters_before(end) - before).max(1),
        }
    }

    fn is_hidden(&self, offset: usize) -> bool {
        let hidden = self.hidden.get_or_init(|| secrets::in_text(&self.text, 0, false));
        let after = hidden.partition_point(|span| span.start as usize <= offset);
        after > 0 && offset < hidden[after - 1].end as usize
    }

    /// The text of `span` for a message: on one line, shortened, secrets masked.
    pub(super) fn quote(&self, span: Span) -> String {
        let range = span.start as usize..(span.end as usize).min(self.text.len());
        let Some(text) = self.text.get(range.clone()) else {
            return String::new();
        };
        let mut quoted = String::new();
        for (n, (at, c)) in text.trim_end().char_indices().enumerate() {
            if n == QUOTED || c == '\n' {
                quoted.push('…');
                break;
            }
            quoted.push(if self.is_hidden(range.start + at) { '*' } else { c });
        }
        quoted
    }

    /// The text of `range`, every character of a secret as `*`. Line breaks stay.
    pub(super) fn masked(&self, range: Range<usize>) -> String {
        let start = range.start;
        let text = self.text.get(range).unwrap_or_default().char_indices();
        text.map(|(at, c)| {
            if c != '\n' && self.is_hidden(start + at) {
                '*'
            } else {
                c
            }
        })
        .collect()
    }

    /// True if a secret begins where this span does.
    pub(super) fn is_hidden_at(&self, span: Span) -> bool {
        self.is_hidden(span.start as usize)
    }

    /// The line of `place`, or the part of it around the place. `None` if the place is not in this text.
    pub(super) fn excerpt(&self, place: &Place) -> Option<Excerpt> {
        let line = self.line((place.line as usize).checked_sub(1)?)?;
        let (column, len) = (place.column.saturating_sub(1) as usize, place.len.max(1) as usize);
        let from = if column + len <= WINDOW {
            0
        } else {
            column.saturating_sub(BEFORE)
        };
        let marked = column..column + len.min(WINDOW);
        let mut excerpt = Excerpt {
            text: String::new(),
            span: 0..0,
            cut: from > 0,
        };
        let mut found = false;
        for (n, (at, c)) in self.text[line.clone()].char_indices().enumerate() {
            if n >= from + WINDOW.max(marked.end - from) {
                excerpt.cut = true;
                excerpt.text.push('…');
                break;
            }
            if n == from && from > 0 {
                excerpt.text.push('…');
            }
            if n == marked.start {
                (excerpt.span.start, found) = (excerpt.text.len(), true);
            }
            if n >= from {
                // Tabs become blanks, so that columns stay columns.
                let c = if c == '\t' {
                    ' '
                } else if c.is_control() {
                    '\u{fffd}'
                } else {
                    c
                };
                excerpt.text.push(if self.is_hidden(line.start + at) { '*' } else { c });
            }
            if marked.contains(&n) {
                excerpt.span.end = excerpt.text.len();
            }
        }
        if !found {
            // Just behind the last character, for example where something is missing.
            excerpt.span.start = excerpt.text.len();
            excerpt.text.push(' ');
            excerpt.span.end = excerpt.text.len();
        }
        Some(excerpt)
    }
}
