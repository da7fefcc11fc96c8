//! The text of a config, with the way from byte offsets to lines and columns and the excerpts for complaints.
//!
//! A config may be several files: they lie behind each other in one space of offsets, so that a span alone tells the
//! file too. Offsets of the parsers are bytes; people count characters. Files of one very long line are common
//! (machines write them), so columns come from a sparse index and excerpts show a window of the line.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::span::{SourceSpan, Span};

/// Distance of the entries of the character index, in bytes.
const STEP: usize = 256;
/// Characters of a line that an excerpt shows at most, and how many of them before the marked text.
const WINDOW: usize = 120;
const BEFORE: usize = 50;
/// Characters of a value that a message quotes at most.
const QUOTED: usize = 60;
/// Values of the environment shorter than this, in bytes, are only looked for in messages about the place of their use.
const SHORT: usize = 4;

/// Spans of a text that nobody may see.
pub type FindSecrets = fn(&str) -> Vec<Span>;

/// Text of all files of a config as they were read.
pub struct Source {
    /// Files, at least one; the config file itself is the first.
    files: Vec<File>,
    /// Byte ranges that nobody may see, sorted and apart. Unset until the text has been read as a tree.
    hidden: OnceLock<Vec<Span>>,
    /// Finds what nobody may see in the text of a file that was not read as a tree.
    find_secrets: FindSecrets,
    /// Values that came from the environment: never shown, their names are shown instead.
    borrowed: RwLock<Vec<Borrowed>>,
}

/// File of a config, as it was read.
struct File {
    path: Arc<Path>,
    text: String,
    /// Offset of its first byte among all files.
    base: u32,
    /// Byte offset of the first character of each line, in the file.
    lines: Vec<u32>,
    /// Characters before byte 0, [`STEP`], 2 × [`STEP`] …
    characters: Vec<u32>,
}

/// A value of the environment that is somewhere in the config.
struct Borrowed {
    value: String,
    /// The form that a message shows instead.
    shown: String,
    /// Lines that use it, for a value so short that it may be part of any word.
    lines: Vec<(Arc<Path>, u32)>,
}

/// A line of the file, or a part of it, ready to be shown.
#[derive(Debug)]
pub struct Excerpt {
    /// The text, secrets masked.
    pub text: String,
    /// Marked part, in bytes.
    pub span: Range<usize>,
    /// True if the line goes on at either end, so that columns cannot be counted in `text`.
    pub cut: bool,
}

impl fmt::Debug for Source {
    /// Shows only the path: the text may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

impl File {
    fn new(path: &Path, text: String, base: u32) -> Self {
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
            base,
            lines,
            characters,
        }
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

    /// A range of all files as one of this file.
    fn range(&self, span: Span) -> Range<usize> {
        let inside = |at: u32| (at.saturating_sub(self.base) as usize).min(self.text.len());
        inside(span.start)..inside(span.end.max(span.start))
    }
}

impl Source {
    /// Takes the files of a config, itself first. Together they must be shorter than 4 GiB. `find_secrets` is asked for
    /// a text that is shown before [`Source::hide`] has told what to hide.
    pub fn new<'p>(files: impl IntoIterator<Item = (&'p Path, String)>, find_secrets: FindSecrets) -> Self {
        let mut base = 0;
        let files: Vec<File> = files
            .into_iter()
            .map(|(path, text)| {
                let file = File::new(path, text, base);
                // One more, so that the end of a file is not the beginning of the next.
                base += file.text.len() as u32 + 1;
                file
            })
            .collect();
        Self {
            files,
            hidden: OnceLock::new(),
            find_secrets,
            borrowed: RwLock::default(),
        }
    }

    /// The text of a file by its number, and the offset of its first byte among all files. Show it to no one.
    pub fn file(&self, number: usize) -> Option<(&Path, &str, u32)> {
        let file = self.files.get(number)?;
        Some((&file.path, &file.text, file.base))
    }

    /// The paths of all files, in their order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| &*file.path)
    }

    /// The path of the config file, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.files.first().map_or(Path::new(""), |file| &file.path)
    }

    /// The text at `span`. Show it to no one.
    pub fn slice(&self, span: Span) -> &str {
        let file = self.file_at(span.start);
        file.and_then(|file| file.text.get(file.range(span)))
            .unwrap_or_default()
    }

    fn file_at(&self, at: u32) -> Option<&File> {
        let after = self.files.partition_point(|file| file.base <= at);
        self.files.get(after.saturating_sub(1))
    }

    /// Sets the values that must never be shown. The first call counts.
    pub fn hide(&self, mut spans: Vec<Span>) {
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

    /// Registers a value of the environment that is used at `span`; messages show `shown` instead of it.
    pub fn borrow(&self, value: &str, shown: &str, span: Span) {
        let place = self.place(span);
        let line = (place.file, place.line);
        // Messages show control characters and quotes escaped.
        let escaped = value.escape_debug().to_string();
        let forms = if escaped == value {
            vec![escaped]
        } else {
            vec![escaped, value.to_owned()]
        };
        let mut borrowed = self.borrowed.write().unwrap_or_else(PoisonError::into_inner);
        for value in forms.into_iter().filter(|value| !value.is_empty()) {
            match borrowed.iter_mut().find(|known| known.value == value) {
                Some(known) if value.len() >= SHORT || known.lines.contains(&line) => {}
                Some(known) => known.lines.push(line.clone()),
                None => {
                    // The longest come first: one may be part of another.
                    let at = borrowed.partition_point(|known| known.value.len() >= value.len());
                    let new = Borrowed {
                        value,
                        shown: shown.to_owned(),
                        lines: vec![line.clone()],
                    };
                    borrowed.insert(at, new);
                }
            }
        }
    }

    /// A message about `place` without what came from the environment.
    pub fn scrub(&self, text: String, place: &SourceSpan) -> String {
        let borrowed = self.borrowed.read().unwrap_or_else(PoisonError::into_inner);
        let near = |known: &Borrowed| {
            known.value.len() >= SHORT
                || known
                    .lines
                    .iter()
                    .any(|(file, line)| *file == place.file && *line == place.line)
        };
        let found = |rest: &str| {
            let hits = borrowed
                .iter()
                .filter(|known| near(known) && rest.starts_with(&known.value));
            hits.map(|known| (known.value.len(), known.shown.clone())).next()
        };
        let mut scrubbed = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(c) = rest.chars().next() {
            // A short value counts as a whole word only, else any `a` would be one.
            let inside = |len: usize| {
                len < SHORT
                    && (scrubbed.ends_with(char::is_alphanumeric) || rest[len..].starts_with(char::is_alphanumeric))
            };
            match found(rest).filter(|(len, _)| !inside(*len)) {
                Some((len, shown)) => {
                    scrubbed.push_str(&shown);
                    rest = &rest[len..];
                }
                None => {
                    scrubbed.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        scrubbed
    }

    /// Place of `span`. Of a span over several lines only the part on the first is marked.
    pub fn place(&self, span: Span) -> SourceSpan {
        let Some(file) = self.file_at(span.start) else {
            return SourceSpan::file(self.path());
        };
        let Range { start, end } = file.range(span);
        let index = file.lines.partition_point(|line| *line as usize <= start) - 1;
        let line = file.line(index).unwrap_or(start..start);
        let end = end.clamp(start, line.end.max(start));
        let before = file.characters_before(start);
        SourceSpan {
            file: Arc::clone(&file.path),
            line: index as u32 + 1,
            column: before - file.characters_before(line.start) + 1,
            len: (file.characters_before(end) - before).max(1),
        }
    }

    fn is_hidden(&self, offset: usize) -> bool {
        let hidden = self.hidden.get_or_init(|| {
            let of = |file: &File| {
                let spans = (self.find_secrets)(&file.text);
                spans.into_iter().map(|span| span.moved(file.base)).collect::<Vec<_>>()
            };
            self.files.iter().flat_map(of).collect()
        });
        let after = hidden.partition_point(|span| span.start as usize <= offset);
        after > 0 && offset < hidden[after - 1].end as usize
    }

    /// The text of `span` for a message: on one line, shortened, secrets masked.
    pub fn quote(&self, span: Span) -> String {
        let mut quoted = String::new();
        for (n, (at, c)) in self.slice(span).trim_end().char_indices().enumerate() {
            if n == QUOTED || c == '\n' {
                quoted.push('…');
                break;
            }
            quoted.push(if self.is_hidden(span.start as usize + at) {
                '*'
            } else {
                c
            });
        }
        quoted
    }

    /// The text of `span`, every character of a secret as `*`. Line breaks stay.
    pub fn masked(&self, span: Span) -> String {
        let start = span.start as usize;
        let mask = |(at, c)| {
            if c != '\n' && self.is_hidden(start + at) {
                '*'
            } else {
                c
            }
        };
        self.slice(span).char_indices().map(mask).collect()
    }

    /// True if a secret begins where this span does.
    pub fn is_hidden_at(&self, span: Span) -> bool {
        self.is_hidden(span.start as usize)
    }

    /// The line of `place`, or the part of it around the place. `None` if the place is not in this text.
    pub fn excerpt(&self, place: &SourceSpan) -> Option<Excerpt> {
        let file = self.files.iter().find(|file| file.path == place.file)?;
        let line = file.line((place.line as usize).checked_sub(1)?)?;
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
        for (n, (at, c)) in file.text[line.clone()].char_indices().enumerate() {
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
                excerpt
                    .text
                    .push(if self.is_hidden(file.base as usize + line.start + at) {
                        '*'
                    } else {
                        c
                    });
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
