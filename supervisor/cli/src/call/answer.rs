//! A message as JSON for people and scripts: fields under their proto names in the order of the proto, maps sorted,
//! structs as plain JSON. What becomes of bytes is decided by the caller.

use prost_reflect::{DynamicMessage, Kind, ReflectMessage as _, SerializeOptions, Value as Field};
use serde_json::{Map, Value};

use super::blobs::{Blob, BytesAs};
use crate::failure::CliError;

/// Turns a message into JSON. Fields without a value are left out only where the proto distinguishes them from zero.
///
/// # Errors
/// Bytes were to be written to a file and could not.
pub fn to_json(message: &DynamicMessage, bytes_as: &BytesAs) -> Result<Value, CliError> {
    let descriptor = message.descriptor();
    if is_well_known(descriptor.full_name()) {
        return Ok(well_known(message));
    }
    let mut object = Map::new();
    for field in descriptor.fields() {
        if field.supports_presence() && !message.has_field(&field) {
            continue;
        }
        let blob = Blob {
            within: message,
            field: field.name(),
        };
        object.insert(
            field.name().to_owned(),
            value(&message.get_field(&field), &field.kind(), blob, bytes_as)?,
        );
    }
    Ok(Value::Object(object))
}

/// True for Google's own types, whose JSON is a plain value and not their fields.
pub fn is_well_known(full_name: &str) -> bool {
    full_name.starts_with("google.protobuf.")
}

fn value(field: &Field, kind: &Kind, blob: Blob<'_>, bytes_as: &BytesAs) -> Result<Value, CliError> {
    Ok(match field {
        Field::Bool(value) => Value::from(*value),
        Field::I32(value) => Value::from(*value),
        Field::I64(value) => Value::from(*value),
        Field::U32(value) => Value::from(*value),
        Field::U64(value) => Value::from(*value),
        // By way of its text: 0.1 as a float is 0.1 for a person, not 0.10000000149011612.
        Field::F32(value) if value.is_finite() => value.to_string().parse().map_or(Value::Null, number),
        Field::F32(value) => number(f64::from(*value)),
        Field::F64(value) => number(*value),
        Field::String(text) => Value::from(text.as_str()),
        Field::Bytes(bytes) => bytes_as.render(bytes, blob)?,
        Field::EnumNumber(number) => {
            let name = kind.as_enum().and_then(|descriptor| descriptor.get_value(*number));
            name.map_or_else(|| Value::from(*number), |name| Value::from(name.name()))
        }
        Field::Message(message) => to_json(message, bytes_as)?,
        Field::List(items) => Value::Array(
            items
                .iter()
                .map(|item| value(item, kind, blob, bytes_as))
                .collect::<Result<_, _>>()?,
        ),
        Field::Map(entries) => {
            let value_kind = kind.as_message().map(|entry| entry.map_entry_value_field().kind());
            let value_kind = value_kind.as_ref().unwrap_or(kind);
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            let mut object = Map::new();
            for (key, item) in sorted {
                let key = match value(&key.clone().into(), kind, blob, bytes_as)? {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                object.insert(key, value(item, value_kind, blob, bytes_as)?);
            }
            Value::Object(object)
        }
    })
}

/// A whole number without `.0`, as every other proto3 JSON has it; what JSON has no number for by its proto3 name.
fn number(value: f64) -> Value {
    /// Beyond this, not every whole number is a double, and digits would promise too much.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        Value::from(value as i64)
    } else if value.is_finite() {
        Value::from(value)
    } else if value.is_nan() {
        Value::from("NaN")
    } else {
        Value::from(if value > 0.0 { "Infinity" } else { "-Infinity" })
    }
}

fn well_known(message: &DynamicMessage) -> Value {
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .skip_default_fields(false);
    match message.serialize_with_options(serde_json::value::Serializer, &options) {
        Ok(value) => natural(value),
        // A timestamp beyond the year 9999, or a value without a kind: show that it is there.
        Err(error) => Value::from(format!("<{error}>")),
    }
}

/// Struct fields come out of a hash map; the same answer should look the same twice. All their numbers are doubles.
fn natural(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<(String, Value)> = object.into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(entries.into_iter().map(|(key, value)| (key, natural(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(natural).collect()),
        Value::Number(given) => given
            .as_f64()
            .filter(|_| given.is_f64())
            .map_or(Value::Number(given), number),
        value => value,
    }
}
