//! `include`: further files whose entries belong to the config.
//!
//! The key takes a path or a list of paths, each relative to the file in which it stands. Lists of entries are put one
//! behind the other, the including file's first; a section that is one object, or one value, may stand in one file only.

use mainstay_model::Span;

use crate::node::{NodeValue, TreeNode};
use crate::read::{Keys, Reader};

/// The key.
pub(super) const KEY: &str = "include";
/// Files that include each other in a row.
pub(super) const MAX_DEPTH: usize = 16;
/// Files of one config.
pub(super) const MAX_FILES: usize = 256;

/// True if a text could include anything: a quick look that saves a reading.
pub(super) fn mentioned(text: &[u8]) -> bool {
    text.windows(KEY.len())
        .any(|part| part.eq_ignore_ascii_case(KEY.as_bytes()))
}

/// The paths that a file names, as they are written. What is of a wrong type is left out: the reader complains about it.
pub(super) fn written(root: &TreeNode) -> Vec<(&str, Span)> {
    let NodeValue::Map(entries) = &root.value else {
        return Vec::new();
    };
    // Of several the last counts, as for every key.
    let last = entries.iter().rev().find(|entry| entry.key.eq_ignore_ascii_case(KEY));
    let items = match last.map(|entry| &entry.value) {
        Some(TreeNode {
            value: NodeValue::List(items),
            ..
        }) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    items
        .iter()
        .filter_map(|item| match &item.value {
            NodeValue::Text(text) if !text.is_empty() => Some((text.as_str(), item.span)),
            _ => None,
        })
        .collect()
}

/// Complains about what is no path.
pub(super) fn check(reader: &mut Reader, keys: &Keys<'_>) {
    let Some(node) = keys.get(KEY) else { return };
    let items = match &node.value {
        NodeValue::List(_) => reader.list(keys, KEY),
        NodeValue::Text(_) => vec![node],
        _ => {
            reader.wrong_type("`include`", node, "a path or a list of paths");
            return;
        }
    };
    for item in items {
        let text = reader.as_text("an item of `include`", item).map(str::is_empty);
        if text == Some(true) {
            reader.error(item.span, "`include` names no file here").help =
                Some("write a path, relative to this file".to_owned());
        } else if reader.source.slice(item.span).contains('$') {
            // Else the same files would be one config here and another there.
            reader
                .error(item.span, "the path of an included file takes no variables")
                .help = Some("write the path itself".to_owned());
        }
    }
}
