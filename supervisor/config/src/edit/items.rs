//! Edits that put an item at the end of a list, and that take an item or an entry out.

use super::change::{Edit, altered, exact_path, extent, finish, is_flow, line_break, line_end, line_start, slot_end};
use super::find::{Reached, Slot, reach};
use super::path::{Segment, ValuePath};
use super::write::{Quotes, ValueContext};
use super::{EditableFile, Impossible, NewValue, NodeValue, TextChange, TreeNode, write};

/// Puts an item behind the last one of the list at `path`.
pub(super) fn append(document: &EditableFile, path: &ValuePath, new: &NewValue) -> Result<TextChange, Impossible> {
    let text = document.text();
    let reached = reach(&document.root, path)?;
    if !reached.rest.is_empty() {
        return Err(document.missing(path, &reached));
    }
    let Reached { node, slots, .. } = reached;
    let NodeValue::List(items) = &node.value else {
        let place = document.source.place(node.span);
        return Err(Impossible::new(format!("`{path}` is no list ({place})")));
    };
    let context = ValueContext {
        format: document.format,
        flow: is_flow(text, node) || slots.iter().any(|slot| is_flow(text, slot.parent)),
        quotes: Quotes::Plain,
    };
    let spelled = write::value(&new.value, new.typed.as_deref(), context);
    let last = items.len().checked_sub(1).map(|index| Slot { parent: node, index });
    let edits = match (is_flow(text, node), last) {
        (true, None) => vec![Edit::insert(node.span.start as usize + 1, spelled)],
        (true, Some(last)) => vec![Edit::insert(slot_end(text, &last), format!(", {spelled}"))],
        (false, Some(last)) => {
            let begin = dash(text, &last).ok_or_else(|| unable(document, path, node))?;
            let lead = &text[line_start(text, begin)..begin];
            // An item may begin beside the dash of a list around it.
            let indent = " ".repeat(lead.chars().count());
            let at = line_end(text, slot_end(text, &last));
            vec![Edit::insert(at, format!("{}{indent}- {spelled}", line_break(text)))]
        }
        (false, None) => return Err(unable(document, path, node)),
    };
    let steps: Vec<usize> = slots.iter().map(|slot| slot.index).collect();
    let wanted = altered(&document.root, &steps, |node| {
        if let NodeValue::List(items) = &mut node.value {
            items.push(TreeNode {
                value: new.value.clone(),
                span: mainstay_model::Span::default(),
            });
        }
    });
    let exact = exact_path(&slots, &[Segment::Index(items.len())]);
    finish(document, path, &exact, edits, &wanted, None)
}

/// Takes the entry or item at `path` out.
pub(super) fn remove(document: &EditableFile, path: &ValuePath) -> Result<TextChange, Impossible> {
    let text = document.text();
    let reached = reach(&document.root, path)?;
    if !reached.rest.is_empty() {
        return Err(document.missing(path, &reached));
    }
    let Reached { node, slots, .. } = reached;
    let Some((slot, above)) = slots.split_last() else {
        return Err(Impossible::new("the config as a whole is no single value"));
    };
    let edit = if is_flow(text, slot.parent) {
        from_flow(text, slot)
    } else {
        from_block(text, slot)
    };
    let edit = edit.ok_or_else(|| unable(document, path, node))?;
    let steps: Vec<usize> = above.iter().map(|slot| slot.index).collect();
    let wanted = altered(&document.root, &steps, |parent| match &mut parent.value {
        NodeValue::List(items) => drop(items.remove(slot.index)),
        NodeValue::Map(entries) => drop(entries.remove(slot.index)),
        _ => {}
    });
    finish(document, path, &exact_path(above, &[]), vec![edit], &wanted, Some(node))
}

fn unable(document: &EditableFile, path: &ValuePath, node: &TreeNode) -> Impossible {
    let place = document.source.place(node.span);
    Impossible::new(format!(
        "`{path}` cannot be changed alone ({place}), because of the way it is written; edit the file by hand"
    ))
}

/// Where a slot begins: its key, or the item itself.
fn start(slot: &Slot<'_>) -> Option<usize> {
    match (&slot.parent.value, slot.entry()) {
        (_, Some(entry)) => Some(entry.key_span.start as usize),
        (NodeValue::List(items), None) => Some(items[slot.index].span.start as usize),
        _ => None,
    }
}

/// The dash of an item of a list without brackets.
fn dash(text: &str, slot: &Slot<'_>) -> Option<usize> {
    let begin = start(slot)?;
    let line = line_start(text, begin);
    let before = text[line..begin].trim_end();
    before.ends_with('-').then(|| line + before.len() - 1)
}

/// Takes a slot out from between brackets, with the comma behind it, or else the one in front.
fn from_flow(text: &str, slot: &Slot<'_>) -> Option<Edit> {
    let (begin, end) = (start(slot)?, slot_end(text, slot));
    let behind = &text[end..];
    let range = if behind.trim_start().starts_with(',') {
        let comma = end + behind.find(',')? + 1;
        let blanks = text[comma..].len() - text[comma..].trim_start_matches(' ').len();
        let rest = comma + blanks;
        // What stands on lines of its own goes with its line.
        let line = line_start(text, begin);
        let alone = text[line..begin].trim().is_empty() && matches!(text.as_bytes().get(rest), Some(b'\n' | b'\r'));
        match alone {
            true => line..next_line(text, rest),
            false => begin..rest,
        }
    } else {
        let before = text[..begin].trim_end();
        match before.strip_suffix(',') {
            Some(before) => before.len()..end,
            None => begin..end,
        }
    };
    Some(Edit {
        range,
        with: String::new(),
    })
}

/// Takes a slot out with its lines. `None` unless it has its lines to itself.
fn from_block(text: &str, slot: &Slot<'_>) -> Option<Edit> {
    let begin = match slot.entry() {
        Some(entry) if entry.merged => return None,
        Some(_) => start(slot)?,
        None => dash(text, slot)?,
    };
    let line = line_start(text, begin);
    if !text[line..begin].trim().is_empty() {
        return None;
    }
    let end = slot_end(text, slot).max(extent(text, slot_value(slot)?));
    Some(Edit {
        range: line..next_line(text, line_end(text, end)),
        with: String::new(),
    })
}

fn slot_value<'n>(slot: &Slot<'n>) -> Option<&'n TreeNode> {
    match &slot.parent.value {
        NodeValue::List(items) => items.get(slot.index),
        NodeValue::Map(entries) => entries.get(slot.index).map(|entry| &entry.value),
        _ => None,
    }
}

/// Begin of the line behind the line break at `at`.
fn next_line(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |end| at + end + 1)
}
