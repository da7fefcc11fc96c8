//! YAML into a tree with places: core schema of YAML 1.2, anchors and merges (`<<`), one document.
//!
//! Aliases are copied in, so their total is bounded: a few lines must not become gigabytes.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Tag};
use mainstay_model::Span;

use crate::node::{MAX_DEPTH, MapEntry, NodeValue, Note, SyntaxError, SyntaxTree, TreeNode};

/// Nodes that all aliases together may add.
const MAX_COPIED: usize = 200_000;

/// Reads the first document in `text`.
pub(super) fn read(text: &str) -> Result<SyntaxTree, Box<SyntaxError>> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder {
        text,
        ..Builder::default()
    };
    loop {
        let result = match parser.next_event() {
            None => break,
            Some(Ok((Event::StreamEnd, _))) => break,
            Some(Ok((Event::DocumentStart(..), span))) if builder.root.is_some() => {
                builder.note(
                    span_of(&span, text),
                    "a second YAML document begins here and counts for nothing",
                    Some("remove the `---`"),
                );
                break;
            }
            Some(Ok((event, span))) => builder.take(event, span_of(&span, text)),
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
                Err(syntax(text, at, &error.info()))
            }
        };
        if let Err(note) = result {
            let from = builder.seen.min(note.span.start);
            let unread = text.get(from as usize..note.span.start as usize).unwrap_or_default();
            let clear = !builder.swallowed && !unread.contains(['"', '\'']);
            return Err(Box::new(SyntaxError {
                from,
                clear,
                note,
                partial: builder.fold(),
            }));
        }
    }
    let root = builder.root.unwrap_or(TreeNode {
        value: NodeValue::Null,
        span: Span::default(),
    });
    Ok(SyntaxTree {
        root,
        notes: builder.notes,
    })
}

fn span_of(span: &granit_parser::Span, text: &str) -> Span {
    let range = span.byte_range().unwrap_or(0..0);
    // Block values reach over the line breaks behind them; a person would not mark those.
    let end = text
        .get(range.clone())
        .map_or(range.end, |part| range.start + part.trim_end().len());
    Span::new(range.start, end)
}

/// The words of the parser, with a cure where the cause is a usual one.
fn syntax(text: &str, at: usize, info: &str) -> Note {
    let at = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let line = &text[text[..at].rfind('\n').map_or(0, |end| end + 1)..];
    let line = line.split('\n').next().unwrap_or_default();
    let blanks = &line[..line.len() - line.trim_start().len()];
    let help = if let Some(rest) = info.strip_prefix("unclosed bracket ") {
        Some(if rest.contains('[') {
            "close it with `]`"
        } else {
            "close it with `}`"
        })
    } else if (info.contains("':'") || info.contains("flow")) && open_brackets(&text[..at]) {
        Some("is a bracket before it not closed?")
    } else if blanks.contains('\t') {
        Some("YAML indents with blanks, not with tabs")
    } else if line.trim_start().starts_with(['@', '`', '%']) || line.contains(": @") || line.contains(": `") {
        Some("put texts that begin with a special character in quotes")
    } else if line.matches(": ").count() > 1 {
        Some("put texts that contain `: ` in quotes")
    } else {
        None
    };
    Note::new(Span::new(at, at), format!("this is no YAML: {info}"), help)
}

/// True if more brackets are opened than closed in a text, those of quoted texts and comments counted along.
fn open_brackets(text: &str) -> bool {
    let count = |brackets: [char; 2]| text.matches(brackets).count();
    count(['[', '{']) > count([']', '}'])
}

#[derive(Default)]
struct Builder<'t> {
    text: &'t str,
    open: Vec<OpenNode>,
    root: Option<TreeNode>,
    /// Finished nodes by the number of their anchor.
    anchors: HashMap<usize, TreeNode>,
    copied: usize,
    notes: Vec<Note>,
    /// End of the last event.
    seen: u32,
    /// A text in quotes went over a line break: on purpose, or because a quote is missing.
    swallowed: bool,
}

/// A list or map that is not finished.
struct OpenNode {
    start: u32,
    anchor: usize,
    items: Items,
}

enum Items {
    List(Vec<TreeNode>),
    Map {
        entries: Vec<MapEntry>,
        merged: Vec<MapEntry>,
        key: Option<(String, Span)>,
    },
}

impl Builder<'_> {
    fn note(&mut self, span: Span, message: impl Into<String>, help: Option<&str>) {
        self.notes.push(Note::new(span, message, help));
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Note> {
        self.seen = self.seen.max(span.end);
        if matches!(
            event,
            Event::Scalar(_, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted, ..)
        ) {
            let written = self.text.get(span.start as usize..span.end as usize);
            self.swallowed |= written.is_some_and(|written| written.contains('\n'));
        }
        match event {
            Event::Scalar(raw, style, anchor, tag) => self.scalar(&raw, style, anchor, tag.as_deref(), span),
            Event::SequenceStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "seq", span)?;
                self.begin(Items::List(Vec::new()), anchor, span)
            }
            Event::MappingStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "map", span)?;
                let items = Items::Map {
                    entries: Vec::new(),
                    merged: Vec::new(),
                    key: None,
                };
                self.begin(items, anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let anchor = open.anchor;
                let node = close(open, span.end);
                self.add(node, anchor)
            }
            Event::Alias(anchor) => self.alias(anchor, span),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, items: Items, anchor: usize, span: Span) -> Result<(), Note> {
        if let Some(OpenNode {
            items: Items::Map { key: None, .. },
            ..
        }) = self.open.last()
        {
            return Err(Note::new(span, "a key must be a text, not a list or map", None));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Note::new(
                span,
                format!("more than {MAX_DEPTH} lists and maps inside each other"),
                None,
            ));
        }
        self.open.push(OpenNode {
            start: span.start,
            anchor,
            items,
        });
        Ok(())
    }

    fn scalar(
        &mut self,
        raw: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(), Note> {
        if let Some(OpenNode {
            items: Items::Map { key: key @ None, .. },
            ..
        }) = self.open.last_mut()
        {
            *key = Some((raw.to_owned(), span));
            if anchor != 0 {
                self.anchors.insert(
                    anchor,
                    TreeNode {
                        value: NodeValue::Text(raw.to_owned()),
                        span,
                    },
                );
            }
            return Ok(());
        }
        let plain = style == ScalarStyle::Plain;
        let value = match tag {
            None if plain => self.plain(raw, span),
            None => NodeValue::Text(raw.to_owned()),
            Some(tag) => tagged(raw, tag, span)?,
        };
        self.add(TreeNode { value, span }, anchor)
    }

    /// A text without quotes: the core schema decides what it is.
    fn plain(&mut self, raw: &str, span: Span) -> NodeValue {
        let digits = raw.trim_start_matches(['+', '-']);
        if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let help = "put texts in quotes, and write octal numbers like 0o755";
            self.note(
                span,
                "a number with leading zeros is ambiguous, so this counts as a text",
                Some(help),
            );
            return NodeValue::Text(raw.to_owned());
        }
        core(raw)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Note> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(Note::new(span, "this alias lies inside what it stands for", None));
        };
        let (count, depth) = node.measure();
        self.copied += count;
        if self.copied > MAX_COPIED {
            let message = format!("the aliases of this file stand for more than {MAX_COPIED} values");
            return Err(Note::new(span, message, None));
        }
        if self.open.len() + depth > MAX_DEPTH {
            return Err(Note::new(
                span,
                format!("more than {MAX_DEPTH} lists and maps inside each other"),
                None,
            ));
        }
        let node = node.clone();
        if let Some(OpenNode {
            items: Items::Map { key: key @ None, .. },
            ..
        }) = self.open.last_mut()
        {
            let NodeValue::Text(text) = node.value else {
                return Err(Note::new(span, "a key must be a text", None));
            };
            *key = Some((text, span));
            return Ok(());
        }
        self.add(node, 0)
    }

    /// Puts a finished node where it belongs.
    fn add(&mut self, node: TreeNode, anchor: usize) -> Result<(), Note> {
        if anchor != 0 {
            self.copied += node.measure().0;
            if self.copied > MAX_COPIED {
                let message = format!("the anchors of this file hold more than {MAX_COPIED} values");
                return Err(Note::new(node.span, message, None));
            }
            self.anchors.insert(anchor, node.clone());
        }
        let text = self.text;
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(OpenNode {
                items: Items::List(items),
                ..
            }) => items.push(node),
            Some(OpenNode {
                items: Items::Map { entries, merged, key },
                ..
            }) => {
                let (key, key_span) = key.take().unwrap_or_default();
                let quoted = text
                    .as_bytes()
                    .get(key_span.start as usize)
                    .is_some_and(|byte| matches!(byte, b'"' | b'\''));
                if key == "<<" && !quoted {
                    merge(node, merged)?;
                } else {
                    entries.push(MapEntry {
                        key,
                        key_span,
                        value: node,
                        merged: false,
                    });
                }
            }
        }
        Ok(())
    }

    /// Tree so far, unfinished parts reaching to the end of the text.
    fn fold(mut self) -> TreeNode {
        let end = self.text.len() as u32;
        let mut inner: Option<TreeNode> = None;
        while let Some(mut open) = self.open.pop() {
            match &mut open.items {
                Items::List(items) => items.extend(inner.take()),
                Items::Map { entries, key, .. } => {
                    if let Some((key, key_span)) = key.take() {
                        let rest = Span {
                            start: key_span.end,
                            end,
                        };
                        let value = inner.take().unwrap_or(TreeNode {
                            value: NodeValue::Null,
                            span: rest,
                        });
                        entries.push(MapEntry {
                            key,
                            key_span,
                            value,
                            merged: false,
                        });
                    }
                }
            }
            inner = Some(close(open, end));
        }
        inner.or(self.root).unwrap_or(TreeNode {
            value: NodeValue::Null,
            span: Span::default(),
        })
    }
}

fn close(open: OpenNode, end: u32) -> TreeNode {
    let value = match open.items {
        Items::List(items) => NodeValue::List(items),
        Items::Map {
            entries, mut merged, ..
        } => {
            // The last of a key counts, so what is merged stands before what is written.
            merged.extend(entries);
            NodeValue::Map(merged)
        }
    };
    TreeNode {
        value,
        span: Span {
            start: open.start,
            end: end.max(open.start),
        },
    }
}

/// Takes the entries of a map, or of each map of a list of which the earlier ones win.
fn merge(node: TreeNode, into: &mut Vec<MapEntry>) -> Result<(), Note> {
    match node.value {
        NodeValue::Map(entries) => into.extend(entries.into_iter().map(|entry| MapEntry { merged: true, ..entry })),
        NodeValue::List(maps) if maps.iter().all(|map| matches!(map.value, NodeValue::Map(_))) => {
            for map in maps.into_iter().rev() {
                merge(map, into)?;
            }
        }
        _ => {
            return Err(Note::new(
                node.span,
                "`<<` takes a map or a list of maps",
                Some("for example `<<: *defaults`"),
            ));
        }
    }
    Ok(())
}

fn collection_tag(tag: Option<&Tag>, wanted: &str, span: Span) -> Result<(), Note> {
    match tag {
        Some(tag) if tag.core_suffix() != Some(wanted) && tag.original() != "!" => Err(unknown_tag(tag, span)),
        _ => Ok(()),
    }
}

fn unknown_tag(tag: &Tag, span: Span) -> Note {
    Note::new(
        span,
        format!("the tag `{}` does not fit here", tag.original()),
        Some("remove it"),
    )
}

fn tagged(raw: &str, tag: &Tag, span: Span) -> Result<NodeValue, Note> {
    let value = match tag.core_suffix() {
        Some("str") => NodeValue::Text(raw.to_owned()),
        None if tag.original() == "!" => NodeValue::Text(raw.to_owned()),
        Some(kind) => match (kind, core(raw)) {
            ("null", value @ NodeValue::Null) | ("bool", value @ NodeValue::Bool(_)) => value,
            ("int" | "float", value @ NodeValue::Number(_)) => value,
            _ => return Err(unknown_tag(tag, span)),
        },
        None => return Err(unknown_tag(tag, span)),
    };
    Ok(value)
}

/// The core schema of YAML 1.2: `yes`, `on` and the like are texts.
fn core(raw: &str) -> NodeValue {
    match raw {
        "" | "~" | "null" | "Null" | "NULL" => return NodeValue::Null,
        "true" | "True" | "TRUE" => return NodeValue::Bool(true),
        "false" | "False" | "FALSE" => return NodeValue::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return NodeValue::Number(f64::NAN),
        _ => {}
    }
    let (sign, digits) = match raw.as_bytes() {
        [b'-', ..] => (-1.0, &raw[1..]),
        [b'+', ..] => (1.0, &raw[1..]),
        _ => (1.0, raw),
    };
    if matches!(digits, ".inf" | ".Inf" | ".INF") {
        return NodeValue::Number(sign * f64::INFINITY);
    }
    let based = |prefix: &str, radix| {
        let digits = raw.strip_prefix(prefix)?;
        let good = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
        u64::from_str_radix(digits, radix).ok().filter(|_| good)
    };
    if let Some(number) = based("0x", 16).or_else(|| based("0o", 8)) {
        return NodeValue::Number(number as f64);
    }
    let numeric = digits
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
        && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    match digits.parse::<f64>() {
        Ok(number) if numeric => NodeValue::Number(sign * number),
        _ => NodeValue::Text(raw.to_owned()),
    }
}
