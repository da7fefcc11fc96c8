//! A message as proto3 JSON: fields under their proto names in the order of the proto, what has its default value left out, maps
//! sorted, whole numbers without a point.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{DynamicMessage, Kind, MapKey, ReflectMessage as _, SerializeOptions, Value};
use serde::ser::{Error as _, SerializeMap as _};
use serde::{Serialize, Serializer};

/// Beyond this, not every whole number is a double.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Message that is written as JSON.
#[derive(Debug)]
pub struct Json<'m>(pub &'m DynamicMessage);

/// Value of a field of this kind, that is written as JSON.
#[derive(Debug)]
pub struct JsonValue<'v>(pub &'v Value, pub &'v Kind);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let descriptor = self.0.descriptor();
        match descriptor.full_name() {
            "google.protobuf.Struct" | "google.protobuf.ListValue" => {
                let inner = descriptor.fields().next().ok_or_else(|| S::Error::custom("no field"))?;
                JsonValue(&self.0.get_field(&inner), &inner.kind()).serialize(serializer)
            }
            "google.protobuf.Value" => {
                let mut fields = descriptor.fields();
                match fields.find(|field| self.0.has_field(field)) {
                    // Its enum has one value, which is null.
                    Some(field) if matches!(field.kind(), Kind::Enum(_)) => serializer.serialize_unit(),
                    Some(field) => JsonValue(&self.0.get_field(&field), &field.kind()).serialize(serializer),
                    None => serializer.serialize_unit(),
                }
            }
            name if name.starts_with("google.protobuf.") => {
                let options = SerializeOptions::new().use_proto_field_name(true);
                self.0.serialize_with_options(serializer, &options)
            }
            _ => {
                let mut object = serializer.serialize_map(None)?;
                for field in descriptor.fields().filter(|field| self.0.has_field(field)) {
                    object.serialize_entry(field.name(), &JsonValue(&self.0.get_field(&field), &field.kind()))?;
                }
                object.end()
            }
        }
    }
}

impl Serialize for JsonValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::I32(value) => serializer.serialize_i32(*value),
            Value::U32(value) => serializer.serialize_u32(*value),
            // More digits than a double holds.
            Value::I64(value) => serializer.collect_str(value),
            Value::U64(value) => serializer.collect_str(value),
            Value::F32(value) => match named(f64::from(*value)) {
                Number::Whole(value) => serializer.serialize_i64(value),
                Number::Name(name) => serializer.serialize_str(name),
                Number::Broken => serializer.serialize_f32(*value),
            },
            Value::F64(value) => match named(*value) {
                Number::Whole(value) => serializer.serialize_i64(value),
                Number::Name(name) => serializer.serialize_str(name),
                Number::Broken => serializer.serialize_f64(*value),
            },
            Value::String(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => serializer.serialize_str(&STANDARD.encode(bytes)),
            Value::EnumNumber(number) => {
                let value = self.1.as_enum().and_then(|kind| kind.get_value(*number));
                match value {
                    Some(value) => serializer.serialize_str(value.name()),
                    None => serializer.serialize_i32(*number),
                }
            }
            Value::Message(message) => Json(message).serialize(serializer),
            Value::List(items) => serializer.collect_seq(items.iter().map(|item| JsonValue(item, self.1))),
            Value::Map(entries) => {
                let kind = self.1.as_message().map(|entry| entry.map_entry_value_field().kind());
                let kind = kind.as_ref().unwrap_or(self.1);
                let mut sorted: Vec<_> = entries.iter().map(|(key, value)| (key_text(key), value)).collect();
                sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
                serializer.collect_map(sorted.into_iter().map(|(key, value)| (key, JsonValue(value, kind))))
            }
        }
    }
}

/// A double, by how JSON writes it.
enum Number {
    Whole(i64),
    /// JSON has no number for it.
    Name(&'static str),
    Broken,
}

fn named(value: f64) -> Number {
    if value.is_nan() {
        Number::Name("NaN")
    } else if value.is_infinite() {
        Number::Name(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else if value.fract() == 0.0 && value.abs() <= EXACT {
        Number::Whole(value as i64)
    } else {
        Number::Broken
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

#[cfg(test)]
mod tests {
    use mainstay_wire::descriptors::{built_in, pool};

    use super::*;

    /// What becomes of a message that is given in JSON.
    fn written(name: &str, json: &str) -> String {
        let types = pool(built_in(name).expect("ours")).expect("they fit");
        let descriptor = types.get_message_by_name(name).expect("there");
        let message = DynamicMessage::deserialize(descriptor, &mut serde_json::Deserializer::from_str(json));
        serde_json::to_string(&Json(&message.expect("it fits"))).expect("it has a form in JSON")
    }

    #[test]
    fn a_message_is_written_as_peers_write_it() {
        for (name, json, expected) in [
            (
                "viam.component.motor.v1.IsPoweredResponse",
                r#"{"isOn":false,"powerPct":0}"#,
                "{}",
            ),
            (
                "viam.component.motor.v1.IsPoweredResponse",
                r#"{"powerPct":0.1,"isOn":true}"#,
                r#"{"is_on":true,"power_pct":0.1}"#,
            ),
            (
                "viam.component.motor.v1.GetPositionResponse",
                r#"{"position":-3.0}"#,
                r#"{"position":-3}"#,
            ),
            (
                "viam.component.motor.v1.GetPositionResponse",
                r#"{"position":"NaN"}"#,
                r#"{"position":"NaN"}"#,
            ),
            (
                "viam.component.motor.v1.GetPositionResponse",
                r#"{"position":"-Infinity"}"#,
                r#"{"position":"-Infinity"}"#,
            ),
            (
                "viam.component.motor.v1.GetPositionResponse",
                r#"{"position":1e300}"#,
                r#"{"position":1e+300}"#,
            ),
            (
                "viam.component.audioin.v1.GetAudioRequest",
                r#"{"durationSeconds":0.1}"#,
                r#"{"duration_seconds":0.1}"#,
            ),
            (
                "viam.component.board.v1.StreamTicksResponse",
                r#"{"time":"18446744073709551615","high":true}"#,
                r#"{"time":"18446744073709551615","high":true}"#,
            ),
            (
                "viam.common.v1.GetReadingsResponse",
                r#"{"readings":{"b":1,"a":[null,2.5,"x",{"z":1,"y":{}}],"c":false,"d":null}}"#,
                r#"{"readings":{"a":[null,2.5,"x",{"y":{},"z":1}],"b":1,"c":false,"d":null}}"#,
            ),
            (
                "viam.common.v1.DoCommandResponse",
                r#"{"result":{}}"#,
                r#"{"result":{}}"#,
            ),
            (
                "viam.component.board.v1.SetPowerModeRequest",
                r#"{"powerMode":2,"duration":"1.5s"}"#,
                r#"{"power_mode":"POWER_MODE_OFFLINE_DEEP","duration":"1.500s"}"#,
            ),
            (
                "viam.component.board.v1.SetPowerModeRequest",
                r#"{"powerMode":77}"#,
                r#"{"power_mode":77}"#,
            ),
            (
                "viam.component.camera.v1.GetPointCloudResponse",
                r#"{"pointCloud":"-_8"}"#,
                r#"{"point_cloud":"+/8="}"#,
            ),
            (
                "viam.common.v1.ResponseMetadata",
                r#"{"capturedAt":"2026-01-31T12:00:00.5Z"}"#,
                r#"{"captured_at":"2026-01-31T12:00:00.500Z"}"#,
            ),
        ] {
            assert_eq!(written(name, json), expected, "{json}");
        }
    }
}
