//! Rules of redaction that need no schema: secrets by the name of their key, users in URLs, control characters.

use crate::span::Span;
use crate::suggest::nearest;

/// True if the value of a key of this name is a secret. A slip in the name does not make it less of one.
pub fn is_secret_key(key: &str) -> bool {
    const PARTS: [&str; 9] = [
        "secret",
        "password",
        "passwd",
        "passphrase",
        "token",
        "privatekey",
        "apikey",
        "credential",
        "payload",
    ];
    let lower = key.to_ascii_lowercase();
    // These name where something is, or which reading is meant.
    if lower.ends_with("_file") || lower.ends_with("_path") || lower == "maintenance_allowed_key" {
        return false;
    }
    let ends = lower == "key" || lower.ends_with("_key") || lower.ends_with("-key");
    let letters: String = lower.chars().filter(|c| c.is_alphanumeric()).collect();
    let words = key
        .split(|c: char| !c.is_alphanumeric())
        .flat_map(camel)
        .filter(|word| word.len() >= 4);
    ends || PARTS.iter().any(|part| letters.contains(part))
        || words
            .chain([letters.as_str()])
            .any(|word| nearest(word, PARTS).is_some())
}

/// The words of `accessToken`.
fn camel(text: &str) -> impl Iterator<Item = &str> {
    let mut start = 0;
    let ends = text
        .char_indices()
        .skip(1)
        .filter(|(_, c)| c.is_uppercase())
        .map(|(at, _)| at);
    ends.chain([text.len()])
        .map(move |end| &text[std::mem::replace(&mut start, end)..end])
}

/// The part between `//` and `@` of a URL that names a user and a password.
pub fn user_of_url(text: &str, span: Span) -> Option<Span> {
    let start = span.start as usize;
    let value = text.get(start..span.end as usize)?.trim_end_matches(['"', '\'']);
    let from = value.find("://")? + 3;
    let rest = &value[from..];
    let host = &rest[..rest.find(['/', ' ', '\n']).unwrap_or(rest.len())];
    let (to, colon) = (host.rfind('@').unwrap_or(host.len()), host.find(':')?);
    // Without `@` it is host and port, or user and password of a text that breaks off.
    let port = to == host.len() && host[colon + 1..].bytes().all(|byte| byte.is_ascii_digit());
    (colon < to && !port).then(|| Span::new(start + from, start + from + to))
}

/// Control characters of the file must not steer the terminal.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
