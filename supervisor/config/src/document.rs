//! Parsing one file of a config, from its bytes to a tree whose places are those of the file.
//!
//! The text is read as JSON or YAML only after its variables have been replaced, so every place that the readers give is
//! led back to the text as it was.

use std::collections::BTreeMap;
use std::path::Path;

use mainstay_model::redact;
use mainstay_model::{Source, Span};

use crate::diagnostic::Severity;
use crate::node::{NodeValue, Note, SyntaxError, SyntaxTree, TreeNode};
use crate::substitute::{Substituted, substitute};
use crate::{json, secrets, yaml};

/// Parsed file, as far as it could be read. Places are offsets among all files of the source.
pub(super) struct Parsed {
    /// The tree; of a broken text what was read until then.
    pub(super) root: TreeNode,
    /// Notes about the text itself.
    pub(super) notes: Vec<(Severity, Note)>,
    /// Secret spans, which must never be shown.
    pub(super) hidden: Vec<Span>,
    /// The text is no JSON, no YAML, or could not be put together.
    pub(super) broken: bool,
}

/// The text of a file without a byte order mark; and if it is not UTF-8, only what comes before that, with the offset of the
/// first byte that is not.
pub(super) fn decode(bytes: &[u8]) -> (String, Option<usize>) {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    match str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(error) => {
            let valid = error.valid_up_to();
            (String::from_utf8_lossy(&bytes[..valid]).into_owned(), Some(valid))
        }
    }
}

/// Reads a file of `source`, and marks in the source what of it came from the environment.
pub(super) fn read(source: &Source, number: usize, environment: &BTreeMap<String, String>) -> Parsed {
    let Some((path, text, base)) = source.file(number) else {
        return Parsed {
            root: nothing(),
            notes: Vec::new(),
            hidden: Vec::new(),
            broken: true,
        };
    };
    let text = substitute(text, environment);
    for (value, shown, span) in &text.borrowed {
        source.borrow(value, shown, span.moved(base));
    }
    let back = |span: Span| text.back(span).moved(base);
    let noted = text.notes.iter().cloned();
    let mut notes: Vec<_> = noted
        .map(|(severity, note)| (severity, note.at(|span| span.moved(base))))
        .collect();
    let blank = text.text.trim().is_empty();
    let document = if blank || !is_json(path, &text.text) {
        yaml::read(&text.text)
    } else {
        json::read(&text.text)
    };
    let (mut root, hidden, broken) = match document {
        Ok(document) => {
            let hidden = hidden_in(&document, &text.text);
            let warnings = document.notes.into_iter();
            notes.extend(warnings.map(|note| (Severity::Warning, note.at(back))));
            (document.root, hidden, false)
        }
        Err(error) => {
            let hidden = hidden_in_broken(&error, &text.text);
            let note = explained(error.note, &text);
            notes.push((Severity::Refused, note.at(back)));
            (error.partial, hidden, true)
        }
    };
    root.respan(&back);
    let broken = broken || notes.iter().any(|(severity, _)| *severity == Severity::Refused);
    Parsed {
        root,
        notes,
        hidden: hidden.into_iter().map(back).collect(),
        broken,
    }
}

pub(super) fn nothing() -> TreeNode {
    TreeNode {
        value: NodeValue::Null,
        span: Span::default(),
    }
}

fn hidden_in(document: &SyntaxTree, text: &str) -> Vec<Span> {
    let mut hidden = secrets::in_tree(&document.root, text);
    if !document.notes.is_empty() {
        // What stands behind the config has not been read.
        hidden.extend(secrets::in_text(text, document.root.span.end as usize, false));
    }
    hidden
}

fn hidden_in_broken(error: &SyntaxError, text: &str) -> Vec<Span> {
    let mut hidden = secrets::in_tree(&error.partial, text);
    // A quote too many cuts a URL in two.
    let line = line_of(text, error.note.span.start);
    hidden.extend(redact::user_of_url(text, line));
    // Right behind a secret most likely stands the rest of it, cut off by a quote.
    let beside = hidden
        .iter()
        .any(|span| span.start <= error.from && (line.start..=line.end).contains(&span.start));
    let clear = error.clear && !beside;
    hidden.extend(secrets::in_text(text, error.from as usize, clear));
    if !clear {
        hidden.push(Span {
            start: error.note.span.start,
            ..line
        });
    }
    hidden
}

/// A syntax error where something was put in says so: the text that a person sees may be without fault.
fn explained(mut note: Note, text: &Substituted<'_>) -> Note {
    let line = line_of(&text.text, note.span.start);
    let until = Span {
        start: line.start,
        end: note.span.end.max(note.span.start),
    };
    if text.touched(until) {
        let help = "what the environment has for the variables of this line is part of the text, quotes and line breaks included";
        note.help = Some(match note.help {
            Some(known) => format!("{known}; {help}"),
            None => help.to_owned(),
        });
    }
    note
}

/// The line that holds a byte, without its end.
fn line_of(text: &str, at: u32) -> Span {
    let at = (at as usize).min(text.len());
    let bytes = text.as_bytes();
    let start = bytes[..at]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let end = bytes[at..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(text.len(), |end| at + end);
    let end = if end > start && bytes[end - 1] == b'\r' {
        end - 1
    } else {
        end
    };
    Span::new(start, end)
}

/// True if the text is JSON, by the ending of the name, else by the first character.
fn is_json(path: &Path, text: &str) -> bool {
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    match ending.as_deref().and_then(|ending| ending.to_str()) {
        Some("json") => true,
        Some("yaml" | "yml") => false,
        _ => text.trim_start().starts_with('{'),
    }
}
