//! Spelling a value in the style of its surroundings.

use super::{Format, NodeValue};
use crate::node::MapEntry;
use crate::yaml;

/// Quotes of a text as it was written before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotes {
    /// `'…'`
    Single,
    /// `"…"`
    Double,
    /// No quotes, or unknown ones.
    Plain,
}

impl Quotes {
    /// Quotes of the text that begins with these characters.
    pub(super) fn of(written: &str) -> Self {
        match written.as_bytes().first() {
            Some(b'\'') => Self::Single,
            Some(b'"') => Self::Double,
            _ => Self::Plain,
        }
    }
}

/// Position of a value to be written: some signs end a text inside brackets and not outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ValueContext {
    pub(super) format: Format,
    /// Inside `{…}` or `[…]`.
    pub(super) flow: bool,
    /// Preferred for texts.
    pub(super) quotes: Quotes,
}

/// The value on one line. `typed` is how a person wrote a number or the like.
pub(super) fn value(new: &NodeValue, typed: Option<&str>, manner: ValueContext) -> String {
    match new {
        NodeValue::Null => "null".to_owned(),
        NodeValue::Bool(flag) => flag.to_string(),
        NodeValue::Number(number) => match (typed, manner.format) {
            (Some(typed), Format::Yaml) => typed.to_owned(),
            (Some(typed), Format::Json) if serde_json::from_str::<f64>(typed).is_ok() => typed.to_owned(),
            _ => json_number(*number).to_string(),
        },
        NodeValue::Text(content) => text(content, manner),
        NodeValue::List(items) => {
            let inner = ValueContext { flow: true, ..manner };
            let items: Vec<_> = items.iter().map(|item| value(&item.value, None, inner)).collect();
            format!("[{}]", items.join(", "))
        }
        NodeValue::Map(entries) => {
            let inner = ValueContext { flow: true, ..manner };
            let pair = |entry: &MapEntry| {
                let spelled = value(&entry.value.value, None, inner);
                format!("{}: {spelled}", key(&entry.key, inner))
            };
            let pairs: Vec<_> = entries.iter().map(pair).collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

/// A key, without its colon.
pub(super) fn key(name: &str, manner: ValueContext) -> String {
    let plain = |name: &str| {
        let read = yaml::read(&format!("{{{name}: 0}}"));
        read.is_ok_and(|document| match document.root.value {
            NodeValue::Map(entries) => entries.len() == 1 && entries[0].key == name && !entries[0].merged,
            _ => false,
        })
    };
    if manner.format == Format::Yaml && is_simple(name) && plain(name) {
        name.to_owned()
    } else {
        double(name)
    }
}

fn text(content: &str, manner: ValueContext) -> String {
    if manner.format == Format::Json {
        return double(content);
    }
    let one_line = !content.chars().any(char::is_control);
    match manner.quotes {
        Quotes::Single if one_line => format!("'{}'", content.replace('\'', "''")),
        Quotes::Plain if one_line && is_plain(content, manner.flow) => content.to_owned(),
        _ => double(content),
    }
}

/// True if YAML reads these signs as this text, and older readers do so, too.
fn is_plain(content: &str, flow: bool) -> bool {
    const OLD_FLAGS: [&str; 6] = ["yes", "no", "on", "off", "y", "n"];
    if !is_simple(content) || OLD_FLAGS.iter().any(|flag| content.eq_ignore_ascii_case(flag)) {
        return false;
    }
    let read = if flow {
        yaml::read(&format!("[{content}]"))
    } else {
        yaml::read(&format!("- {content}\n- x\n"))
    };
    read.is_ok_and(|document| match document.root.value {
        NodeValue::List(items) => {
            let first = items.first().map(|item| &item.value);
            items.len() == if flow { 1 } else { 2 }
                && matches!(first, Some(NodeValue::Text(text)) if text == content)
                && document.notes.is_empty()
        }
        _ => false,
    })
}

fn is_simple(content: &str) -> bool {
    !content.is_empty() && content.trim() == content && !content.starts_with(['"', '\'', '&', '*', '!', '%', '@', '`'])
}

/// Text in double quotes; what JSON escapes, YAML reads in the same way.
fn double(content: &str) -> String {
    let mut quoted = String::from("\"");
    for c in content.chars() {
        match c {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '\n' => quoted += "\\n",
            '\t' => quoted += "\\t",
            '\r' => quoted += "\\r",
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                quoted += &format!("\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Whole numbers without a fraction, as people write them.
pub(super) fn json_number(number: f64) -> serde_json::Value {
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
        serde_json::Value::from(number as i64)
    } else {
        // What is no finite number becomes null, which JSON has instead.
        serde_json::Value::from(number)
    }
}
