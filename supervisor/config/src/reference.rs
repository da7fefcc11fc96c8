//! The reference of all keys as a Markdown page (`docs/config.md`), made from the tables of `keys` by which the reader
//! knows its keys.

use std::fmt::Write as _;

use serde_json::Value;

use crate::keys::{Key, MACHINE, Section, ValueType};

/// Text above the tables.
const HEAD: &str = "\
# Config reference

Every key of a config. How a file is written (formats, several files, variables) is in [Config files](config-files.md), how modules are
treated in [Modules](modules.md), how a change takes effect in [Changing a running machine](changing.md).

This page is generated: `mainstay schema --markdown > docs/config.md`. Its texts stand in the tables of `config/keys`, as do those of
`mainstay schema`.

A *duration* is a text like `500ms`, `2s` or `1m30s`; a *size* is a number of bytes or a text like `200MB` or `128MiB`.
";

/// The whole page.
#[must_use]
pub fn reference() -> String {
    let mut page = ReferencePage {
        text: HEAD.to_owned(),
        done: Vec::new(),
    };
    page.section(&MACHINE, "Top level");
    page.text
}

/// The page as far as it is written.
struct ReferencePage {
    text: String,
    /// Sections that have their table, and under which heading.
    done: Vec<(&'static Section, String)>,
}

impl ReferencePage {
    /// A heading, a table, and then the sections that are met in the table for the first time.
    fn section(&mut self, section: &'static Section, heading: &str) {
        if self.heading(section).is_some() {
            return;
        }
        let same = self.done.iter().find(|(other, _)| same_keys(other, section));
        let same = same.map(|(_, heading)| heading.clone());
        self.done.push((section, heading.to_owned()));
        let _ = write!(self.text, "\n## {heading}\n\n");
        if let Some(same) = same {
            let none = if section.required.is_empty() {
                ", of which none is required here"
            } else {
                ""
            };
            let _ = writeln!(self.text, "The keys of [{same}](#{}){none}.", anchor(&same));
            return;
        }
        let (ignored, keys): (Vec<&Key>, Vec<&Key>) = section
            .keys
            .iter()
            .partition(|key| matches!(key.takes, ValueType::Ignored));
        let below = |key: &Key| match section.id == MACHINE.id {
            true => key.name.to_owned(),
            false => format!("{heading}.{}", key.name),
        };
        if !keys.is_empty() {
            self.text += "| Key | Takes | Default | Meaning |\n|---|---|---|---|\n";
        }
        for key in &keys {
            let default = match key.default.json() {
                _ if section.required.contains(&key.name) => "required".to_owned(),
                None => String::new(),
                Some(Value::String(text)) if text.is_empty() => "empty".to_owned(),
                Some(Value::String(text)) => format!("`{text}`"),
                Some(other) => format!("`{other}`"),
            };
            let takes = self.takes(&key.takes, &below(key));
            let remark = key.force.remark().map(|remark| format!(" {remark}"));
            let about = format!("{}{}", key.about, remark.unwrap_or_default()).replace('|', "\\|");
            let _ = writeln!(self.text, "| `{}` | {takes} | {default} | {about} |", key.name);
        }
        if !ignored.is_empty() {
            let names: Vec<&str> = ignored.iter().map(|key| key.name).collect();
            let _ = writeln!(self.text, "\nRead, and without effect: {}.", quoted(&names));
        }
        for key in &keys {
            self.within(&key.takes, &below(key));
        }
    }

    fn heading(&self, section: &Section) -> Option<&str> {
        let known = self.done.iter().find(|(done, _)| done.id == section.id);
        known.map(|(_, heading)| heading.as_str())
    }

    fn within(&mut self, takes: &'static ValueType, heading: &str) {
        match takes {
            ValueType::Map(section) | ValueType::Named(section) => self.section(section, heading),
            ValueType::List(item) => self.within(item, heading),
            ValueType::Either(forms) => forms
                .iter()
                .for_each(|form| self.within(form, &form_heading(forms, form, heading))),
            _ => {}
        }
    }

    /// Type of a key's value, in words.
    fn takes(&self, takes: &ValueType, heading: &str) -> String {
        match takes {
            ValueType::Text | ValueType::Api | ValueType::Model | ValueType::Subtype(_) => "text".to_owned(),
            ValueType::Word(words) | ValueType::AnyCase(words) => quoted(words),
            ValueType::Flag => quoted(&["true", "false"]),
            ValueType::Number(..) => limited("number", takes),
            ValueType::Whole(..) => limited("whole number", takes),
            ValueType::Duration(..) | ValueType::Interval => limited("duration", takes),
            ValueType::Size(..) => limited("size", takes),
            ValueType::Map(section) => format!("[map](#{})", anchor(self.heading(section).unwrap_or(heading))),
            ValueType::Named(section) => {
                self.takes(&ValueType::Map(section), heading)
                    .replacen("[map]", "[map of maps]", 1)
            }
            ValueType::Free => "map".to_owned(),
            ValueType::Texts => "map of texts".to_owned(),
            ValueType::List(item) => match self.takes(item, heading) {
                map if map.starts_with("[map]") => map.replacen("[map]", "[list of maps]", 1),
                other => format!("list of {other}s"),
            },
            ValueType::Either(forms) => {
                let told = forms
                    .iter()
                    .map(|form| self.takes(form, &form_heading(forms, form, heading)));
                told.collect::<Vec<_>>().join(" or ")
            }
            ValueType::Ignored => String::new(),
        }
    }
}

/// Several maps that a key may take each have a heading of their own.
fn form_heading(forms: &[ValueType], form: &ValueType, heading: &str) -> String {
    let maps = forms.iter().filter(|form| matches!(form, ValueType::Map(_))).count();
    match form {
        ValueType::Map(section) if maps > 1 => {
            let kind = section.id.rsplit('_').next().unwrap_or(section.id);
            format!("{heading} ({kind})")
        }
        _ => heading.to_owned(),
    }
}

/// A kind of value with its range, if it has one.
fn limited(kind: &str, takes: &ValueType) -> String {
    match takes.range() {
        Some([least, most]) => format!("{kind}, {least} to {most}"),
        None => kind.to_owned(),
    }
}

fn quoted(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

/// True if two sections would have the same table.
fn same_keys(one: &Section, other: &Section) -> bool {
    let texts = |section: &Section| section.keys.iter().map(|key| (key.name, key.about)).collect::<Vec<_>>();
    texts(one) == texts(other)
}

/// Anchor of a heading, as pages link to it: its letters, digits, dashes and underscores.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}
