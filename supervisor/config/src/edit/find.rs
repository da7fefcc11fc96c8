//! Walk from the top of the tree towards a value, as far as the path leads.

use super::path::{Segment, ValuePath};
use super::{Impossible, NodeValue, TreeNode};
use crate::node::MapEntry;

/// Step down the tree: a node and the item or entry taken in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot<'n> {
    /// The list or map that the step was made in.
    pub(super) parent: &'n TreeNode,
    /// Index of that item or entry.
    pub(super) index: usize,
}

impl<'n> Slot<'n> {
    /// The entry of a map, if the parent is one.
    pub(super) fn entry(&self) -> Option<&'n MapEntry> {
        match &self.parent.value {
            NodeValue::Map(entries) => entries.get(self.index),
            _ => None,
        }
    }
}

/// End of the walk: the nodes passed, and the rest of the path.
#[derive(Debug)]
pub(super) struct Reached<'n, 'p> {
    /// The last node on it.
    pub(super) node: &'n TreeNode,
    /// The steps to it.
    pub(super) slots: Vec<Slot<'n>>,
    /// The parts that lead nowhere.
    pub(super) rest: &'p [Segment],
}

/// Follows `path` from `root`. Keys match as they do in a config: exactly, else without regard to case, the last one.
///
/// # Errors
/// A name that several entries of a list have.
pub(super) fn reach<'n, 'p>(root: &'n TreeNode, path: &'p ValuePath) -> Result<Reached<'n, 'p>, Impossible> {
    let mut reached = Reached {
        node: root,
        slots: Vec::new(),
        rest: &path.0,
    };
    while let [segment, rest @ ..] = reached.rest {
        let found = match (&reached.node.value, segment) {
            (NodeValue::Map(entries), Segment::Name(name)) => {
                key(entries, name).map(|index| (index, &entries[index].value))
            }
            (NodeValue::List(items), Segment::Index(index)) => items.get(*index).map(|item| (*index, item)),
            (NodeValue::List(items), Segment::Name(name)) => {
                let here = path.first(reached.slots.len());
                named(items, name, &here)?.map(|index| (index, &items[index]))
            }
            _ => None,
        };
        let Some((index, node)) = found else { break };
        reached.slots.push(Slot {
            parent: reached.node,
            index,
        });
        (reached.node, reached.rest) = (node, rest);
    }
    Ok(reached)
}

fn key(entries: &[MapEntry], name: &str) -> Option<usize> {
    let last = |matches: &dyn Fn(&str) -> bool| entries.iter().rposition(|entry| matches(&entry.key));
    last(&|key| key == name).or_else(|| last(&|key| key.eq_ignore_ascii_case(name)))
}

/// The text below `name` of an entry.
fn name_of(item: &TreeNode) -> Option<&str> {
    let NodeValue::Map(entries) = &item.value else {
        return None;
    };
    match &entries[key(entries, "name")?].value.value {
        NodeValue::Text(text) => Some(text),
        _ => None,
    }
}

fn named(items: &[TreeNode], name: &str, here: &str) -> Result<Option<usize>, Impossible> {
    let mut found = (0..items.len()).filter(|index| name_of(&items[*index]) == Some(name));
    let first = found.next();
    let others: Vec<_> = found.collect();
    match (first, &others[..]) {
        (Some(first), [_, ..]) => {
            let all = std::iter::once(first).chain(others);
            let all: Vec<_> = all.map(|index| format!("`{here}[{index}]`")).collect();
            Err(Impossible::new(format!(
                "several entries have the name `{name}`; say which: {}",
                all.join(" or ")
            )))
        }
        (None, _) => Ok(name.parse().ok().filter(|index| *index < items.len())),
        (first, _) => Ok(first),
    }
}

/// Path segments that could follow this node.
pub(super) fn names(node: &TreeNode) -> Vec<String> {
    match &node.value {
        NodeValue::Map(entries) => {
            let mut names: Vec<_> = entries.iter().map(|entry| entry.key.clone()).collect();
            names.dedup();
            names
        }
        NodeValue::List(items) => items.iter().filter_map(name_of).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
