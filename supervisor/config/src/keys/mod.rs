//! Every map of a config and its keys: what each takes, what it means, what counts if it is not there.
//!
//! The reader knows no keys but these, and the schema is made from them, so the two cannot drift apart; a test holds
//! what a key takes here against what the reader takes.

mod connections;
mod entries;
mod machine;
mod policy;

use std::collections::BTreeMap;

pub(super) use crate::keys::connections::{
    API_KEY, AUTH, CLOUD, CREDENTIALS, EXTERNAL_AUTH, HANDLER, NETWORK, REMOTE, REMOTE_AUTH, SESSIONS, TUNNEL,
};
pub(super) use crate::keys::entries::{
    API, COMPONENT, EULER, FRAME, GEOMETRY, LOG_CONFIGURATION, MODEL, MODULE, ORIENTATION, QUATERNION, SERVICE,
    SERVICE_CONFIG, STATUS, TRANSLATION, VECTOR,
};
pub(super) use crate::keys::machine::{APPLY, JOB, LOG_RULE, MACHINE, MAINTENANCE, PACKAGE, PROCESS, TRACING};
pub(super) use crate::keys::policy::{HEALTH, LIMITS, OUTPUT, RESTART, SANDBOX, STOP};

/// Kind of map, with its keys.
#[derive(Debug)]
pub(super) struct Section {
    /// Name of the map in messages.
    pub(super) what: &'static str,
    /// Name of the map in the schema.
    pub(super) id: &'static str,
    /// Keys of the map.
    pub(super) keys: &'static [Key],
    /// Keys without which it is of no use.
    pub(super) required: &'static [&'static str],
}

impl Section {
    /// A map of which no key is required.
    const fn new(what: &'static str, id: &'static str, keys: &'static [Key]) -> Self {
        Self {
            what,
            id,
            keys,
            required: &[],
        }
    }

    const fn requiring(mut self, required: &'static [&'static str]) -> Self {
        self.required = required;
        self
    }

    /// The key of this name in any case, preferring the very same; and whether it is the very same.
    pub(super) fn find(&self, name: &str) -> Option<(&'static str, bool)> {
        let names = || self.keys.iter().map(|key| key.name);
        let exact = names().find(|known| *known == name).map(|known| (known, true));
        exact.or_else(|| {
            names()
                .find(|known| known.eq_ignore_ascii_case(name))
                .map(|known| (known, false))
        })
    }
}

/// Key of a map.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) takes: ValueType,
    /// Meaning of the key, in one sentence for a person.
    pub(super) about: &'static str,
    /// Default as JSON. Empty: none, or it cannot be said in a word.
    pub(super) default: &'static str,
}

impl Key {
    const fn new(name: &'static str, takes: ValueType, about: &'static str) -> Self {
        Self {
            name,
            takes,
            about,
            default: "",
        }
    }

    const fn default(mut self, json: &'static str) -> Self {
        self.default = json;
        self
    }
}

/// Type of a key's value.
#[derive(Debug)]
pub(super) enum ValueType {
    /// Any text.
    Text,
    /// A text like `rdk:component:motor` that names an API.
    Api,
    /// A text that names a model.
    Model,
    /// The subtype of an API, most likely of a standard one of this type.
    Subtype(&'static str),
    /// Text that should be one of these; others are a diagnostic of one severity or the other.
    Word(&'static [&'static str]),
    /// A word in any case.
    AnyCase(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A number between these.
    Number(f64, f64),
    /// A whole number between these.
    Whole(u64, u64),
    /// A text like `1m30s`.
    Duration,
    /// A number of bytes, or a text like `200MB`.
    Size,
    /// A map with known keys.
    Map(&'static Section),
    /// A map with keys of any name and values of any type.
    Free,
    /// A map with keys of any name and texts.
    Texts,
    /// A list of these.
    List(&'static Self),
    /// Any of these.
    Either(&'static [Self]),
    /// Any value: nothing reads it.
    Ignored,
}

/// Every section that a config can have, by its name in the schema.
pub(super) fn all() -> BTreeMap<&'static str, &'static Section> {
    let mut all = BTreeMap::new();
    collect(&MACHINE, &mut all);
    all
}

fn collect(section: &'static Section, into: &mut BTreeMap<&'static str, &'static Section>) {
    if into.insert(section.id, section).is_none() {
        for key in section.keys {
            within(&key.takes, into);
        }
    }
}

fn within(takes: &'static ValueType, into: &mut BTreeMap<&'static str, &'static Section>) {
    match takes {
        ValueType::Map(section) => collect(section, into),
        ValueType::List(item) => within(item, into),
        ValueType::Either(several) => several.iter().for_each(|one| within(one, into)),
        _ => {}
    }
}

/// A number of any size.
const NUMBER: ValueType = ValueType::Number(f64::MIN, f64::MAX);
