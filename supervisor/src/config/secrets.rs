//! Which parts of a config must never be shown: in messages, in excerpts, in logs.
//!
//! Found in the tree by the names of keys and by the sections that hold keys of any name; for a text that is no tree,
//! by the same names in its lines. Hiding too much costs a little comfort, hiding too little costs a secret.

use super::node::{Entry, Node, Span, Value};

/// True if the value of a key of this name is a secret.
pub(super) fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    // These name where something is, or which reading is meant.
    if key.ends_with("_file") || key.ends_with("_path") || key == "maintenance_allowed_key" {
        return false;
    }
    const PARTS: [&str; 10] =
        ["secret", "password", "passwd", "passphrase", "token", "private_key", "api_key", "apikey", "credential", "payload"];
    key == "key" || key.ends_with("_key") || key.ends_with("-key") || PARTS.iter().any(|part| key.contains(part))
}

/// All spans to hide in a tree. `text` is what it was read from.
pub(super) fn in_tree(root: &Node, text: &str) -> Vec<Span> {
    let mut found = Vec::new();
    walk(root, Within::Open, text, &mut found);
    found
}

/// Where in the tree we are.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    /// Nothing special.
    Open,
    /// `auth`, whose handlers hold API keys below `config`, by their ids.
    Auth,
    /// Below such a `config`: all but the list of ids.
    Keys,
    /// Everything is secret but ids and types.
    Secret,
}

fn walk(node: &Node, within: Within, text: &str, found: &mut Vec<Span>) {
    match &node.value {
        Value::List(items) => {
            for item in items {
                walk(item, within, text, found);
            }
            unfinished(node, items.last().map(|item| item.span), within, text, found);
        }
        Value::Map(entries) => {
            for Entry { key, value, .. } in entries {
                let inner = match within {
                    Within::Secret if matches!(key.as_str(), "id" | "type") => Within::Open,
                    Within::Secret => Within::Secret,
                    Within::Keys if key.eq_ignore_ascii_case("keys") => Within::Open,
                    Within::Keys => Within::Secret,
                    Within::Auth if key.eq_ignore_ascii_case("config") => Within::Keys,
                    _ if is_secret_key(key) => Within::Secret,
                    _ if key.eq_ignore_ascii_case("auth") => Within::Auth,
                    within => within,
                };
                walk(value, inner, text, found);
            }
            unfinished(node, entries.last().map(|entry| entry.value.span), within, text, found);
        }
        _ if within == Within::Secret => found.push(node.span),
        Value::Text(_) => found.extend(user_of_url(text, node.span)),
        _ => {}
    }
}

/// In a text that breaks off inside a secret section, all that follows may be one.
fn unfinished(node: &Node, last: Option<Span>, within: Within, text: &str, found: &mut Vec<Span>) {
    if matches!(within, Within::Secret | Within::Keys) && node.span.end as usize == text.len() {
        found.push(Span { start: last.map_or(node.span.start, |last| last.end), end: node.span.end });
    }
}

/// The part between `//` and `@` of a URL that names a user and a password.
fn user_of_url(text: &str, span: Span) -> Option<Span> {
    let start = span.start as usize;
    let value = text.get(start..span.end as usize)?;
    let from = value.find("://")? + 3;
    let rest = &value[from..];
    let host = &rest[..rest.find(['/', '"', '\'', ' ']).unwrap_or(rest.len())];
    let to = host.rfind('@')?;
    host[..to].contains(':').then(|| Span::new(start + from, start + from + to))
}

/// Spans to hide in the lines of `text` from byte `from` on: whatever stands behind a key with a secret name.
pub(super) fn in_text(text: &str, from: usize) -> Vec<Span> {
    let mut found = Vec::new();
    let mut start = from;
    for line in text.get(from..).unwrap_or_default().split_inclusive('\n') {
        for (colon, _) in line.match_indices([':', '=']) {
            let before = line[..colon].trim_end_matches(['"', '\'', ' ', '\t']);
            let word = before.rfind(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').map_or(0, |at| {
                at + before[at..].chars().next().map_or(1, char::len_utf8)
            });
            if is_secret_key(&before[word..]) {
                found.push(Span::new(start + colon + 1, start + line.len()));
                break;
            }
        }
        found.extend(user_of_url(text, Span::new(start, start + line.len())));
        start += line.len();
    }
    found
}
