//! Parameters: texts of the path, the query and forms, put into fields of the request.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::percent_decode_str;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, Value};
use serde_json::json;

/// Most fields inside each other that a parameter may name.
const MAX_DEPTH: usize = 32;

/// Most parameters of a query or a form.
const MAX_COUNT: usize = 1000;

/// Error for a parameter that does not fit its field.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadParameter {
    /// The text is no value of the field's type.
    #[error("parameter `{name}` is `{}`, but must be {expected}", shown(.text))]
    Value {
        name: String,
        text: String,
        expected: String,
    },
    #[error("parameter `{0}` is given {1} times, but its field takes one value")]
    Several(String, usize),
    #[error("parameter `{0}` is a map, which only a body in JSON can fill")]
    Map(String),
    #[error("parameter `{0}` is one of `{1}`, of which another is set as well; give one of them")]
    Oneof(String, String),
    #[error("parameter `{0}` names more than {MAX_DEPTH} fields inside each other")]
    Depth(String),
    #[error("the query or form has more than {MAX_COUNT} parameters; send the request as a body in JSON")]
    Count,
    #[error("`{}` in the query or form is no percent-encoded UTF-8", shown(.0))]
    Encoding(String),
}

/// The beginning of a text that somebody sent.
fn shown(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Parameters of a query or a form, in their order, those of one name together.
///
/// # Errors
/// They are too many, or one is no percent-encoded UTF-8.
pub fn read(text: &str) -> Result<Vec<(String, Vec<String>)>, BadParameter> {
    let mut parameters: Vec<(String, Vec<String>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (count, pair) in text.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        if count == MAX_COUNT {
            return Err(BadParameter::Count);
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |part: &str| {
            let spaced = part.replace('+', " ");
            let decoded = percent_decode_str(&spaced).decode_utf8();
            decoded
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| BadParameter::Encoding(pair.to_owned()))
        };
        let (name, value) = (decode(name)?, decode(value)?);
        match places.get(&name).and_then(|place| parameters.get_mut(*place)) {
            Some((_, values)) => values.push(value),
            None => {
                places.insert(name.clone(), parameters.len());
                parameters.push((name, vec![value]));
            }
        }
    }
    Ok(parameters)
}

/// Puts a parameter into the field that it names, with dots between fields inside each other. One that names no field is
/// ignored, as peers do.
///
/// # Errors
/// The texts do not fit the field.
pub fn fill(message: &mut DynamicMessage, name: &str, texts: &[String]) -> Result<(), BadParameter> {
    let names: Vec<&str> = name.split('.').collect();
    if names.len() > MAX_DEPTH {
        return Err(BadParameter::Depth(name.to_owned()));
    }
    let Some((last, outer)) = names.split_last() else {
        return Ok(());
    };
    let mut message = message;
    for part in outer {
        let Some(field) = field_of(message, part).filter(|field| !field.is_list() && !field.is_map()) else {
            return Ok(());
        };
        if field.kind().as_message().is_none() {
            return Ok(());
        }
        alone(message, &field, name)?;
        let Value::Message(inner) = message.get_field_mut(&field) else {
            return Ok(());
        };
        message = inner;
    }
    let Some(field) = field_of(message, last) else {
        return Ok(());
    };
    if field.is_map() {
        return Err(BadParameter::Map(name.to_owned()));
    }
    let values = texts.iter().map(|text| {
        value(&field.kind(), text).ok_or_else(|| BadParameter::Value {
            name: name.to_owned(),
            text: text.clone(),
            expected: expected(&field.kind()),
        })
    });
    let mut values: Vec<Value> = values.collect::<Result<_, _>>()?;
    if field.is_list() {
        if let Some(list) = message.get_field_mut(&field).as_list_mut() {
            list.append(&mut values);
        }
        return Ok(());
    }
    alone(message, &field, name)?;
    match (values.pop(), values.len()) {
        (Some(value), 0) => message.set_field(&field, value),
        (_, others) => return Err(BadParameter::Several(name.to_owned(), others + 1)),
    }
    Ok(())
}

fn field_of(message: &DynamicMessage, name: &str) -> Option<FieldDescriptor> {
    use prost_reflect::ReflectMessage as _;
    let descriptor = message.descriptor();
    descriptor
        .get_field_by_name(name)
        .or_else(|| descriptor.get_field_by_json_name(name))
}

/// Refuses a field that would replace another of its oneof.
fn alone(message: &DynamicMessage, field: &FieldDescriptor, name: &str) -> Result<(), BadParameter> {
    let Some(oneof) = field.containing_oneof() else {
        return Ok(());
    };
    let other = oneof
        .fields()
        .find(|other| other.number() != field.number() && message.has_field(other));
    match other {
        Some(_) => Err(BadParameter::Oneof(name.to_owned(), oneof.name().to_owned())),
        None => Ok(()),
    }
}

/// A text as a value of this kind; `None` if it is none.
fn value(kind: &Kind, text: &str) -> Option<Value> {
    Some(match kind {
        Kind::Double => Value::F64(text.parse().ok()?),
        Kind::Float => Value::F32(text.parse().ok()?),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(text.parse().ok()?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(text.parse().ok()?),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(text.parse().ok()?),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(text.parse().ok()?),
        Kind::Bool => Value::Bool(match text {
            "true" | "True" | "TRUE" | "t" | "T" | "1" => true,
            "false" | "False" | "FALSE" | "f" | "F" | "0" => false,
            _ => return None,
        }),
        Kind::String => Value::String(text.to_owned()),
        Kind::Bytes => {
            // In a query that was not encoded, `+` has become a space.
            let text = text.replace(' ', "+");
            let bytes = STANDARD.decode(&text).or_else(|_| URL_SAFE.decode(&text));
            Value::Bytes(bytes.ok()?.into())
        }
        Kind::Enum(kind) => {
            let by_name = kind.get_value_by_name(text).map(|value| value.number());
            Value::EnumNumber(by_name.or_else(|| text.parse().ok())?)
        }
        Kind::Message(message) => {
            let json = match message.full_name() {
                "google.protobuf.Timestamp" | "google.protobuf.FieldMask" | "google.protobuf.StringValue" => {
                    json!(text)
                }
                "google.protobuf.BytesValue" => json!(text.replace(' ', "+")),
                "google.protobuf.Duration" => json!(duration(text)?),
                // 64-bit numbers are texts in JSON, and may be numbers.
                _ => serde_json::from_str(text).ok()?,
            };
            Value::Message(DynamicMessage::deserialize(message.clone(), json).ok()?)
        }
    })
}

/// A time span as JSON has it, from that or from the likes of `1h30m` and `250ms`.
fn duration(text: &str) -> Option<String> {
    let span: jiff::SignedDuration = text.parse().ok()?;
    let sign = if span.is_negative() { "-" } else { "" };
    let (seconds, nanos) = (span.as_secs().unsigned_abs(), span.subsec_nanos().unsigned_abs());
    Some(format!("{sign}{seconds}.{nanos:09}s"))
}

/// What a text of this kind must be.
fn expected(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "`true` or `false`".to_owned(),
        Kind::Bytes => "base64".to_owned(),
        Kind::Enum(kind) => {
            let names: Vec<_> = kind.values().map(|value| format!("`{}`", value.name())).collect();
            format!("one of {}", names.join(", "))
        }
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => "a time such as `2026-01-31T12:00:00Z`".to_owned(),
            "google.protobuf.Duration" => "a time span such as `1.5s`".to_owned(),
            other => format!("a {other} in JSON"),
        },
        kind => format!("a {kind:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use mainstay_wire::descriptors::{built_in, pool};
    use prost_reflect::SerializeOptions;

    use super::*;

    /// What the parameters of a query make of a request, in JSON.
    fn filled(message: &str, query: &str) -> Result<String, String> {
        let types = pool(built_in(message).expect("ours")).expect("they fit");
        let descriptor = types.get_message_by_name(message).expect("there");
        let mut message = DynamicMessage::new(descriptor);
        for (name, texts) in read(query).map_err(|error| error.to_string())? {
            fill(&mut message, &name, &texts).map_err(|error| error.to_string())?;
        }
        let options = SerializeOptions::new().use_proto_field_name(true);
        let json = message.serialize_with_options(serde_json::value::Serializer, &options);
        Ok(json.expect("it has a form in JSON").to_string())
    }

    #[test]
    fn texts_become_values_of_their_fields() {
        const POWER: &str = "viam.component.motor.v1.SetPowerRequest";
        const MOVE: &str = "viam.component.arm.v1.MoveToPositionRequest";
        for (message, query, expected) in [
            (POWER, "", "{}"),
            (
                POWER,
                "name=le%66t&power_pct=-0.5",
                r#"{"name":"left","power_pct":-0.5}"#,
            ),
            (
                POWER,
                "powerPct=1&&unknown=7&unknown.too=7&name.too=1",
                r#"{"power_pct":1.0}"#,
            ),
            (POWER, "name=a+b%2Bc", r#"{"name":"a b+c"}"#),
            (POWER, "extra=%7B%22a%22:[1,true]%7D", r#"{"extra":{"a":[1.0,true]}}"#),
            (
                MOVE,
                "to.x=1&to.o_z=1&name=a",
                r#"{"name":"a","to":{"x":1.0,"o_z":1.0}}"#,
            ),
            (MOVE, "to={\"x\":2}", r#"{"to":{"x":2.0}}"#),
            (
                "viam.component.board.v1.SetGPIORequest",
                "high=true&pin=4",
                r#"{"pin":"4","high":true}"#,
            ),
            (
                "viam.component.board.v1.SetPowerModeRequest",
                "power_mode=POWER_MODE_OFFLINE_DEEP&duration=1m30s",
                r#"{"power_mode":"POWER_MODE_OFFLINE_DEEP","duration":"90s"}"#,
            ),
            (
                "viam.component.board.v1.SetPowerModeRequest",
                "power_mode=1&duration=0.25s",
                r#"{"power_mode":"POWER_MODE_NORMAL","duration":"0.250s"}"#,
            ),
            (
                "viam.component.camera.v1.GetImagesRequest",
                "filter_source_names=a&name=c&filter_source_names=b",
                r#"{"name":"c","filter_source_names":["a","b"]}"#,
            ),
            (
                "viam.service.vision.v1.GetDetectionsRequest",
                "image=+/8=",
                r#"{"image":"+/8="}"#,
            ),
            (
                "viam.service.vision.v1.GetDetectionsRequest",
                "image=-_8=&width=2",
                r#"{"image":"+/8=","width":"2"}"#,
            ),
            (
                "viam.component.inputcontroller.v1.TriggerEventRequest",
                "event.time=2026-01-31T12:00:00Z",
                r#"{"event":{"time":"2026-01-31T12:00:00Z"}}"#,
            ),
        ] {
            assert_eq!(filled(message, query).as_deref(), Ok(expected), "{query}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        const POWER: &str = "viam.component.motor.v1.SetPowerRequest";
        let deep = "a.".repeat(40);
        for (message, query, expected) in [
            (
                POWER,
                "power_pct=fast",
                "parameter `power_pct` is `fast`, but must be a double",
            ),
            (
                POWER,
                "power_pct=1&power_pct=2",
                "parameter `power_pct` is given 2 times, but its field takes one value",
            ),
            (
                POWER,
                "extra=7",
                "parameter `extra` is `7`, but must be a google.protobuf.Struct in JSON",
            ),
            (
                POWER,
                "name=%ff",
                "`name=%ff` in the query or form is no percent-encoded UTF-8",
            ),
            (
                POWER,
                &deep,
                &format!("parameter `{deep}` names more than 32 fields inside each other"),
            ),
            (
                "viam.component.board.v1.SetGPIORequest",
                "high=yes",
                "parameter `high` is `yes`, but must be `true` or `false`",
            ),
            (
                "viam.robot.v1.RestartModuleRequest",
                "module_id=a&module_name=b",
                "parameter `module_name` is one of `id_or_name`, of which another is set as well; give one of them",
            ),
            (
                "viam.component.board.v1.SetPowerModeRequest",
                "duration=soon",
                "parameter `duration` is `soon`, but must be a time span such as `1.5s`",
            ),
            (
                "viam.component.board.v1.SetPowerModeRequest",
                "power_mode=FAST",
                "parameter `power_mode` is `FAST`, but must be one of `POWER_MODE_UNSPECIFIED`, `POWER_MODE_NORMAL`, \
                 `POWER_MODE_OFFLINE_DEEP`",
            ),
        ] {
            assert_eq!(filled(message, query), Err(expected.to_owned()), "{query}");
        }
    }
}
