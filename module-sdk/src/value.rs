//! JSON-like values of readings, commands, status and `extra`: exactly those that `google.protobuf.Value` represents, so
//! all numbers are doubles (NaN included) and there are no integers.

use std::collections::BTreeMap;

use crate::spatial::{GeoPoint, Vector3};

/// JSON-like value, as `google.protobuf.Value`. `From` converts the usual Rust types and `serde_json::Value`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Null.
    #[default]
    Null,
    /// Boolean.
    Bool(bool),
    /// Number, always a double: integers above 2^53 lose precision.
    Number(f64),
    /// String.
    String(String),
    /// List of values.
    List(Vec<Value>),
    /// Map of values by name.
    Object(Object),
}

/// Map of values by name, sorted. The macro [`object!`](crate::object) creates one.
pub type Object = BTreeMap<String, Value>;

/// Empty object, for the `extra` argument of API methods: `motor.stop(NO_EXTRA)`.
pub const NO_EXTRA: &Object = &Object::new();

/// Creates an [`Object`]: `object! { "celsius" => 21.5, "tags" => vec!["roof"], "wind" => object! { "kmh" => 4 } }`.
#[macro_export]
macro_rules! object {
    ($($key:expr => $value:expr),* $(,)?) => {
        $crate::Object::from([$((::std::string::String::from($key), $crate::Value::from($value))),*])
    };
}

impl Value {
    /// Returns the number; `None` for other kinds.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        if let Self::Number(number) = self {
            Some(*number)
        } else {
            None
        }
    }

    /// Returns the string; `None` for other kinds.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// Returns the boolean; `None` for other kinds.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(truth) = self {
            Some(*truth)
        } else {
            None
        }
    }

    /// Returns the elements of a list; `None` for other kinds.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Value]> {
        if let Self::List(list) = self { Some(list) } else { None }
    }

    /// Returns the members of an object; `None` for other kinds.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        if let Self::Object(object) = self {
            Some(object)
        } else {
            None
        }
    }

    /// Decodes an object with `_type` `vector3` or `angular_velocity`, as sensors return vectors; `None` for others.
    #[must_use]
    pub fn as_vector3(&self) -> Option<Vector3> {
        let object = self.tagged(&["vector3", "angular_velocity"])?;
        let axis = |name: &str| object.get(name)?.as_f64();
        Some(Vector3 {
            x: axis("x")?,
            y: axis("y")?,
            z: axis("z")?,
        })
    }

    /// Decodes an object with `_type` `geopoint`, as sensors return coordinates; `None` for others.
    #[must_use]
    pub fn as_geo_point(&self) -> Option<GeoPoint> {
        let object = self.tagged(&["geopoint"])?;
        Some(GeoPoint {
            latitude: object.get("lat")?.as_f64()?,
            longitude: object.get("lng")?.as_f64()?,
        })
    }

    fn tagged(&self, kinds: &[&str]) -> Option<&Object> {
        let object = self.as_object()?;
        kinds.contains(&object.get("_type")?.as_str()?).then_some(object)
    }
}

macro_rules! from {
    ($($kind:ty => |$value:ident| $make:expr),* $(,)?) => {
        $(impl From<$kind> for Value {
            fn from($value: $kind) -> Self { $make }
        })*
    };
}

from! {
    bool => |value| Self::Bool(value),
    f64 => |value| Self::Number(value),
    f32 => |value| Self::Number(value.into()),
    i8 => |value| Self::Number(value.into()),
    i16 => |value| Self::Number(value.into()),
    i32 => |value| Self::Number(value.into()),
    i64 => |value| Self::Number(value as f64),
    isize => |value| Self::Number(value as f64),
    u8 => |value| Self::Number(value.into()),
    u16 => |value| Self::Number(value.into()),
    u32 => |value| Self::Number(value.into()),
    u64 => |value| Self::Number(value as f64),
    usize => |value| Self::Number(value as f64),
    &str => |value| Self::String(value.to_owned()),
    &String => |value| Self::String(value.clone()),
    String => |value| Self::String(value),
    Object => |value| Self::Object(value),
    Vector3 => |value| Self::Object(object! { "_type" => "vector3", "x" => value.x, "y" => value.y, "z" => value.z }),
    GeoPoint => |value| {
        Self::Object(object! { "_type" => "geopoint", "lat" => value.latitude, "lng" => value.longitude })
    },
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(list: Vec<T>) -> Self {
        Self::List(list.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>, const N: usize> From<[T; N]> for Value {
    fn from(list: [T; N]) -> Self {
        Self::List(list.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Value>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(truth) => Self::Bool(truth),
            serde_json::Value::Number(number) => Self::Number(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Self::String(text),
            serde_json::Value::Array(list) => list.into_iter().collect(),
            serde_json::Value::Object(members) => {
                Self::Object(members.into_iter().map(|(name, value)| (name, value.into())).collect())
            }
        }
    }
}

/// Conversions from and to the protobuf types.
pub(crate) mod wire {
    use prost_types::{ListValue, Struct, value::Kind};

    use super::{Object, Value};

    pub(crate) fn to_struct(object: Object) -> Struct {
        Struct {
            fields: object
                .into_iter()
                .map(|(name, value)| (name, to_value(value)))
                .collect(),
        }
    }

    pub(crate) fn from_struct(fields: Option<Struct>) -> Object {
        fields
            .unwrap_or_default()
            .fields
            .into_iter()
            .map(|(name, value)| (name, from_value(value)))
            .collect()
    }

    /// Converts `extra`; `None` if it is empty, which peers read the same.
    pub(crate) fn to_extra(extra: Object) -> Option<Struct> {
        (!extra.is_empty()).then(|| to_struct(extra))
    }

    pub(crate) fn to_value(value: Value) -> prost_types::Value {
        let kind = match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(truth) => Kind::BoolValue(truth),
            Value::Number(number) => Kind::NumberValue(number),
            Value::String(text) => Kind::StringValue(text),
            Value::List(list) => Kind::ListValue(ListValue {
                values: list.into_iter().map(to_value).collect(),
            }),
            Value::Object(object) => Kind::StructValue(to_struct(object)),
        };
        prost_types::Value { kind: Some(kind) }
    }

    pub(crate) fn from_value(value: prost_types::Value) -> Value {
        match value.kind {
            None | Some(Kind::NullValue(_)) => Value::Null,
            Some(Kind::BoolValue(truth)) => Value::Bool(truth),
            Some(Kind::NumberValue(number)) => Value::Number(number),
            Some(Kind::StringValue(text)) => Value::String(text),
            Some(Kind::ListValue(list)) => Value::List(list.values.into_iter().map(from_value).collect()),
            Some(Kind::StructValue(fields)) => Value::Object(from_struct(Some(fields))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_survives_the_wire_and_so_does_not_a_number() {
        let object = object! {
            "truth" => true, "count" => 3, "text" => "roof", "nothing" => None::<f64>,
            "list" => vec![1.5, 2.5], "inner" => object! { "x" => 1 }, "place" => Vector3 { x: 1.0, y: 2.0, z: 3.0 },
        };
        assert_eq!(wire::from_struct(Some(wire::to_struct(object.clone()))), object);
        assert_eq!(object["place"].as_vector3(), Some(Vector3 { x: 1.0, y: 2.0, z: 3.0 }));
        let nan = wire::from_value(wire::to_value(f64::NAN.into()));
        assert!(nan.as_f64().is_some_and(f64::is_nan));
    }

    #[test]
    fn json_becomes_a_value() {
        let value = Value::from(serde_json::json!({"a": [1, "b", null], "c": {"d": false}}));
        let expected = object! {
            "a" => Value::List(vec![1.into(), "b".into(), Value::Null]), "c" => object! { "d" => false },
        };
        assert_eq!(value, Value::Object(expected));
    }
}
