//! Collector of differences: compares values of all kinds, and says in few words and without secrets what they were and
//! are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::{Difference, DifferenceKind};
use crate::config::Config;
use crate::entry::ServiceConfig;
use crate::frame::Frame;
use crate::redact::{self, clean};
use crate::span::{SourceSpan, Span};
use crate::value::{Object, Value};

/// Characters of a value that are shown at most.
const SHOWN: usize = 48;
/// Replacement text for a secret.
const SECRET: &str = "***";

/// Collects differences of two configs, or of two entries of them.
pub(super) struct Collector<'a> {
    from: (&'a Config, SourceSpan),
    to: (&'a Config, SourceSpan),
    pub(super) differences: Vec<Difference>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(from: &'a Config, old: Option<&SourceSpan>, to: &'a Config, new: Option<&SourceSpan>) -> Self {
        let place = |config: &Config, place: Option<&SourceSpan>| {
            place.cloned().unwrap_or_else(|| SourceSpan::file(&config.path))
        };
        Self {
            from: (from, place(from, old)),
            to: (to, place(to, new)),
            differences: Vec::new(),
        }
    }

    /// Adds a difference. A value that came from the environment is shown by its name.
    pub(super) fn add(&mut self, path: &str, kind: DifferenceKind, before: Option<String>, after: Option<String>) {
        let (from, to) = (&self.from, &self.to);
        let before = before.map(|text| short(&from.0.source.scrub(text, &from.1)));
        let after = after.map(|text| short(&to.0.source.scrub(text, &to.1)));
        self.differences.push(Difference {
            path: path.to_owned(),
            kind,
            before,
            after,
        });
    }

    pub(super) fn text(&mut self, path: &str, old: impl Display, new: impl Display) {
        self.optional(
            path,
            Some(&old).filter(|old| !old.to_string().is_empty()),
            Some(&new).filter(|new| !new.to_string().is_empty()),
        );
    }

    pub(super) fn optional<T: Display, U: Display>(&mut self, path: &str, old: Option<&T>, new: Option<&U>) {
        let show = |text: String| {
            if text.is_empty() {
                "\"\"".to_owned()
            } else {
                without_user(&text)
            }
        };
        let (old, new) = (old.map(ToString::to_string), new.map(ToString::to_string));
        let kind = match (&old, &new) {
            (old, new) if old == new => return,
            (None, _) => DifferenceKind::Added,
            (_, None) => DifferenceKind::Removed,
            _ => DifferenceKind::Changed,
        };
        self.add(path, kind, old.map(show), new.map(show));
    }

    /// Too long to be shown, or secret.
    pub(super) fn silent<T: PartialEq>(&mut self, path: &str, old: &T, new: &T) {
        if old != new {
            self.add(path, DifferenceKind::Changed, None, None);
        }
    }

    pub(super) fn texts(&mut self, path: &str, old: &[String], new: &[String]) {
        if old != new {
            let list = |texts: &[String]| format!("[{}]", texts.join(", "));
            self.add(path, DifferenceKind::Changed, Some(list(old)), Some(list(new)));
        }
    }

    pub(super) fn frame(&mut self, path: &str, old: Option<&Frame>, new: Option<&Frame>) {
        let (Some(old), Some(new)) = (old, new) else {
            let parent = |frame: &'_ Frame| format!("in {}", frame.parent);
            return self.optional(path, old.map(parent).as_ref(), new.map(parent).as_ref());
        };
        let list = |numbers: [f64; 3]| format!("[{}, {}, {}]", numbers[0], numbers[1], numbers[2]);
        self.text(&format!("{path}.parent"), &old.parent, &new.parent);
        self.optional(&format!("{path}.id"), old.id.as_ref(), new.id.as_ref());
        self.text(
            &format!("{path}.translation"),
            list(old.translation),
            list(new.translation),
        );
        self.silent(&format!("{path}.orientation"), &old.orientation, &new.orientation);
        self.silent(&format!("{path}.geometry"), &old.geometry, &new.geometry);
    }

    pub(super) fn service_configs(&mut self, old: &[ServiceConfig], new: &[ServiceConfig]) {
        let by_api = |configs: &'_ [ServiceConfig]| -> BTreeMap<String, Object> {
            configs
                .iter()
                .map(|config| (config.api.clone(), config.attributes.clone()))
                .collect()
        };
        let (old, new) = (by_api(old), by_api(new));
        let apis: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for api in apis {
            self.structs(&format!("service_configs.{api}"), old.get(api), new.get(api));
        }
    }

    pub(super) fn structs(&mut self, path: &str, old: Option<&Object>, new: Option<&Object>) {
        let wrap = |fields: &Object| Value::Map(fields.clone());
        if old != new {
            let secret = path.split('.').any(redact::is_secret_key);
            self.value(path, old.map(wrap).as_ref(), new.map(wrap).as_ref(), secret);
        }
    }

    fn value(&mut self, path: &str, old: Option<&Value>, new: Option<&Value>, secret: bool) {
        if old == new {
            return;
        }
        match (old, new) {
            (Some(Value::Map(old)), Some(Value::Map(new))) => {
                let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
                for key in keys {
                    let secret = secret || redact::is_secret_key(key);
                    let path = format!("{path}.{}", quoted_key(key));
                    self.value(&path, old.get(key), new.get(key), secret);
                }
            }
            (Some(Value::List(old)), Some(Value::List(new))) if old.len() == new.len() => {
                for (at, (old, new)) in old.iter().zip(new).enumerate() {
                    self.value(&format!("{path}[{at}]"), Some(old), Some(new), secret);
                }
            }
            _ => {
                let show = |value: &Value| show(value, secret);
                let kind = match (old, new) {
                    (None, _) => DifferenceKind::Added,
                    (_, None) => DifferenceKind::Removed,
                    _ => DifferenceKind::Changed,
                };
                self.add(path, kind, old.map(show), new.map(show));
            }
        }
    }

    /// Entries by their keys: those that are there in one config only, and how the others differ. Of two with one key
    /// the last counts. `describe`: the path of an entry, and what it is in a word.
    pub(super) fn entries<T>(
        &mut self,
        (old, new): (&[T], &[T]),
        key: impl Fn(&T) -> String,
        describe: impl Fn(&T) -> (String, String),
        compare: impl Fn(&T, &T) -> Vec<Difference>,
    ) {
        let by_key = |entries: &'_ [T]| -> BTreeMap<String, usize> {
            let keys = entries.iter().enumerate();
            keys.map(|(at, entry)| (key(entry), at)).collect()
        };
        let (before, after) = (by_key(old), by_key(new));
        for (at, entry) in old.iter().enumerate() {
            let key = key(entry);
            if before[&key] == at && !after.contains_key(&key) {
                let (path, what) = describe(entry);
                self.add(&path, DifferenceKind::Removed, Some(what), None);
            }
        }
        for (at, entry) in new.iter().enumerate() {
            let key = key(entry);
            if after[&key] != at {
                continue;
            }
            let (path, what) = describe(entry);
            let Some(old) = before.get(&key).map(|at| &old[*at]) else {
                self.add(&path, DifferenceKind::Added, None, Some(what));
                continue;
            };
            let below = compare(old, entry).into_iter().map(|difference| Difference {
                path: format!("{path}.{}", difference.path),
                ..difference
            });
            self.differences.extend(below);
        }
    }
}

fn quoted_key(key: &str) -> String {
    if key.is_empty() || key.contains(['.', '[', ']', '"']) {
        format!("{key:?}")
    } else {
        key.to_owned()
    }
}

/// A free-form value in few words.
fn show(value: &Value, secret: bool) -> String {
    let list = |parts: Vec<String>, open: char, close: char| format!("{open}{}{close}", parts.join(", "));
    match value {
        Value::Null => "null".to_owned(),
        Value::List(items) => list(items.iter().map(|item| show(item, secret)).collect(), '[', ']'),
        Value::Map(map) => {
            let pair = |(key, value): (&String, &Value)| {
                let secret = secret || redact::is_secret_key(key);
                format!("{}: {}", quoted_key(key), show(value, secret))
            };
            list(map.iter().map(pair).collect(), '{', '}')
        }
        _ if secret => SECRET.to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) if text.is_empty() || text.trim() != text => format!("{text:?}"),
        Value::Text(text) => without_user(text),
    }
}

/// A URL without the user and password in it.
fn without_user(text: &str) -> String {
    let whole = Span::new(0, text.len());
    match redact::user_of_url(text, whole) {
        Some(span) => format!("{}{SECRET}{}", &text[..span.start as usize], &text[span.end as usize..]),
        None => text.to_owned(),
    }
}

/// Value on one line, and not too long.
fn short(text: &str) -> String {
    let clean = clean(text);
    if clean.chars().count() <= SHOWN {
        return clean;
    }
    clean.chars().take(SHOWN - 1).chain(['…']).collect()
}
