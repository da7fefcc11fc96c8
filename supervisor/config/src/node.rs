//! The tree that both formats are read into: plain values, each with its place in the text.

use mainstay_model::Span;

/// A value and where it is written.
#[derive(Clone, Debug)]
pub(super) struct TreeNode {
    pub(super) value: NodeValue,
    pub(super) span: Span,
}

/// The types that JSON has; YAML adds no others.
#[derive(Clone, Debug)]
pub(super) enum NodeValue {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<TreeNode>),
    Map(Vec<MapEntry>),
}

/// Key of a map and its value. Keys may repeat; the last counts.
#[derive(Clone, Debug)]
pub(super) struct MapEntry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: TreeNode,
    /// Comes from a YAML merge (`<<`), so any other entry of this key wins without a word.
    pub(super) merged: bool,
}

impl TreeNode {
    /// The type, in the words of messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            NodeValue::Null => "null",
            NodeValue::Bool(_) => "true or false",
            NodeValue::Number(_) => "a number",
            NodeValue::Text(_) => "a text",
            NodeValue::List(_) => "a list",
            NodeValue::Map(_) => "a map of keys and values",
        }
    }

    /// Name of the variable of a fragment that stands here: `{"$variable": {"name": "x"}}`.
    pub(super) fn fragment_variable(&self) -> Option<&str> {
        let NodeValue::Map(entries) = &self.value else {
            return None;
        };
        let [only] = entries.as_slice() else { return None };
        if only.key != "$variable" {
            return None;
        }
        let inner = match &only.value.value {
            NodeValue::Map(inner) => inner.as_slice(),
            _ => &[],
        };
        let name = inner.iter().find(|entry| entry.key == "name");
        Some(match name.map(|entry| &entry.value.value) {
            Some(NodeValue::Text(name)) => name,
            _ => "",
        })
    }

    /// True for what says nothing: an empty text, list or map, or `false`.
    pub(super) fn is_empty(&self) -> bool {
        match &self.value {
            NodeValue::Null | NodeValue::Bool(false) => true,
            NodeValue::Text(text) => text.is_empty(),
            NodeValue::List(items) => items.is_empty(),
            NodeValue::Map(entries) => entries.is_empty(),
            NodeValue::Bool(true) | NodeValue::Number(_) => false,
        }
    }

    /// Changes every span in this tree.
    pub(super) fn respan(&mut self, change: &dyn Fn(Span) -> Span) {
        self.span = change(self.span);
        match &mut self.value {
            NodeValue::List(items) => items.iter_mut().for_each(|item| item.respan(change)),
            NodeValue::Map(entries) => {
                for entry in entries {
                    entry.key_span = change(entry.key_span);
                    entry.value.respan(change);
                }
            }
            _ => {}
        }
    }

    /// Number of nodes in this tree and how deep they lie.
    pub(super) fn measure(&self) -> (usize, usize) {
        let of = |children: &mut dyn Iterator<Item = &Self>| {
            children.fold((1, 1), |(count, depth), child| {
                let (more, deep) = child.measure();
                (count + more, depth.max(deep + 1))
            })
        };
        match &self.value {
            NodeValue::List(items) => of(&mut items.iter()),
            NodeValue::Map(entries) => of(&mut entries.iter().map(|entry| &entry.value)),
            _ => (1, 1),
        }
    }
}

/// A text read as a tree.
#[derive(Debug)]
pub(super) struct SyntaxTree {
    pub(super) root: TreeNode,
    /// Notes of the reader.
    pub(super) notes: Vec<Note>,
}

/// Warning of the reader, or the error that ended the reading.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Note {
    pub(super) span: Span,
    /// Never with text of the file in it: nobody knows yet which of it is secret.
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// True if the text at `span` is to be quoted behind the message.
    pub(super) quoted: bool,
}

impl Note {
    pub(super) fn new(span: Span, message: impl Into<String>, help: Option<&str>) -> Self {
        Self {
            span,
            message: message.into(),
            help: help.map(str::to_owned),
            quoted: false,
        }
    }

    /// The same words about another place.
    pub(super) fn at(self, change: impl Fn(Span) -> Span) -> Self {
        Self {
            span: change(self.span),
            ..self
        }
    }
}

/// A text that is no tree.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) note: Note,
    /// Tree read until then, unfinished parts reaching to the end of the text: it shows where secrets are.
    pub(super) partial: TreeNode,
    /// First byte after which the tree says nothing.
    pub(super) from: u32,
    /// True if everything before is surely in its place: a quote that is never closed can swallow lines.
    pub(super) clear: bool,
}

/// Levels of lists and maps inside each other. Far more than a config needs, far less than a stack holds.
pub(super) const MAX_DEPTH: usize = 100;
