//! Variables of the environment in the text of a config, before it is read as JSON or YAML: `$NAME`, `${NAME}`,
//! `${NAME:-default}` and the like, `$$` for a dollar sign.
//!
//! Placeholders (`${packages.…}`, `${environment.…}`) stay for their own rules, written with one dollar sign or two. Each
//! replaced piece is remembered, so that places in the new text lead back to the file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mainstay_model::Span;

use crate::diagnostic::Severity;
use crate::node::Note;

/// Defaults in defaults, as in `${A:-${B:-x}}`.
const MAX_DEPTH: usize = 10;
/// Longest text that may come out, in bytes: as long as a file may be.
const MAX_SIZE: usize = crate::bundle::MAX_SIZE as usize;

/// Begin of the hash of an API key, as programs print it: its dollar signs begin no variables.
const HASH: &str = "$argon2id$v=";

/// Length of the hash that `text` begins with.
fn hash_len(text: &str) -> usize {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '$' | '=' | ',' | '+' | '/' | '-' | '_');
    text.find(|c| !inside(c)).unwrap_or(text.len())
}

/// A text whose variables have been replaced.
#[derive(Debug)]
pub(super) struct Substituted<'t> {
    /// The new text.
    pub(super) text: Cow<'t, str>,
    /// Replaced pieces in their order.
    pieces: Vec<Piece>,
    /// Notes about the text. Spans are those of the text as it was.
    pub(super) notes: Vec<(Severity, Note)>,
    /// Values of the environment that are now in the text, what to show instead, and where in the text as it was.
    pub(super) borrowed: Vec<(String, String, Span)>,
}

/// Replaced piece: its place in the new text, and in the old.
#[derive(Clone, Copy, Debug)]
struct Piece {
    new: Span,
    old: Span,
}

impl Substituted<'_> {
    /// The place in the old text of a place in the new one. What touches the inside of a replaced piece covers all of it.
    pub(super) fn back(&self, span: Span) -> Span {
        let start = self.start(span.start);
        // An empty span stays empty, unless it is inside of a piece.
        let end = if span.end == span.start && self.inside(span.start).is_none() {
            start
        } else {
            self.end(span.end)
        };
        Span {
            start,
            end: end.max(start),
        }
    }

    fn start(&self, at: u32) -> u32 {
        // The first piece that ends behind it, or that is empty and stands there.
        let after = self.pieces.partition_point(|piece| piece.new.end < at);
        let here = self.pieces[after..]
            .iter()
            .take_while(|piece| piece.new.start <= at)
            .find(|piece| at < piece.new.end || piece.new.start == piece.new.end);
        match here {
            Some(piece) => piece.old.start,
            None => {
                let before = self.pieces.partition_point(|piece| piece.new.end <= at);
                self.shifted(before, at)
            }
        }
    }

    fn end(&self, at: u32) -> u32 {
        // The last piece that begins before it, or that is empty and stands there.
        let before = self
            .pieces
            .partition_point(|piece| piece.new.start < at || (piece.new.start == at && piece.new.end == at));
        match before.checked_sub(1).map(|last| self.pieces[last]) {
            Some(piece) if at <= piece.new.end => piece.old.end,
            _ => self.shifted(before, at),
        }
    }

    /// A place outside of all pieces, `before` of which lie before it.
    fn shifted(&self, before: usize, at: u32) -> u32 {
        match before.checked_sub(1).map(|last| self.pieces[last]) {
            Some(piece) => piece.old.end + (at - piece.new.end),
            None => at,
        }
    }

    fn inside(&self, at: u32) -> Option<&Piece> {
        self.pieces
            .iter()
            .find(|piece| (piece.new.start..=piece.new.end).contains(&at))
    }

    /// True if something was replaced in this range of the new text.
    pub(super) fn touched(&self, span: Span) -> bool {
        let first = self.pieces.partition_point(|piece| piece.new.end < span.start);
        self.pieces.get(first).is_some_and(|piece| piece.new.start <= span.end)
    }
}

/// Replaces the variables of `text`.
pub(super) fn substitute<'t>(text: &'t str, environment: &BTreeMap<String, String>) -> Substituted<'t> {
    let mut done = Substituted {
        text: Cow::Borrowed(text),
        pieces: Vec::new(),
        notes: Vec::new(),
        borrowed: Vec::new(),
    };
    if !text.contains('$') {
        return done;
    }
    let mut out = String::with_capacity(text.len());
    let mut work = Substitution {
        text,
        environment,
        notes: &mut done.notes,
        borrowed: &mut done.borrowed,
    };
    let mut at = 0;
    while let Some(sign) = text[at..].find('$').map(|sign| at + sign) {
        out.push_str(&text[at..sign]);
        let new = out.len();
        match work.form(sign, 0) {
            DollarForm::Literal(end) => {
                out.push_str(&text[sign..end]);
                at = end;
            }
            DollarForm::Value(value, end) => {
                out.push_str(&value);
                at = end;
                done.pieces.push(Piece {
                    new: Span::new(new, out.len()),
                    old: Span::new(sign, end),
                });
            }
        }
        if out.len() > MAX_SIZE {
            let message = format!("the config is larger than {} MiB with its variables", MAX_SIZE >> 20);
            let note = Note::new(Span::new(sign, at), message, Some("is it the right variable?"));
            work.notes.push((Severity::Refused, note));
            at = text.len();
        }
    }
    out.push_str(&text[at..]);
    done.text = Cow::Owned(out);
    done
}

/// Form of the text at a dollar sign, and its end.
enum DollarForm {
    /// Literal text, which is not replaced.
    Literal(usize),
    /// Value that replaces it.
    Value(String, usize),
}

struct Substitution<'a> {
    text: &'a str,
    environment: &'a BTreeMap<String, String>,
    notes: &'a mut Vec<(Severity, Note)>,
    borrowed: &'a mut Vec<(String, String, Span)>,
}

impl Substitution<'_> {
    /// Looks at the dollar sign at `sign`.
    fn form(&mut self, sign: usize, depth: usize) -> DollarForm {
        let rest = &self.text[sign + 1..];
        match rest.as_bytes().first() {
            Some(b'$') => DollarForm::Value("$".to_owned(), sign + 2),
            Some(b'{') => self.braces(sign, depth),
            _ if self.text[sign..].starts_with(HASH) => DollarForm::Literal(sign + hash_len(&self.text[sign..])),
            _ => match name_len(rest) {
                0 => DollarForm::Literal(sign + 1),
                // `$schema` is for editors; `$variable`, `$set` and the like belong to fragments, whatever the environment has.
                len if (rest.starts_with(|c: char| c.is_ascii_lowercase())
                    || !self.environment.contains_key(&rest[..len]))
                    && self.is_key(sign, sign + 1 + len) =>
                {
                    DollarForm::Literal(sign + 1)
                }
                len => {
                    let end = sign + 1 + len;
                    DollarForm::Value(self.variable(&rest[..len], Span::new(sign, end)), end)
                }
            },
        }
    }

    /// True if the text from `start` to `end` is a whole key of a map, in quotes or, in YAML, without.
    fn is_key(&self, start: usize, end: usize) -> bool {
        let (before, after) = (&self.text[..start], &self.text[end..]);
        let quote = ['"', '\''].into_iter().find(|quote| before.ends_with(*quote));
        match quote {
            Some(quote) => {
                let after = after.strip_prefix(quote).map(str::trim_start);
                after.is_some_and(|after| after.starts_with(':'))
            }
            None => {
                let line = before.rsplit('\n').next().unwrap_or_default().trim_end();
                let first = line.is_empty() || line.ends_with(['{', ',', '-']);
                let colon = after.trim_start_matches(' ').strip_prefix(':');
                first && colon.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
            }
        }
    }

    fn braces(&mut self, sign: usize, depth: usize) -> DollarForm {
        let inner = sign + 2;
        let rest = &self.text[inner..];
        if is_placeholder(rest) {
            return DollarForm::Literal(inner);
        }
        let name = &rest[..name_len(rest)];
        let after = &rest[name.len()..];
        let operator = [":-", ":=", ":+", "-", "=", "+"]
            .into_iter()
            .find(|operator| after.starts_with(operator));
        if name.is_empty() || !(after.starts_with('}') || operator.is_some() || ends_line(after)) {
            self.no_form(sign, rest);
            return DollarForm::Literal(inner);
        }
        let Some(operator) = operator else {
            if !after.starts_with('}') {
                return self.unclosed(sign);
            }
            let end = inner + name.len() + 1;
            return DollarForm::Value(self.variable(name, Span::new(sign, end)), end);
        };
        let Some((word, end)) = self.word(inner + name.len() + operator.len(), depth) else {
            return self.unclosed(sign);
        };
        let set = self.environment.get(name);
        let filled = set.filter(|value| !value.is_empty());
        let span = Span::new(sign, end);
        let value = match operator {
            "+" | ":+" => set.map_or_else(String::new, |_| word),
            "-" | "=" => set.map_or(word, |value| self.borrow(name, value, span)),
            _ => filled.map_or(word, |value| self.borrow(name, value, span)),
        };
        DollarForm::Value(value, end)
    }

    /// The text up to the closing brace, on one line, variables in it replaced; and where the brace ends.
    fn word(&mut self, from: usize, depth: usize) -> Option<(String, usize)> {
        if depth >= MAX_DEPTH {
            return None;
        }
        let mut word = String::new();
        let mut at = from;
        loop {
            let rest = &self.text[at..];
            let stop = rest.find(['$', '}', '\n'])?;
            word.push_str(&rest[..stop]);
            at += stop;
            match rest.as_bytes()[stop] {
                b'}' => return Some((word, at + 1)),
                b'$' => match self.form(at, depth + 1) {
                    DollarForm::Literal(end) => {
                        word.push_str(&self.text[at..end]);
                        at = end;
                    }
                    DollarForm::Value(value, end) => {
                        word.push_str(&value);
                        at = end;
                    }
                },
                _ => return None,
            }
        }
    }

    fn variable(&mut self, name: &str, span: Span) -> String {
        if let Some(value) = self.environment.get(name) {
            return self.borrow(name, value, span);
        }
        let message = format!("the environment has no variable `{name}`, so this is empty");
        let help = format!("set it, or write `${{{name}:-default}}`, or `$$` for a dollar sign");
        self.note(Severity::Warning, Note::new(span, message, Some(&help)));
        String::new()
    }

    /// Notes something, but not in a comment, where it does no harm.
    fn note(&mut self, severity: Severity, note: Note) {
        let start = note.span.start as usize;
        let line = self.text[..start].rfind('\n').map_or(0, |end| end + 1);
        if !self.text[line..].trim_start().starts_with('#') {
            self.notes.push((severity, note));
        }
    }

    fn borrow(&mut self, name: &str, value: &str, span: Span) -> String {
        if !value.is_empty() {
            self.borrowed.push((value.to_owned(), format!("${{{name}}}"), span));
        }
        value.to_owned()
    }

    fn unclosed(&mut self, sign: usize) -> DollarForm {
        let line = self.text[sign..].find('\n').unwrap_or(self.text.len() - sign);
        let help = "close it with `}`, or write `$$` for a dollar sign";
        let note = Note::new(Span::new(sign, sign + line), "this `${` is never closed", Some(help));
        self.note(Severity::Local, note);
        DollarForm::Literal(sign + 2)
    }

    /// Notes that something looks like a variable and is none.
    fn no_form(&mut self, sign: usize, rest: &str) {
        let len = rest.find(['}', '\n', '"']).unwrap_or(rest.len());
        let help = "variables are `${NAME}` and `${NAME:-default}`, placeholders `${packages.TYPE.NAME}` and `${environment.NAME}`; a dollar sign is `$$`";
        let end = sign + 2 + len + usize::from(rest[len..].starts_with('}'));
        let message = "this is no variable and no placeholder, so it stays as it is";
        let note = Note::new(Span::new(sign, end), message, Some(help));
        self.note(Severity::Warning, note);
    }
}

/// Length of the variable name that `text` begins with.
fn name_len(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

/// True if the name behind `${` is one that placeholders have.
fn is_placeholder(rest: &str) -> bool {
    ["packages.", "environment."]
        .iter()
        .any(|start| rest.starts_with(start))
}

/// True if the line ends here, or the quoted text that it is in.
fn ends_line(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(['\n', '\r', '"', '\''])
}
