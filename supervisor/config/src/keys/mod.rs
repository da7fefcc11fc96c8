//! Every map of a config and its keys: what each takes, what it means, what counts if it is not there.
//!
//! The reader knows no keys but these and takes their ranges, words and defaults from here (`values`); the schema and the
//! reference are made from them. So they cannot drift apart; tests hold against the reader what is not taken from here.

mod access;
mod connections;
mod entries;
mod machine;
mod policy;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use serde_json::{Value, json};

use crate::size;

pub(super) use crate::keys::access::{ACCESS_RULE, HANDLER, ROLE};
pub(super) use crate::keys::connections::{PART, REMOTE, TUNNEL};
pub(super) use crate::keys::entries::{
    API, COMPONENT, EULER, FRAME, GEOMETRY, MODEL, MODULE, QUATERNION, SERVICE, SERVICE_CONFIG, VECTOR,
};
pub(super) use crate::keys::machine::{JOB, LOG_RULE, MACHINE, PACKAGE, PROCESS};
pub(super) use crate::keys::policy::{ACCESS, OUTPUT, RESTART};

/// Keys of a section, one row each: name, what it takes, its default if it has one, what happens instead if this version
/// does nothing about it, its meaning.
macro_rules! keys {
    ($($name:literal: $takes:expr
        $(, default $kind:ident($default:expr))? $(, but $force:ident($instead:literal))?, $about:literal;)*) => {
        &[$($crate::keys::Key {
            name: $name,
            takes: $takes,
            about: $about,
            default: $crate::keys::DefaultValue::Absent$(.or(const { $crate::keys::DefaultValue::$kind($default) }))?,
            force: $crate::keys::Force::Full$(.or($crate::keys::Force::$force($instead)))?,
        }),*]
    };
}
use keys;

/// Reason why fragments have no effect.
const FRAGMENTS: &str = "fragments are merged by the cloud before a machine sees them, so nothing of them is here: put what they hold into this file";

/// Keys that others read, or once read. They are known, and they do nothing.
pub(super) const IGNORED: [(&str, &str); 14] = [
    (
        "disabled",
        "nothing reads it: the entry runs all the same; remove the entry to switch it off",
    ),
    (
        "disable_partial_start",
        "it was abolished: a broken entry never stops the others",
    ),
    ("fragments", FRAGMENTS),
    ("fragment_mods", FRAGMENTS),
    ("fragment_variables", FRAGMENTS),
    ("overwrite_fragment_status", FRAGMENTS),
    (
        "triggers",
        "triggers belong to the cloud: nobody is told anything; write a job, or a program that watches the machine",
    ),
    (
        "reload_path",
        "it belongs to another program: what runs is `executable_path`, and `watch: true` restarts it when that file changes",
    ),
    (
        "reload_enabled",
        "it belongs to another program: `watch: true` restarts the module when its program's file changes",
    ),
    (
        "agent",
        "it belongs to the program that updates another server: nothing is updated and no network is set up",
    ),
    ("notes", ""),
    ("ui_folder", ""),
    ("localversion", "it is internal to another server"),
    ("$schema", ""),
];

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The words of a table of words and their meanings.
const fn words<T, const N: usize>(table: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = table[at].0;
        at += 1;
    }
    words
}

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
    /// Whether messages name a key with the section in front: `health.interval`.
    prefixed: bool,
}

impl Section {
    /// A map of which no key is required.
    const fn new(what: &'static str, id: &'static str, keys: &'static [Key]) -> Self {
        Self {
            what,
            id,
            keys,
            required: &[],
            prefixed: false,
        }
    }

    const fn prefixed(mut self) -> Self {
        self.prefixed = true;
        self
    }

    const fn requiring(mut self, required: &'static [&'static str]) -> Self {
        self.required = required;
        self
    }

    /// Name of a key in messages.
    pub(super) fn label(&self, key: &str) -> String {
        if self.prefixed {
            format!("`{}.{key}`", self.id)
        } else {
            format!("`{key}`")
        }
    }

    /// The row of a key.
    ///
    /// # Panics
    /// The key is in no table.
    pub(super) fn key(&self, name: &str) -> &'static Key {
        let row = self.keys.iter().find(|key| key.name == name);
        row.unwrap_or_else(|| panic!("{} has no key `{name}`", self.what))
    }

    /// True if a key that is not in here was most likely meant to close the machine to somebody.
    pub(super) fn guards(&self, unknown: &str, meant: Option<&str>) -> bool {
        let unknown = unknown.to_ascii_lowercase();
        match self.id {
            // What limits a rule must not be lost in it.
            "auth" | "role" | "access_rule" => true,
            "machine" => meant == Some("auth") || unknown.starts_with("auth") || unknown.starts_with("tls"),
            "network" => {
                let is_tls = |key: &str| key.starts_with("tls");
                meant.is_some_and(is_tls) || unknown.starts_with("auth") || is_tls(&unknown)
            }
            _ => false,
        }
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
    pub(super) default: DefaultValue,
    pub(super) force: Force,
}

/// Whether this version does what a key asks for, else what happens instead.
#[derive(Debug, Clone, Copy)]
pub(super) enum Force {
    /// It does.
    Full,
    /// It does not, which is a warning where the key is used.
    Unmet(&'static str),
}

impl Force {
    const fn or(self, other: Self) -> Self {
        other
    }

    /// What the documentation of the key says about it.
    pub(super) fn remark(&self) -> Option<String> {
        match self {
            Self::Full => None,
            Self::Unmet(instead) => Some(format!("Not in force yet: {instead}.")),
        }
    }
}

/// Value that counts if a key is not there.
#[derive(Debug, Clone, Copy)]
pub(super) enum DefaultValue {
    /// There is none, or it cannot be said in a word.
    Absent,
    Flag(bool),
    Number(f64),
    Duration(Duration),
    Size(u64),
    Text(&'static str),
}

impl DefaultValue {
    const fn or(self, other: Self) -> Self {
        other
    }

    /// The value as it is written in a config.
    pub(super) fn json(&self) -> Option<Value> {
        Some(match self {
            Self::Absent => return None,
            Self::Flag(flag) => json!(flag),
            Self::Number(number) => json_number(*number),
            Self::Duration(duration) => json!(shown(*duration)),
            Self::Size(bytes) => json!(size::show(*bytes)),
            Self::Text(text) => json!(text),
        })
    }
}

/// A number as JSON, without a fraction where it has none.
pub(super) fn json_number(number: f64) -> Value {
    if number.fract() == 0.0 {
        json!(number as i64)
    } else {
        json!(number)
    }
}

/// A duration without zeros that a person would not write: `1h`, not `1h0m0s`.
pub(super) fn shown(duration: Duration) -> String {
    let text = mainstay_model::duration::show(duration);
    let text = text.strip_suffix("m0s").map_or(text.clone(), |rest| format!("{rest}m"));
    text.strip_suffix("h0m").map_or(text.clone(), |rest| format!("{rest}h"))
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
    /// A text like `1m30s`, between these.
    Duration(Duration, Duration),
    /// A duration of any length, of which zero and less mean the default, as peers have it.
    Interval,
    /// A number of bytes, or a text like `200MB`, between these.
    Size(u64, u64),
    /// A map with known keys.
    Map(&'static Section),
    /// A map with keys of any name and values of any type.
    Free,
    /// A map with keys of any name and texts.
    Texts,
    /// A map with keys of any name, each with a map of known keys.
    Named(&'static Section),
    /// A list of these.
    List(&'static Self),
    /// Any of these.
    Either(&'static [Self]),
    /// Any value: nothing reads it.
    Ignored,
}

impl ValueType {
    /// Least and most value, as a person writes them. `None`: not limited, or no such thing.
    pub(super) fn range(&self) -> Option<[String; 2]> {
        fn both<T: Display>(least: T, most: T) -> Option<[String; 2]> {
            Some([least.to_string(), most.to_string()])
        }
        match self {
            Self::Number(least, most) if *least > f64::MIN && *most < f64::MAX => both(least, most),
            Self::Whole(least, most) => both(least, most),
            Self::Duration(least, most) => both(shown(*least), shown(*most)),
            Self::Size(least, most) => both(size::show(*least), size::show(*most)),
            _ => None,
        }
    }

    /// This type and, if it is one of several, each of them.
    pub(super) fn forms(&self) -> &[Self] {
        match self {
            Self::Either(forms) => forms,
            one => std::slice::from_ref(one),
        }
    }
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
        ValueType::Map(section) | ValueType::Named(section) => collect(section, into),
        ValueType::List(item) => within(item, into),
        ValueType::Either(several) => several.iter().for_each(|one| within(one, into)),
        _ => {}
    }
}
