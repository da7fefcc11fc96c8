//! JSON into a tree with places.
//!
//! As peers read it: strict JSON, no comments, the text after the first value counts for nothing, a lone half of a
//! surrogate pair becomes U+FFFD.

use mainstay_model::Span;

use crate::node::{MAX_DEPTH, MapEntry, NodeValue, Note, SyntaxError, SyntaxTree, TreeNode};

/// Reads the first value in `text`.
pub(super) fn read(text: &str) -> Result<SyntaxTree, Box<SyntaxError>> {
    let mut reader = JsonReader {
        text,
        at: 0,
        depth: 0,
        error: None,
    };
    reader.skip_blanks();
    let root = reader.value();
    if let Some(note) = reader.error {
        // Texts end on their line, so none can have swallowed another.
        return Err(Box::new(SyntaxError {
            from: note.span.start,
            clear: true,
            note,
            partial: root,
        }));
    }
    reader.skip_blanks();
    let mut notes = Vec::new();
    if reader.at < text.len() {
        notes.push(Note::new(
            Span::new(reader.at, text.len()),
            "the text after the end of the config counts for nothing",
            Some("remove it, or close the braces later"),
        ));
    }
    Ok(SyntaxTree { root, notes })
}

struct JsonReader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    /// The first error. Everything returns as soon as it is set, with what it has.
    error: Option<Note>,
}

impl JsonReader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn fail(&mut self, span: Span, message: impl Into<String>, help: Option<&str>) {
        self.error.get_or_insert(Note::new(span, message, help));
    }

    /// Complains about what stands here instead of `wanted`.
    fn unexpected(&mut self, wanted: &str) {
        let (here, rest) = (self.at, &self.text[self.at..]);
        let Some(c) = rest.chars().next() else {
            return self.fail(
                Span::new(here, here),
                format!("the file ends where {wanted} is expected"),
                Some("is it complete?"),
            );
        };
        let help = match c {
            '/' | '#' => Some("JSON has no comments; remove it, or write the config in YAML"),
            '\'' => Some("JSON puts texts in double quotes"),
            '}' | ']' => Some("is there a comma too many before it?"),
            '"' => Some("is a comma missing before it?"),
            ':' if wanted.contains("`]`") => Some("is the list before it not closed with `]`?"),
            '{' | '[' | '-' | '0'..='9' if wanted.starts_with("`,`") => Some("is a comma missing before it?"),
            _ => None,
        };
        // A whole word reads better than its first letter.
        let word = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len())
            .max(c.len_utf8());
        let mut note = Note::new(Span::new(here, here + word), format!("expected {wanted}, found"), help);
        note.quoted = true;
        self.error.get_or_insert(note);
    }

    fn value(&mut self) -> TreeNode {
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.nested(Self::map),
            Some(b'[') => self.nested(Self::list),
            Some(b'"') => NodeValue::Text(self.string()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", NodeValue::Bool(true)),
            Some(b'f') => self.word("false", NodeValue::Bool(false)),
            Some(b'n') => self.word("null", NodeValue::Null),
            _ => {
                self.unexpected("a value");
                NodeValue::Null
            }
        };
        TreeNode {
            value,
            span: self.span_from(start),
        }
    }

    /// Span from `start` to here; after an error to the end of the text, because nobody knows where it should have ended.
    fn span_from(&self, start: usize) -> Span {
        Span::new(start, if self.error.is_some() { self.text.len() } else { self.at })
    }

    fn nested(&mut self, read: fn(&mut Self) -> NodeValue) -> NodeValue {
        if self.depth == MAX_DEPTH {
            let span = Span::new(self.at, self.at + 1);
            self.fail(
                span,
                format!("more than {MAX_DEPTH} lists and maps inside each other"),
                None,
            );
            return NodeValue::Null;
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn map(&mut self) -> NodeValue {
        let mut entries = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return NodeValue::Map(entries);
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                self.unexpected("a key in double quotes");
                break;
            }
            let start = self.at;
            let key = self.string();
            let key_span = Span::new(start, self.at);
            self.skip_blanks();
            if self.error.is_none() && self.peek() != Some(b':') {
                self.unexpected("`:` after the key");
            }
            let value = if self.error.is_none() {
                self.at += 1;
                self.skip_blanks();
                self.value()
            } else {
                TreeNode {
                    value: NodeValue::Null,
                    span: self.span_from(self.at),
                }
            };
            entries.push(MapEntry {
                key,
                key_span,
                value,
                merged: false,
            });
            if self.ends_after_item(b'}', "`,` or `}` after the value") {
                break;
            }
        }
        NodeValue::Map(entries)
    }

    fn list(&mut self) -> NodeValue {
        let mut items = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return NodeValue::List(items);
        }
        loop {
            self.skip_blanks();
            items.push(self.value());
            if self.ends_after_item(b']', "`,` or `]` after the item") {
                break;
            }
        }
        NodeValue::List(items)
    }

    /// Takes the comma or the closing sign after an item. True if there is no further item, or an error.
    fn ends_after_item(&mut self, close: u8, wanted: &str) -> bool {
        if self.error.is_some() {
            return true;
        }
        self.skip_blanks();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                false
            }
            Some(byte) if byte == close => {
                self.at += 1;
                true
            }
            _ => {
                self.unexpected(wanted);
                true
            }
        }
    }

    fn word(&mut self, word: &str, value: NodeValue) -> NodeValue {
        let rest = &self.text.as_bytes()[self.at..];
        let whole = rest.starts_with(word.as_bytes()) && !rest.get(word.len()).is_some_and(u8::is_ascii_alphanumeric);
        if !whole {
            self.unexpected("a value");
            return NodeValue::Null;
        }
        self.at += word.len();
        value
    }

    fn number(&mut self) -> NodeValue {
        let start = self.at;
        let digits = |reader: &mut Self| {
            let from = reader.at;
            while matches!(reader.peek(), Some(b'0'..=b'9')) {
                reader.at += 1;
            }
            reader.at - from
        };
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let zero = self.peek() == Some(b'0');
        let whole = digits(self);
        let mut good = whole > 0 && !(zero && whole > 1);
        if self.peek() == Some(b'.') {
            self.at += 1;
            good &= digits(self) > 0;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            good &= digits(self) > 0;
        }
        let text = &self.text[start..self.at];
        match text.parse::<f64>() {
            Ok(number) if good && number.is_finite() => NodeValue::Number(number),
            Ok(_) if good => {
                self.fail(Span::new(start, self.at), "this number is too large", None);
                NodeValue::Null
            }
            _ => {
                let help = "numbers look like 0, -1, 2.5 or 1e3, without leading zeros";
                self.fail(Span::new(start, self.at), "this is no JSON number", Some(help));
                NodeValue::Null
            }
        }
    }

    /// Reads a text from its opening quote to behind its closing one.
    fn string(&mut self) -> String {
        let opened = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let stop = rest
                .find(|c: char| c == '"' || c == '\\' || c < ' ')
                .unwrap_or(rest.len());
            out.push_str(&rest[..stop]);
            self.at += stop;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return out;
                }
                Some(b'\\') => match self.escape() {
                    Some(c) => out.push(c),
                    None => return out,
                },
                _ => {
                    // A line break or the end of the file: the quote is missing, and the text began here.
                    let help =
                        "texts end with a double quote on the same line; write \\n for a line break, \\t for a tab";
                    let (what, end) = match self.peek() {
                        Some(b'\n' | b'\r') | None => ("this text is never closed", self.at),
                        Some(_) => ("this text holds a control character", self.at + 1),
                    };
                    self.fail(Span::new(opened, end), what, Some(help));
                    return out;
                }
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let start = self.at;
        let sign = self.text[start + 1..].chars().next();
        self.at += 1 + sign.map_or(0, char::len_utf8);
        Some(match sign {
            Some('"') => '"',
            Some('\\') => '\\',
            Some('/') => '/',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => match self.hex4() {
                Some(first @ 0xD800..=0xDBFF) => self.second_half(first),
                Some(unit) => char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER),
                None => {
                    let span = Span::new(start, self.at);
                    self.fail(span, "`\\u` needs four hexadecimal digits", None);
                    return None;
                }
            },
            _ => {
                let help =
                    "JSON knows \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\u0000; a backslash itself is written \\\\";
                self.fail(Span::new(start, self.at), "this escape is unknown", Some(help));
                return None;
            }
        })
    }

    /// Completes a surrogate pair if its second half follows.
    fn second_half(&mut self, first: u32) -> char {
        let before = self.at;
        if self.text[self.at..].starts_with("\\u") {
            self.at += 2;
            if let Some(second @ 0xDC00..=0xDFFF) = self.hex4() {
                let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            }
        }
        self.at = before;
        char::REPLACEMENT_CHARACTER
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        // `from_str_radix` alone would take a sign.
        let unit = digits
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
            .then(|| u32::from_str_radix(digits, 16).ok())??;
        self.at += 4;
        Some(unit)
    }
}
