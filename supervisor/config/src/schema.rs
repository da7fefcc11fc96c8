//! The JSON Schema of a config (draft 2020-12), for editors that complete and check.
//!
//! Made from the tables of `keys` by which the reader knows its keys. It is as strict as the reader where the reader
//! refuses or finds an error, and besides points out keys that nobody reads. Where a variable may stand for a number or a
//! flag (YAML without quotes), a text that begins with `$` passes.

use serde_json::{Map, Value, json};

use crate::keys::{COMPONENT, Force, IGNORED, Key, MACHINE, MODULE, PART, SERVICE, Section, ValueType, json_number};
use crate::{keys, names};

const DURATION: &str =
    r"^[+-]?(0|([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*)$";
const SIZE: &str = r"^([0-9]+\.?[0-9]*|\.[0-9]+) *([bB]|[kKmMgGtT][iI]?[bB])?$";
const TRIPLET: &str = r"^[A-Za-z0-9_-]+:[A-Za-z0-9_-]+:[A-Za-z0-9_-]+$";
const WORD: &str = r"^[A-Za-z0-9_-]+$";
/// A variable that is put in before the text is read.
const VARIABLE: &str = r"\$";

/// The schema of a whole config.
#[must_use]
pub fn schema() -> Value {
    let machine = section(&MACHINE);
    let definitions: Map<String, Value> = keys::all()
        .into_iter()
        .filter(|(id, _)| *id != MACHINE.id)
        .map(|(id, part)| (id.to_owned(), Value::Object(section(part))))
        .chain([("variable".to_owned(), variable())])
        .collect();
    let mut root = Map::new();
    root.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("title".into(), json!("A Mainstay machine"));
    root.extend(machine);
    root.insert("$defs".into(), Value::Object(definitions));
    Value::Object(root)
}

fn variable() -> Value {
    json!({"type": "string", "pattern": VARIABLE, "description": "A variable of the environment, like `${NAME}`."})
}

fn section(section: &Section) -> Map<String, Value> {
    let mut properties: Map<String, Value> = section
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    for (key, why) in IGNORED.iter().filter(|(key, _)| belongs(key, section)) {
        let ignored = match *why {
            "" if *key == "$schema" => json!({"type": "string", "description": "Where an editor finds the schema."}),
            "" => json!({"description": "For people; nothing reads it."}),
            why => json!({"deprecated": true, "description": format!("Has no effect: {why}.")}),
        };
        properties.insert((*key).to_owned(), ignored);
    }
    let mut schema = Map::new();
    schema.insert("type".into(), json!("object"));
    schema.insert("properties".into(), Value::Object(properties));
    schema.insert("additionalProperties".into(), json!(false));
    if !section.required.is_empty() {
        schema.insert("required".into(), json!(section.required));
    }
    // Its config is in a file or here.
    if section.id == PART.id {
        schema.insert(
            "oneOf".into(),
            json!([{"required": ["config_file"]}, {"required": ["config"]}]),
        );
    }
    // The API is said in one way or the other.
    if section.id == COMPONENT.id || section.id == SERVICE.id {
        schema.insert("anyOf".into(), json!([{"required": ["api"]}, {"required": ["type"]}]));
    }
    schema
}

/// True if a key that nobody reads is usual in this map.
fn belongs(key: &str, section: &Section) -> bool {
    match key {
        "disabled" => [COMPONENT.id, SERVICE.id, MODULE.id].contains(&section.id),
        "notes" | "ui_folder" => [COMPONENT.id, SERVICE.id, MODULE.id].contains(&section.id),
        "localversion" | "reload_path" | "reload_enabled" => section.id == MODULE.id,
        _ => section.id == MACHINE.id,
    }
}

fn property(key: &Key) -> Value {
    let mut schema = match takes(&key.takes) {
        Value::Object(schema) => schema,
        _ => Map::new(),
    };
    match key.force {
        Force::Full => {}
        Force::Unmet(_) => {
            schema.insert("deprecated".into(), json!(true));
        }
    }
    // A schema cannot limit the meaning of a text.
    let range = match &key.takes {
        ValueType::Duration(..) | ValueType::Size(..) => key.takes.range(),
        _ => None,
    };
    let about = key
        .force
        .remark()
        .map_or(key.about.to_owned(), |remark| format!("{} {remark}", key.about));
    let about = range.map_or(about.clone(), |[least, most]| {
        format!("{about} Between {least} and {most}.")
    });
    schema.insert("description".into(), json!(about));
    if let Some(default) = key.default.json() {
        schema.insert("default".into(), default);
    }
    Value::Object(schema)
}

fn takes(what: &ValueType) -> Value {
    match what {
        ValueType::Text => json!({"type": "string"}),
        ValueType::Api => json!({"anyOf": [{"enum": apis()}, {"type": "string", "pattern": TRIPLET}, or_variable()]}),
        ValueType::Model => json!({"anyOf": [
            {"type": "string", "pattern": TRIPLET}, {"type": "string", "pattern": WORD}, or_variable()
        ]}),
        ValueType::Subtype(kind) => {
            let standard: Vec<&str> = names::standard(kind).collect();
            json!({"anyOf": [{"enum": standard}, {"type": "string"}]})
        }
        ValueType::Word(words) => json!({"anyOf": [{"enum": words}, or_variable()]}),
        ValueType::AnyCase(words) => {
            let forms = words.iter().flat_map(|word| {
                let (first, rest) = word.split_at(1);
                [
                    (*word).to_owned(),
                    word.to_ascii_uppercase(),
                    first.to_ascii_uppercase() + rest,
                ]
            });
            json!({"anyOf": [{"enum": forms.collect::<Vec<String>>()}, or_variable()]})
        }
        ValueType::Flag => json!({"anyOf": [{"type": "boolean"}, or_variable()]}),
        ValueType::Number(least, most) => json!({"anyOf": [limits("number", *least, *most), or_variable()]}),
        ValueType::Whole(least, most) => {
            json!({"anyOf": [limits("integer", *least as f64, *most as f64), or_variable()]})
        }
        ValueType::Duration(..) | ValueType::Interval => {
            json!({"anyOf": [{"type": "string", "pattern": DURATION}, or_variable()]})
        }
        ValueType::Size(least, most) => json!({"anyOf": [
            limits("integer", *least as f64, *most as f64), {"type": "string", "pattern": SIZE}, or_variable()
        ]}),
        ValueType::Map(section) if section.id == MACHINE.id => json!({"$ref": "#"}),
        ValueType::Map(section) => json!({"$ref": format!("#/$defs/{}", section.id)}),
        ValueType::Free => json!({"type": "object"}),
        ValueType::Texts => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        ValueType::Named(section) => {
            let value = takes(&ValueType::Map(section));
            json!({"type": "object", "additionalProperties": value})
        }
        ValueType::List(item) => json!({"type": "array", "items": takes(item)}),
        ValueType::Either(several) => json!({"anyOf": several.iter().map(takes).collect::<Vec<Value>>()}),
        ValueType::Ignored => json!({"deprecated": true}),
    }
}

fn or_variable() -> Value {
    json!({"$ref": "#/$defs/variable"})
}

fn limits(kind: &str, least: f64, most: f64) -> Value {
    let mut schema = Map::new();
    schema.insert("type".into(), json!(kind));
    if least > f64::MIN {
        schema.insert("minimum".into(), json_number(least));
    }
    if most < f64::MAX {
        schema.insert("maximum".into(), json_number(most));
    }
    Value::Object(schema)
}

/// The standard APIs.
fn apis() -> Vec<String> {
    ["component", "service"]
        .into_iter()
        .flat_map(|kind| names::standard(kind).map(move |subtype| format!("rdk:{kind}:{subtype}")))
        .collect()
}
