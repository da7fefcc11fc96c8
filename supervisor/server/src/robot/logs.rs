//! Log entries of modules, written into the core's own log.

use mainstay_model::ModuleName;
use mainstay_model::text::plain;
use mainstay_proto::viam::common::v1::LogEntry;
use mainstay_runtime::module::output;
use mainstay_runtime::module::output::ModuleOutput;
use prost_types::{Struct, value::Kind};
use tracing::{Level, event};

/// A level by any word that an SDK uses. What is above ERROR is ERROR, and a word that nobody knows is INFO: a line
/// with a strange level is worth more than none.
pub fn level(word: &str) -> Level {
    output::word(word).unwrap_or(Level::INFO)
}

/// Writes one entry, and keeps it with what the module printed. Filtering is the module's job: what it sends is wanted.
pub fn write(module: Option<&ModuleName>, entry: &LogEntry, output: Option<&ModuleOutput>) {
    let module = module.map_or("", ModuleName::as_str);
    let logger = Some(plain(&entry.logger_name)).filter(|name| !name.is_empty());
    let message = message(entry);
    if let Some(output) = output {
        let name = logger.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        output.logged(level(&entry.level), &format!("{name}{message}"));
    }
    match level(&entry.level) {
        Level::TRACE => event!(target: "module", Level::TRACE, module, logger, "{message}"),
        Level::DEBUG => event!(target: "module", Level::DEBUG, module, logger, "{message}"),
        Level::INFO => event!(target: "module", Level::INFO, module, logger, "{message}"),
        Level::WARN => event!(target: "module", Level::WARN, module, logger, "{message}"),
        Level::ERROR => event!(target: "module", Level::ERROR, module, logger, "{message}"),
    }
}

/// Message of an entry. Lines after the first are marked, so that no line can pass for an entry of its own.
fn message(entry: &LogEntry) -> String {
    let mut message = entry.message.clone();
    for (key, value) in entry.fields.iter().filter_map(field) {
        message.push_str(&format!(" {key}={value}"));
    }
    if let Some(place) = entry.caller.as_ref().and_then(caller) {
        message.push_str(&format!(" ({place})"));
    }
    let lines: Vec<_> = message.trim_end().lines().map(plain).collect();
    lines.join("\n    | ")
}

/// Key and value of a field in the form that Go's zap library gives it: the value stands under a key of its own type.
fn field(field: &Struct) -> Option<(String, String)> {
    let key = text(field.fields.get("Key")?)?;
    let candidates = ["String", "Integer", "Interface"]
        .iter()
        .filter_map(|name| field.fields.get(*name));
    let value = candidates
        .filter_map(text)
        .find(|text| !text.is_empty() && text != "0")
        .unwrap_or_default();
    Some((key, value))
}

fn caller(caller: &Struct) -> Option<String> {
    let defined = matches!(caller.fields.get("Defined")?.kind, Some(Kind::BoolValue(true)));
    let file = text(caller.fields.get("File")?)?;
    let line = text(caller.fields.get("Line")?)?;
    defined.then(|| format!("{file}:{line}"))
}

fn text(value: &prost_types::Value) -> Option<String> {
    match value.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.clone()),
        Kind::NumberValue(number) => Some(number.to_string()),
        Kind::BoolValue(bool) => Some(bool.to_string()),
        Kind::NullValue(_) => None,
        Kind::StructValue(_) | Kind::ListValue(_) => Some(format!("{value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_steer_the_terminal_nor_forge_an_entry() {
        let entry = |message: &str| LogEntry {
            message: message.into(),
            ..LogEntry::default()
        };
        for (sent, shown) in [
            ("up", "up"),
            ("\x1b[31mred\x1b[0m\n", "red"),
            (
                "Traceback\n  line 1\nERROR forged",
                "Traceback\n    |   line 1\n    | ERROR forged",
            ),
            ("", ""),
        ] {
            assert_eq!(message(&entry(sent)), shown);
        }
    }

    #[test]
    fn every_word_of_every_sdk_has_a_level() {
        for (word, expected) in [
            ("debug", Level::DEBUG),
            ("INFO", Level::INFO),
            ("Warning", Level::WARN),
            ("warn", Level::WARN),
            ("CRITICAL", Level::ERROR),
            ("trace", Level::TRACE),
            ("", Level::INFO),
            ("loud", Level::INFO),
        ] {
            assert_eq!(level(word), expected, "{word}");
        }
    }
}
