//! Secret parts of a config, which must never be shown: in messages, in excerpts, in logs.
//!
//! Found in the tree by the names of keys and by the sections that hold keys of any name; in a text that is no tree,
//! whatever is not known to be harmless. Hiding too much costs a little comfort, hiding too little costs a secret.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use mainstay_model::Span;
use mainstay_model::redact::is_secret_key;
use mainstay_model::redact::user_of_url;

use crate::keys;
use crate::node::{MapEntry, NodeValue, TreeNode};

/// Spans to hide in a tree. `text` is what it was read from.
pub(super) fn in_tree<'t>(root: &'t TreeNode, text: &'t str) -> Vec<Span> {
    let mut walk = SecretFinder {
        text,
        found: Vec::new(),
        known: HashMap::new(),
    };
    walk.node(root, Secrecy::Top);
    walk.found
}

struct SecretFinder<'t> {
    text: &'t str,
    found: Vec<Span>,
    /// The same few keys come again and again.
    known: HashMap<&'t str, bool>,
}

/// Secrecy of a position in the tree.
#[derive(Clone, Copy, PartialEq)]
enum Secrecy {
    /// The whole config.
    Top,
    /// `parts`: of each part a name, and below `config` a whole config.
    Parts,
    /// Open: nothing special.
    Open,
    /// `auth`, whose handlers hold API keys below `config`, by their ids; or what may be `auth` under a wrong name.
    Auth,
    /// Below such a `config`: all but the list of ids.
    Keys,
    /// Secret: everything but ids and types.
    Secret,
}

impl<'t> SecretFinder<'t> {
    fn is_secret(&mut self, key: &'t str) -> bool {
        *self.known.entry(key).or_insert_with(|| is_secret_key(key))
    }

    fn node(&mut self, node: &'t TreeNode, secrecy: Secrecy) {
        match &node.value {
            NodeValue::List(items) => {
                for item in items {
                    self.node(item, secrecy);
                }
                self.unfinished(node, items.last().map(|item| item.span), secrecy);
            }
            NodeValue::Map(entries) => {
                for MapEntry {
                    key, key_span, value, ..
                } in entries
                {
                    let inner = self.inside(secrecy, key);
                    if matches!(value.value, NodeValue::Null) && matches!(secrecy, Secrecy::Secret | Secrecy::Keys) {
                        // Perhaps the colon is missing, and the key holds it all.
                        self.found.push(*key_span);
                    }
                    self.node(value, inner);
                }
                self.unfinished(node, entries.last().map(|entry| entry.value.span), secrecy);
            }
            _ if matches!(secrecy, Secrecy::Secret | Secrecy::Keys) => self.found.push(node.span),
            // A text that should have been a key and its value.
            NodeValue::Text(text)
                if text
                    .split([' ', '=', ':'])
                    .rev()
                    .skip(1)
                    .any(|word| self.is_secret(word)) =>
            {
                self.found.push(node.span);
            }
            NodeValue::Text(_) => self.found.extend(user_of_url(self.text, node.span)),
            _ => {}
        }
    }

    /// Secrecy of the value of `key`.
    fn inside(&mut self, secrecy: Secrecy, key: &'t str) -> Secrecy {
        match secrecy {
            Secrecy::Secret if matches!(key, "id" | "type") => Secrecy::Open,
            Secrecy::Secret => Secrecy::Secret,
            Secrecy::Keys if key.eq_ignore_ascii_case("keys") => Secrecy::Open,
            Secrecy::Keys => Secrecy::Secret,
            _ if self.is_secret(key) => Secrecy::Secret,
            // Names of roles and of entities, and patterns.
            Secrecy::Auth if key.eq_ignore_ascii_case("roles") => Secrecy::Open,
            Secrecy::Auth if key == "config" || !is_harmless(key) => Secrecy::Keys,
            Secrecy::Auth => Secrecy::Auth,
            Secrecy::Top if key == "parts" => Secrecy::Parts,
            Secrecy::Parts if key == "config" => Secrecy::Top,
            Secrecy::Parts if is_harmless(key) => Secrecy::Open,
            Secrecy::Parts => Secrecy::Top,
            Secrecy::Top if key != "auth" && is_harmless(key) => Secrecy::Open,
            Secrecy::Top => Secrecy::Auth,
            Secrecy::Open if key.eq_ignore_ascii_case("auth") => Secrecy::Auth,
            Secrecy::Open => Secrecy::Open,
        }
    }

    /// Hides all that follows in a text that breaks off inside a secret list or map. An empty one is hidden itself, to show
    /// that secrets are near.
    fn unfinished(&mut self, node: &TreeNode, last: Option<Span>, secrecy: Secrecy) {
        if !matches!(secrecy, Secrecy::Secret | Secrecy::Keys) {
            return;
        }
        match last {
            None => self.found.push(node.span),
            Some(last) if node.span.end as usize == self.text.len() => {
                self.found.push(Span {
                    start: last.end,
                    end: node.span.end,
                });
            }
            Some(_) => {}
        }
    }
}

/// True for keys of a config whose values are no secrets. Any other key may be the id of an API key.
fn is_harmless(key: &str) -> bool {
    static KNOWN: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
        let names = keys::all().into_values().flat_map(|section| section.keys);
        let names = names.map(|key| key.name);
        let ignored = keys::IGNORED.iter().map(|(name, _)| *name);
        names.chain(ignored).filter(|name| !is_secret_key(name)).collect()
    });
    KNOWN.contains(key)
}

/// Spans to hide in a text that is not read as a tree.
pub(super) fn in_unread_text(text: &str) -> Vec<Span> {
    in_text(text, 0, false)
}

/// Spans to hide in `text` from byte `from` on, where nobody knows what is inside what: of each line only
/// the values of keys that are known to be harmless remain. `clear` tells that a line may be shown up to its first key.
pub(super) fn in_text(text: &str, from: usize, clear: bool) -> Vec<Span> {
    let mut found = Vec::new();
    let mut start = from;
    // The key of the first value may stand before `from`.
    let mut begin = text
        .get(..from)
        .and_then(|read| read.rfind('\n'))
        .map_or(0, |end| end + 1);
    for line in text.get(from..).unwrap_or_default().split_inclusive('\n') {
        let mut hidden = (!clear).then_some(start);
        let mut plain = 0;
        for (sign, found_sign) in line.match_indices([':', '=', ',']) {
            if sign < plain {
                continue;
            }
            if found_sign == "," {
                hidden.get_or_insert(start + sign + 1);
                continue;
            }
            let before = text[begin..start + sign].trim_end_matches(['"', '\'', ' ', '\t']);
            let word = before.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_' || c == '-');
            let key = &before[word.len()..];
            if is_harmless(key) {
                let before_it = hidden
                    .take()
                    .map(|hidden| Span::new(hidden, hidden.max(begin + word.len())));
                found.extend(before_it.filter(|span| !is_punctuation(&text[span.start as usize..span.end as usize])));
                if matches!(key, "api" | "model" | "bind_address") {
                    plain = sign + 1 + triplet_len(&line[sign + 1..]);
                }
            } else {
                hidden.get_or_insert(start + sign + 1);
            }
        }
        found.extend(hidden.map(|hidden| Span::new(hidden, start + line.len())));
        found.extend(user_of_url(text, Span::new(start, start + line.len())));
        start += line.len();
        begin = start;
    }
    found
}

/// True for what may stand between a value and the next key, and is nobody's secret.
fn is_punctuation(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '{' | '[' | ',' | '-'))
}

/// Length of the name of an API or a model that a text begins with; its colons are no signs.
fn triplet_len(text: &str) -> usize {
    let begun = text.trim_start_matches([' ', '"', '\'']);
    let name = begun.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.'));
    let len = text.len() - name.len();
    if text[..len].split([':', ' ', '"', '\'']).any(is_secret_key) {
        0
    } else {
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_known_keys_only_those_that_hold_secrets_sound_like_it() {
        let names = keys::all().into_values().flat_map(|section| section.keys);
        let mut secret: Vec<_> = names.map(|key| key.name).filter(|name| is_secret_key(name)).collect();
        secret.sort_unstable();
        secret.dedup();
        let expected = "api_key credentials key location_secret location_secrets payload secret tls_private_key";
        assert_eq!(secret.join(" "), expected);
    }
}
