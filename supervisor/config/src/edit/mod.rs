//! Editing one value of a config file in place: everything around it, comments and layout, stays as it is.
//!
//! `path` says which value is meant, `find` walks the tree to it, `change` makes the few edits of the text, `write` spells
//! a value in the style of its surroundings, `items` adds to lists and takes out. No edit is trusted: the new text is read again, and unless its tree is
//! the old one with that single value replaced, there is no change at all.

mod change;
mod find;
mod items;
mod path;
mod write;

use std::path::Path;
use std::sync::Arc;

use mainstay_model::{Source, SourceSpan, Span};

use crate::diagnostic::{Diagnostic, Refused, Severity};
pub use crate::edit::change::{DiffLine, TextChange};
pub use crate::edit::path::{BadPath, ValuePath};
use crate::node::{NodeValue, SyntaxError, TreeNode};
use crate::{document, json, load_context, secrets, yaml};

/// Syntax of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// JSON: no comments, and every text in quotes.
    Json,
    /// YAML.
    Yaml,
}

impl Format {
    /// Syntax by the ending of the name, else by the first character.
    fn of(path: &Path, text: &str) -> Self {
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        match ending.as_deref().and_then(|ending| ending.to_str()) {
            Some("json") => Self::Json,
            Some("yaml" | "yml") => Self::Yaml,
            _ if text.trim_start().starts_with('{') => Self::Json,
            _ => Self::Yaml,
        }
    }

    fn read(self, text: &str) -> Result<TreeNode, Box<SyntaxError>> {
        let document = match self {
            Self::Json => json::read(text)?,
            Self::Yaml => yaml::read(text)?,
        };
        Ok(document.root)
    }
}

/// Failure to read or replace a value. For people: names the value, its place and the cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Impossible(String);

impl Impossible {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Config file as a tree with places.
#[derive(Debug)]
pub struct EditableFile {
    source: Arc<Source>,
    root: TreeNode,
    format: Format,
    /// Variables have been replaced in `root`, because the text is no tree without their values.
    replaced: bool,
}

/// A value in a file.
#[derive(Clone, Debug)]
pub struct FoundValue {
    /// Place of the value.
    pub place: SourceSpan,
    /// The value; texts that are secret are `***` unless they were asked for.
    pub value: serde_json::Value,
    /// Text for people: a single value as such, a list or map as it is written in the file.
    pub shown: String,
}

/// A value to put into a file.
#[derive(Clone, Debug)]
pub struct NewValue {
    value: NodeValue,
    /// Spelling as typed, where the value is a number or the like: `2.50` stays `2.50`.
    typed: Option<String>,
}

impl NewValue {
    /// A text, whatever it looks like.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self {
            value: NodeValue::Text(text.to_owned()),
            typed: None,
        }
    }

    /// Reads a value as YAML does (which includes JSON): `20`, `true`, `left`, `"20"`, `[1, 2]`, `{x: 1}`. What is no YAML
    /// is a text.
    ///
    /// # Errors
    /// Something in brackets or quotes that is not whole.
    pub fn read(typed: &str) -> Result<Self, Impossible> {
        let trimmed = typed.trim();
        if trimmed.is_empty() {
            return Ok(Self::text(typed));
        }
        let structured = trimmed.starts_with(['{', '[', '"', '\'']);
        // In brackets, so that `a: b` and `- a` are not read as maps and lists by accident.
        let read = if structured {
            yaml::read(trimmed).map(|document| document.root)
        } else {
            yaml::read(&format!("[{trimmed}]")).map(|document| match document.root.value {
                NodeValue::List(mut items) if items.len() == 1 => items.remove(0),
                _ => document.root,
            })
        };
        match read.map(|node| node.value) {
            Ok(value @ (NodeValue::List(_) | NodeValue::Map(_))) if structured => Ok(Self { value, typed: None }),
            Ok(value @ NodeValue::Text(_)) if structured => Ok(Self { value, typed: None }),
            Ok(value @ (NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_))) => Ok(Self {
                value,
                typed: Some(trimmed.to_owned()),
            }),
            Err(error) if structured => Err(Impossible::new(format!(
                "the new value is not whole: {}; give `--text` if it is meant as a text",
                error.note.message
            ))),
            _ => Ok(Self::text(typed)),
        }
    }
}

impl EditableFile {
    /// Reads the text of the file at `path`. Variables stay as they are written, unless only their values make it YAML or
    /// JSON; what the file includes is not looked at.
    ///
    /// # Errors
    /// It is no YAML or JSON; says where.
    pub fn read(path: &Path, text: String) -> Result<Self, Refused> {
        let format = Format::of(path, &text);
        let source = Arc::new(Source::new([(path, text)], secrets::in_unread_text));
        let text = text_of(&source);
        let error = match format.read(text) {
            Ok(root) => {
                source.hide(secrets::in_tree(&root, text));
                return Ok(Self {
                    source,
                    root,
                    format,
                    replaced: false,
                });
            }
            Err(error) => error,
        };
        if text.contains('$') {
            let parsed = document::read(&source, 0, &load_context::environment());
            if !parsed.broken {
                source.hide(parsed.hidden);
                return Ok(Self {
                    source,
                    root: parsed.root,
                    format,
                    replaced: true,
                });
            }
        }
        // What is no tree hides all that is not known to be harmless.
        let place = source.place(error.note.span);
        let mut diagnostic = Diagnostic::new(Severity::Refused, error.note.message, place).with_source(source);
        diagnostic.help = error.note.help;
        Err(diagnostic.into())
    }

    fn text(&self) -> &str {
        text_of(&self.source)
    }

    /// Number of parts of `path` that lead somewhere. Where a name means several entries, all count: the ambiguity is for
    /// the reader of the value to report.
    #[must_use]
    pub fn depth(&self, path: &ValuePath) -> usize {
        let reached = find::reach(&self.root, path).map(|reached| reached.slots.len());
        reached.unwrap_or(path.0.len())
    }

    /// The value at `path`.
    ///
    /// # Errors
    /// There is none; says how far the path leads and what there is instead.
    pub fn get(&self, path: &ValuePath, reveal: bool) -> Result<FoundValue, Impossible> {
        let reached = find::reach(&self.root, path)?;
        if !reached.rest.is_empty() {
            return Err(self.missing(path, &reached));
        }
        let node = reached.node;
        let shown = match &node.value {
            NodeValue::List(_) | NodeValue::Map(_) => self.excerpt(node, reveal),
            NodeValue::Text(_) if self.source.is_hidden_at(node.span) && !reveal => "***".to_owned(),
            NodeValue::Text(text) if !self.is_variable(node) => text.clone(),
            NodeValue::Text(_) => self.source.slice(node.span).trim_matches(['"', '\'']).to_owned(),
            NodeValue::Null => "null".to_owned(),
            NodeValue::Bool(_) | NodeValue::Number(_) => self.written(node, reveal),
        };
        Ok(FoundValue {
            place: self.source.place(node.span),
            value: self.as_json(node, reveal),
            shown,
        })
    }

    /// Replaces the value at `path`, or adds it where its map has no such key yet.
    ///
    /// # Errors
    /// The path leads nowhere, or the file is written in a way in which this value alone cannot be changed.
    pub fn set(&self, path: &ValuePath, value: &NewValue) -> Result<TextChange, Impossible> {
        change::set(self, path, value)
    }

    /// Puts an item at the end of the list at `path`.
    ///
    /// # Errors
    /// There is no list, or it is written in a way in which nothing can be added to it alone.
    pub fn append(&self, path: &ValuePath, value: &NewValue) -> Result<TextChange, Impossible> {
        items::append(self, path, value)
    }

    /// Takes the entry of a map or the item of a list at `path` out.
    ///
    /// # Errors
    /// There is none, or it is written in a way in which it alone cannot be taken out: the only one of several lines, for
    /// example.
    pub fn remove(&self, path: &ValuePath) -> Result<TextChange, Impossible> {
        items::remove(self, path)
    }

    fn missing(&self, path: &ValuePath, reached: &find::Reached<'_, '_>) -> Impossible {
        let here = path.first(reached.slots.len());
        let wanted = &reached.rest[0];
        let place = self.source.place(reached.node.span);
        let known = find::names(reached.node);
        let hint = match (
            &reached.node.value,
            mainstay_model::suggest::nearest(&wanted.to_string(), known.iter().map(String::as_str)),
        ) {
            (NodeValue::List(_) | NodeValue::Map(_), Some(near)) => format!("; did you mean `{near}`?"),
            (NodeValue::List(items), None) if known.is_empty() => {
                format!(
                    "; it has {} without a name: give the number of one, from [0]",
                    items.len()
                )
            }
            (NodeValue::List(_) | NodeValue::Map(_), None) if !known.is_empty() => {
                let shown: Vec<_> = known.iter().take(12).map(String::as_str).collect();
                let more = if known.len() > shown.len() { " …" } else { "" };
                format!("; there is {}{more}", shown.join(", "))
            }
            _ => String::new(),
        };
        let whole = if here.is_empty() {
            "the config".to_owned()
        } else {
            format!("`{here}`")
        };
        let kind = reached.node.kind();
        Impossible::new(format!("no `{wanted}` in {whole}, which is {kind} ({place}){hint}"))
    }

    /// The text of one value on one line, without secrets.
    fn written(&self, node: &TreeNode, reveal: bool) -> String {
        if reveal {
            return self.source.slice(node.span).to_owned();
        }
        self.source.quote(node.span)
    }

    /// True for a value that was put in for a variable: it is shown as it is written.
    fn is_variable(&self, node: &TreeNode) -> bool {
        self.replaced && !is_collection(node) && self.source.slice(node.span).contains('$')
    }

    /// A list or map as it is written, moved to the left edge.
    fn excerpt(&self, node: &TreeNode, reveal: bool) -> String {
        let text = self.text();
        let start = node.span.start as usize;
        let span = Span::new(start, change::extent(text, node));
        let shown = if reveal {
            self.source.slice(span).to_owned()
        } else {
            self.source.masked(span)
        };
        let line = text[..start].rfind('\n').map_or(0, |end| end + 1);
        let indent = text[line..start].chars().count();
        let mut lines = shown.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        let rest = lines.map(|line| {
            let blanks = line.chars().take_while(|c| *c == ' ').count().min(indent);
            format!("\n{}", &line[blanks..])
        });
        first + &rest.collect::<String>()
    }

    fn as_json(&self, node: &TreeNode, reveal: bool) -> serde_json::Value {
        use serde_json::Value as Json;
        match &node.value {
            _ if !reveal && !is_collection(node) && self.source.is_hidden_at(node.span) => Json::from("***"),
            _ if self.is_variable(node) => {
                let written = self.source.slice(node.span);
                Json::from(written.trim_matches(['"', '\'']))
            }
            NodeValue::Null => Json::Null,
            NodeValue::Bool(flag) => Json::Bool(*flag),
            NodeValue::Number(number) => write::json_number(*number),
            NodeValue::Text(text) => Json::from(text.as_str()),
            NodeValue::List(items) => items.iter().map(|item| self.as_json(item, reveal)).collect(),
            // The last of several equal keys counts.
            NodeValue::Map(entries) => {
                let pairs = entries
                    .iter()
                    .map(|entry| (entry.key.clone(), self.as_json(&entry.value, reveal)));
                Json::Object(pairs.collect())
            }
        }
    }
}

/// The text of the only file.
fn text_of(source: &Source) -> &str {
    source.file(0).map_or("", |(_, text, _)| text)
}

fn is_collection(node: &TreeNode) -> bool {
    matches!(node.value, NodeValue::List(_) | NodeValue::Map(_))
}

#[cfg(test)]
mod tests;
