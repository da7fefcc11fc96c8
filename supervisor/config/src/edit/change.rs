//! The edits that put one value into a text, and what they come to.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use mainstay_model::{Source, SourceSpan, Span};

use super::find::{Reached, Slot, reach};
use super::path::{Segment, ValuePath};
use super::write::{Quotes, ValueContext};
use super::{EditableFile, Impossible, NewValue, NodeValue, TreeNode, text_of, write};
use crate::node::MapEntry;

/// Lines around a change that are shown with it.
const CONTEXT: usize = 3;

/// A text in which one value is another one.
#[derive(Debug)]
pub struct TextChange {
    /// The value that was changed, as the file has it: keys in their case, entries by name.
    pub path: String,
    /// Place of the value in the new text.
    pub place: SourceSpan,
    /// Value before, on one line and without secrets. `None`: there was none.
    pub before: Option<String>,
    /// Value after, likewise.
    pub after: String,
    old: Arc<Source>,
    new: Arc<Source>,
}

/// Line of a difference, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffLine {
    /// ` ` in both texts, `-` in the old one, `+` in the new one.
    pub sign: char,
    /// Number of the line in that text, from 1; in the new one if it is in both.
    pub number: usize,
    /// The line, without its end.
    pub text: String,
}

impl TextChange {
    /// True if the value was that already. The text is the same then.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        text_of(&self.old) == text_of(&self.new)
    }

    /// The whole new text, with all its secrets.
    #[must_use]
    pub fn text(&self) -> &str {
        text_of(&self.new)
    }

    /// The lines that differ, with a few around them.
    #[must_use]
    pub fn lines(&self) -> Vec<DiffLine> {
        let (old, new) = (line_ranges(text_of(&self.old)), line_ranges(text_of(&self.new)));
        let same = |(a, b): &(&Range<usize>, &Range<usize>)| {
            text_of(&self.old)[(*a).clone()] == text_of(&self.new)[(*b).clone()]
        };
        let head = old.iter().zip(&new).take_while(same).count();
        if head == old.len() && head == new.len() {
            return Vec::new();
        }
        let room = old.len().min(new.len()) - head;
        let tail = old
            .iter()
            .rev()
            .zip(new.iter().rev())
            .take(room)
            .take_while(same)
            .count();
        let line = |sign, source: &Source, ranges: &[Range<usize>], index: usize| DiffLine {
            sign,
            number: index + 1,
            text: source
                .masked(Span::new(ranges[index].start, ranges[index].end))
                .trim_end()
                .to_owned(),
        };
        let (old_end, new_end) = (old.len() - tail, new.len() - tail);
        let before = (head.saturating_sub(CONTEXT)..head).map(|index| line(' ', &self.new, &new, index));
        let gone = (head..old_end).map(|index| line('-', &self.old, &old, index));
        let come = (head..new_end).map(|index| line('+', &self.new, &new, index));
        let after = (new_end..new.len().min(new_end + CONTEXT)).map(|index| line(' ', &self.new, &new, index));
        before.chain(gone).chain(come).chain(after).collect()
    }
}

fn line_ranges(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let ranges = text.split_inclusive('\n').map(|line| {
        let range = start..start + line.len();
        start = range.end;
        range
    });
    ranges.collect()
}

/// A stretch of the text and what takes its place.
pub(super) struct Edit {
    pub(super) range: Range<usize>,
    pub(super) with: String,
}

impl Edit {
    pub(super) fn insert(at: usize, with: String) -> Self {
        Self { range: at..at, with }
    }
}

pub(super) fn set(document: &EditableFile, path: &ValuePath, new: &NewValue) -> Result<TextChange, Impossible> {
    let text = document.text();
    let Reached { node, slots, rest } = reach(&document.root, path)?;
    let fits = match (&node.value, rest) {
        (_, []) => true,
        (NodeValue::Map(_) | NodeValue::Null, rest) => rest.iter().all(|segment| matches!(segment, Segment::Name(_))),
        _ => false,
    };
    if !fits {
        return Err(document.missing(path, &Reached { node, slots, rest }));
    }
    // What is merged in from elsewhere can be overridden here, but only as a whole.
    let merged = slots.last().and_then(Slot::entry).filter(|entry| entry.merged);
    let shared = slots.iter().enumerate().find(|(at, slot)| {
        let last = at + 1 == slots.len() && rest.is_empty();
        !last && (slot.entry().is_some_and(|entry| entry.merged) || alias_at(text, slot).is_some())
    });
    if let Some((at, slot)) = shared {
        let place = document.source.place(child(slot).span);
        return Err(Impossible::new(format!(
            "`{}` is not written here: it stands for what is written at {place}, perhaps for others, too; change it there",
            path.first(at + 1)
        )));
    }
    let flow = slots.iter().any(|slot| is_flow(text, slot.parent)) || is_flow(text, node) && !rest.is_empty();
    let manner = |quotes| ValueContext {
        format: document.format,
        flow,
        quotes,
    };
    let names = |rest: &[Segment]| -> Vec<String> {
        let name = |segment: &Segment| match segment {
            Segment::Name(name) => name.clone(),
            Segment::Index(index) => index.to_string(),
        };
        rest.iter().map(name).collect()
    };
    let steps: Vec<usize> = slots.iter().map(|slot| slot.index).collect();
    let typed = new.typed.as_deref();
    let (edits, wanted) = match (&node.value, merged, slots.last()) {
        (_, Some(entry), Some(slot)) if rest.is_empty() => {
            let keys = [entry.key.clone()];
            let wanted = altered(&document.root, &steps[..steps.len() - 1], |node| {
                add_to(node, &keys, &new.value)
            });
            (added(text, slot.parent, &keys, new, manner(Quotes::Plain))?, wanted)
        }
        (NodeValue::Map(_), ..) if !rest.is_empty() => {
            let keys = names(rest);
            let wanted = altered(&document.root, &steps, |node| add_to(node, &keys, &new.value));
            (added(text, node, &keys, new, manner(Quotes::Plain))?, wanted)
        }
        (_, _, Some(slot)) => {
            let keys = names(rest);
            let wrapped = wrap(&keys, &new.value);
            let written = &text[node.span.start as usize..];
            let quotes = match (&node.value, alias_at(text, slot)) {
                (NodeValue::Text(_), None) => Quotes::of(written),
                _ => Quotes::Plain,
            };
            let spelled = write::value(&wrapped, typed, manner(quotes));
            let wanted = altered(&document.root, &steps, |node| node.value = wrapped.clone());
            (replaced(text, slot, node, spelled), wanted)
        }
        (_, _, None) => return Err(Impossible::new("the config as a whole is no single value")),
    };
    let exact = exact_path(&slots, rest);
    finish(document, path, &exact, edits, &wanted, rest.is_empty().then_some(node))
}

/// The path by keys and numbers alone, which holds even if a name is what changes.
pub(super) fn exact_path(slots: &[Slot<'_>], rest: &[Segment]) -> ValuePath {
    let steps = slots.iter().map(|slot| match slot.entry() {
        Some(entry) => Segment::Name(entry.key.clone()),
        None => Segment::Index(slot.index),
    });
    ValuePath(steps.chain(rest.iter().cloned()).collect())
}

/// Applies the edits, and takes the result only if it says exactly what is wanted.
pub(super) fn finish(
    document: &EditableFile,
    path: &ValuePath,
    exact: &ValuePath,
    edits: Vec<Edit>,
    wanted: &TreeNode,
    before: Option<&TreeNode>,
) -> Result<TextChange, Impossible> {
    let text = document.text();
    let mut changed = text.to_owned();
    for edit in edits.into_iter().rev() {
        changed.replace_range(edit.range, &edit.with);
    }
    // The same value in other words is no change.
    if same(&document.root, wanted) {
        changed = text.to_owned();
    }
    let unable = || {
        let place = before.map_or_else(
            || SourceSpan::file(document.source.path()),
            |node| document.source.place(node.span),
        );
        Impossible::new(format!(
            "`{path}` cannot be changed alone ({place}), because of the way it is written, for example with an anchor that others use; edit the file by hand"
        ))
    };
    let changed = EditableFile::read(document.source.path(), changed).map_err(|_| unable())?;
    if !same(&changed.root, wanted) {
        return Err(unable());
    }
    let now = reach(&changed.root, exact).map_err(|_| unable())?;
    if !now.rest.is_empty() {
        return Err(unable());
    }
    Ok(TextChange {
        path: shown_path(&now.slots, path),
        place: changed.source.place(now.node.span),
        before: before
            .map(|node| document.source.quote(node.span))
            .filter(|text| !text.is_empty()),
        after: changed.source.quote(now.node.span),
        old: Arc::clone(&document.source),
        new: Arc::clone(&changed.source),
    })
}

/// The path with its keys as the file has them.
fn shown_path(slots: &[Slot<'_>], path: &ValuePath) -> String {
    let segments = slots.iter().zip(&path.0).map(|(slot, segment)| match slot.entry() {
        Some(entry) => Segment::Name(entry.key.clone()),
        None => segment.clone(),
    });
    ValuePath(segments.collect()).to_string()
}

fn child<'n>(slot: &Slot<'n>) -> &'n TreeNode {
    match &slot.parent.value {
        NodeValue::List(items) => &items[slot.index],
        NodeValue::Map(entries) => &entries[slot.index].value,
        _ => slot.parent,
    }
}

/// The `*name` at this place, where the value is written elsewhere: always further up.
fn alias_at(text: &str, slot: &Slot<'_>) -> Option<Range<usize>> {
    let (is_alias, behind) = match &slot.parent.value {
        NodeValue::Map(entries) => {
            let entry = &entries[slot.index];
            (entry.value.span.start < entry.key_span.end, behind_colon(text, entry))
        }
        NodeValue::List(items) => {
            let (before, start) = (&items[..slot.index], slot.parent.span.start);
            let least = before.iter().map(|item| item.span.start + 1).max().unwrap_or(start);
            let behind = before.last().map_or(start, |item| item.span.end);
            (items[slot.index].span.start < least, behind as usize)
        }
        _ => return None,
    };
    if !is_alias {
        return None;
    }
    let start = behind + text[behind..].find('*')?;
    let length = text[start..].find(|c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}'));
    Some(start..length.map_or(text.len(), |length| start + length))
}

/// True for a list or map in brackets.
pub(super) fn is_flow(text: &str, node: &TreeNode) -> bool {
    let first = text.as_bytes().get(node.span.start as usize);
    // Without brackets of its own a list begins where its first item does, which may have some.
    let own = match &node.value {
        NodeValue::List(items) => items.first().is_none_or(|item| item.span.start != node.span.start),
        NodeValue::Map(_) => true,
        _ => false,
    };
    own && matches!(first, Some(b'{' | b'['))
}

/// Behind the colon of a key.
fn behind_colon(text: &str, entry: &MapEntry) -> usize {
    let end = entry.key_span.end as usize;
    text[end..].find(':').map_or(end, |colon| end + colon + 1)
}

/// End of a value as it is written. The parser ends lists and maps without brackets at whatever comes next.
pub(super) fn extent(text: &str, node: &TreeNode) -> usize {
    let own = node.span.end as usize;
    if is_flow(text, node) {
        return own;
    }
    let count = match &node.value {
        NodeValue::List(items) => items.len(),
        NodeValue::Map(entries) => entries.len(),
        _ => return own,
    };
    let slots = (0..count).map(|index| Slot { parent: node, index });
    let written = slots.filter(|slot| slot.entry().is_none_or(|entry| !entry.merged));
    written.map(|slot| slot_end(text, &slot)).max().unwrap_or(own)
}

pub(super) fn slot_end(text: &str, slot: &Slot<'_>) -> usize {
    match (alias_at(text, slot), slot.entry()) {
        (Some(alias), _) => alias.end,
        (None, Some(entry)) if is_absent(&entry.value) => behind_colon(text, entry),
        (None, _) => extent(text, child(slot)),
    }
}

/// True for a key with nothing behind its colon.
fn is_absent(node: &TreeNode) -> bool {
    matches!(node.value, NodeValue::Null) && node.span.start == node.span.end
}

/// Edits that put `spelled` where `node` is.
fn replaced(text: &str, slot: &Slot<'_>, node: &TreeNode, spelled: String) -> Vec<Edit> {
    let span = node.span.start as usize..extent(text, node).max(node.span.start as usize);
    if let Some(range) = alias_at(text, slot) {
        return vec![Edit { range, with: spelled }];
    }
    let Some(entry) = slot.entry() else {
        return vec![Edit {
            range: span,
            with: spelled,
        }];
    };
    let behind = behind_colon(text, entry);
    if is_absent(node) {
        return vec![Edit::insert(behind, format!(" {spelled}"))];
    }
    match text[behind..span.start].find('\n') {
        None => vec![Edit {
            range: span,
            with: spelled,
        }],
        // It begins on a line of its own: the new value goes beside its key, in front of what is remarked there.
        Some(_) => {
            let end = line_end(text, behind);
            let rest = Edit {
                range: end..span.end,
                with: String::new(),
            };
            // Or it is a text of several lines, with `|` or `>` beside the key.
            let header = end - text[behind..end].trim_start().len();
            let first = if text[header..end].starts_with(['|', '>']) {
                let length = text[header..end].find(char::is_whitespace).unwrap_or(end - header);
                Edit {
                    range: header..header + length,
                    with: spelled,
                }
            } else {
                Edit::insert(behind, format!(" {spelled}"))
            };
            vec![first, rest]
        }
    }
}

/// The end of the line that holds a byte, in front of its line break.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    if end > at && text.as_bytes()[end - 1] == b'\r' {
        end - 1
    } else {
        end
    }
}

pub(super) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |end| end + 1)
}

pub(super) fn line_break(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// Edits that add a key, with maps around the value where `keys` has more than one.
fn added(
    text: &str,
    map: &TreeNode,
    keys: &[String],
    new: &NewValue,
    manner: ValueContext,
) -> Result<Vec<Edit>, Impossible> {
    let NodeValue::Map(entries) = &map.value else {
        return Err(Impossible::new("only a map takes a new key"));
    };
    let own = entries.iter().enumerate().filter(|(_, entry)| !entry.merged);
    let own: Vec<(usize, &MapEntry)> = own.collect();
    let end_of = |index: usize| slot_end(text, &Slot { parent: map, index });
    let typed = new.typed.as_deref();
    let brk = line_break(text);
    if is_flow(text, map) {
        let value = wrap(&keys[1..], &new.value);
        let pair = format!(
            "{}: {}",
            write::key(&keys[0], manner),
            write::value(&value, typed, manner)
        );
        let close = map.span.end as usize - 1;
        let Some((at, last)) = own.iter().max_by_key(|(_, entry)| entry.key_span.start) else {
            let inside = map.span.start as usize + 1;
            // Only blanks are between the brackets, or a merge that the pair follows.
            let with = if text[inside..close].trim().is_empty() {
                pair
            } else {
                format!(", {pair}")
            };
            return Ok(vec![Edit::insert(close, with)]);
        };
        let end = end_of(*at);
        let comma = text[end..close].trim_start().starts_with(',');
        let behind = if comma {
            end + text[end..close].find(',').unwrap_or(0) + 1
        } else {
            end
        };
        let key_start = last.key_span.start as usize;
        let lead = &text[line_start(text, key_start)..key_start];
        if !(text[end..close].contains('\n') && lead.trim().is_empty()) {
            let with = if comma { format!(" {pair}") } else { format!(", {pair}") };
            return Ok(vec![Edit::insert(behind, with)]);
        }
        let at = line_end(text, behind);
        let line = format!("{brk}{lead}{pair}{}", if comma { "," } else { "" });
        return Ok(if comma {
            vec![Edit::insert(at, line)]
        } else if at == end {
            vec![Edit::insert(end, format!(",{line}"))]
        } else {
            vec![Edit::insert(end, ",".to_owned()), Edit::insert(at, line)]
        });
    }
    let (first, last) = match (own.first(), own.iter().map(|(index, _)| end_of(*index)).max()) {
        (Some((_, first)), Some(last)) => (first.key_span, last),
        // A block map of merges alone begins with `<<`.
        _ => (
            Span::new(map.span.start as usize, map.span.start as usize + 2),
            map.span.start as usize + 2,
        ),
    };
    let start = first.start as usize;
    let indent = text[line_start(text, start)..start].chars().count();
    let mut block = String::new();
    for (depth, name) in keys.iter().enumerate() {
        let blanks = " ".repeat(indent + 2 * depth);
        block += &format!("{brk}{blanks}{}:", write::key(name, manner));
    }
    block += &format!(" {}", write::value(&new.value, typed, manner));
    Ok(vec![Edit::insert(line_end(text, last), block)])
}

/// `value` inside maps of one key each.
fn wrap(keys: &[String], value: &NodeValue) -> NodeValue {
    keys.iter().rev().fold(value.clone(), |inner, key| {
        NodeValue::Map(vec![MapEntry {
            key: key.clone(),
            key_span: Span::default(),
            value: TreeNode {
                value: inner,
                span: Span::default(),
            },
            merged: false,
        }])
    })
}

fn add_to(map: &mut TreeNode, keys: &[String], value: &NodeValue) {
    if let (NodeValue::Map(entries), NodeValue::Map(new)) = (&mut map.value, wrap(keys, value)) {
        entries.extend(new);
    }
}

/// A copy of the tree in which the node at the end of `steps` is another one.
pub(super) fn altered(root: &TreeNode, steps: &[usize], change: impl FnOnce(&mut TreeNode)) -> TreeNode {
    let mut copy = root.clone();
    at(&mut copy, steps, change);
    copy
}

fn at(node: &mut TreeNode, steps: &[usize], change: impl FnOnce(&mut TreeNode)) {
    let [step, rest @ ..] = steps else { return change(node) };
    match &mut node.value {
        NodeValue::List(items) => at(&mut items[*step], rest, change),
        NodeValue::Map(entries) => at(&mut entries[*step].value, rest, change),
        // Steps come from this very tree.
        _ => {}
    }
}

/// True if both say the same: of equal keys the last counts, places do not.
fn same(a: &TreeNode, b: &TreeNode) -> bool {
    match (&a.value, &b.value) {
        (NodeValue::Null, NodeValue::Null) => true,
        (NodeValue::Bool(a), NodeValue::Bool(b)) => a == b,
        (NodeValue::Number(a), NodeValue::Number(b)) => a == b || a.is_nan() && b.is_nan(),
        (NodeValue::Text(a), NodeValue::Text(b)) => a == b,
        (NodeValue::List(a), NodeValue::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (NodeValue::Map(a), NodeValue::Map(b)) => {
            let (a, b) = (by_key(a), by_key(b));
            a.len() == b.len()
                && a.iter()
                    .zip(&b)
                    .all(|((key, a), (other, b))| key == other && same(a, b))
        }
        _ => false,
    }
}

fn by_key(entries: &[MapEntry]) -> BTreeMap<&str, &TreeNode> {
    entries.iter().map(|entry| (entry.key.as_str(), &entry.value)).collect()
}
