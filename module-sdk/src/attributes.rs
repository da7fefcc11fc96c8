//! Deserializer from [`Value`] into the author's types. Beyond usual serde: every number of the wire is a double, so an
//! integer field accepts `4.0`; names match in any case; `null` counts as absent; an error contains the path of its
//! attribute; and attributes that no field takes are found.

mod unknown;

use std::{cell::RefCell, fmt, vec};

use serde::{
    de::{self, DeserializeOwned, IntoDeserializer, Visitor, value::StringDeserializer},
    forward_to_deserialize_any,
};

pub(crate) use self::unknown::UnknownAttribute;
use crate::{Error, Object, Result, Value};

/// Largest integer (2^53) up to which a double represents every integer exactly.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Deserializes an object by the rules of attributes (see [`FromConfig::Attributes`](crate::FromConfig::Attributes)): for
/// the arguments of `do_command`, and for tests.
///
/// # Errors
/// INVALID_ARGUMENT with the path of the ill-typed or missing member.
pub fn from_object<T: DeserializeOwned>(object: Object) -> Result<T> {
    read(object).map(|(value, _)| value).map_err(Error::invalid_argument)
}

/// Serializes a value to an object, for the result of `do_command`.
///
/// # Errors
/// INTERNAL if the value does not serialize to an object, or contains a map whose keys are not strings.
pub fn to_object<T: serde::Serialize>(value: &T) -> Result<Object> {
    match serde_json::to_value(value).map(Value::from) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(Error::internal(format_args!("{} is no object", other.kind()))),
        Err(error) => Err(Error::internal(error)),
    }
}

/// Deserializes attributes, and returns beside them those that the type does not know. A type that takes any name (a map,
/// a struct with `#[serde(flatten)]`) knows all.
pub(crate) fn read<T: DeserializeOwned>(object: Object) -> Result<(T, Vec<UnknownAttribute>), AttributeError> {
    let unknown = RefCell::default();
    let value = T::deserialize(Attribute {
        value: Value::Object(object),
        unknown: &unknown,
    })?;
    Ok((value, unknown.into_inner()))
}

/// Error of one attribute, with its path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AttributeError {
    /// Path from the innermost segment outwards, as it is built up while the error is returned.
    path: Vec<PathSegment>,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PathSegment {
    Key(String),
    Index(usize),
}

/// Path as text, such as `pins[0].name`, from its segments in reverse order.
struct Path<'p>(&'p [PathSegment]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, segment) in self.0.iter().rev().enumerate() {
            match segment {
                PathSegment::Key(key) if n == 0 => f.write_str(key)?,
                PathSegment::Key(key) => write!(f, ".{key}")?,
                PathSegment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Problem {
    Missing,
    Other(String),
}

impl AttributeError {
    fn within(mut self, segment: PathSegment) -> Self {
        self.path.push(segment);
        self
    }
}

impl fmt::Display for AttributeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str("attributes")?;
        } else {
            write!(f, "attribute `{}`", Path(&self.path))?;
        }
        match &self.problem {
            Problem::Missing => f.write_str(" is missing"),
            Problem::Other(text) => write!(f, ": {text}"),
        }
    }
}

impl std::error::Error for AttributeError {}

impl de::Error for AttributeError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self {
            path: Vec::new(),
            problem: Problem::Other(text.to_string()),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            path: vec![PathSegment::Key(field.to_owned())],
            problem: Problem::Missing,
        }
    }
}

impl Value {
    /// Returns the kind of value for error texts.
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a truth value",
            Self::Number(_) => "a number",
            Self::String(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// Visits a whole number as an integer, so that serde checks its range; any other number as a double.
fn visit_number<'de, V: Visitor<'de>>(number: f64, limit: f64, visitor: V) -> Result<V::Value, AttributeError> {
    if number.fract() != 0.0 || !(-limit..=limit).contains(&number) {
        visitor.visit_f64(number)
    } else if number < 0.0 {
        visitor.visit_i64(number as i64)
    } else {
        visitor.visit_u64(number as u64)
    }
}

macro_rules! integers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, AttributeError> {
            match self.value {
                Value::Number(number) => visit_number(number, 1.8e19, visitor),
                _ => self.deserialize_any(visitor),
            }
        })*
    };
}

/// Serde deserializer of one value.
struct Attribute<'u> {
    value: Value,
    unknown: &'u RefCell<Vec<UnknownAttribute>>,
}

impl<'u> Attribute<'u> {
    fn members(unknown: &'u RefCell<Vec<UnknownAttribute>>, object: Object) -> Members<'u> {
        Members {
            members: object.into_iter().collect::<Vec<_>>().into_iter(),
            current: None,
            fields: None,
            unknown,
        }
    }
}

impl<'de> de::Deserializer<'de> for Attribute<'_> {
    type Error = AttributeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, AttributeError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(truth) => visitor.visit_bool(truth),
            Value::Number(number) => visit_number(number, MAX_EXACT, visitor),
            Value::String(text) => visitor.visit_string(text),
            Value::List(list) => visitor.visit_seq(Elements {
                values: list.into_iter(),
                index: 0,
                unknown: self.unknown,
            }),
            Value::Object(object) => visitor.visit_map(Self::members(self.unknown, object)),
        }
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, AttributeError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, AttributeError> {
        if let Value::Number(number) = self.value {
            visitor.visit_f64(number)
        } else {
            self.deserialize_any(visitor)
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, AttributeError> {
        if self.value == Value::Null {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    /// Accepts any object as `()`, the attributes type of models without attributes.
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, AttributeError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Object(object) => {
                let unknown = object.into_iter().filter(|(_, value)| *value != Value::Null);
                self.unknown
                    .borrow_mut()
                    .extend(unknown.map(|(key, _)| UnknownAttribute {
                        path: vec![PathSegment::Key(key)],
                        fields: &[],
                    }));
                visitor.visit_unit()
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, AttributeError> {
        let Value::Object(object) = self.value else {
            return self.deserialize_any(visitor);
        };
        visitor.visit_map(Members {
            members: with_names_of(fields, object).into_iter(),
            current: None,
            fields: Some(fields),
            unknown: self.unknown,
        })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, AttributeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, AttributeError> {
        match self.value {
            Value::String(name) => visitor.visit_enum(name.into_deserializer()),
            Value::Object(object) if object.len() == 1 => visitor.visit_enum(de::value::MapAccessDeserializer::new(
                Self::members(self.unknown, object),
            )),
            other => {
                let found = format!("{} where one of a few names belongs", other.kind());
                Err(de::Error::custom(found))
            }
        }
    }

    forward_to_deserialize_any! {
        bool char str string bytes byte_buf unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

/// Renames members to the fields they match in another case, and leaves out nulls.
fn with_names_of(fields: &[&str], object: Object) -> Vec<(String, Value)> {
    let exact: Vec<bool> = fields.iter().map(|field| object.contains_key(*field)).collect();
    let name = |key: String| {
        let field = fields
            .iter()
            .zip(&exact)
            .find(|(field, exact)| !**exact && field.eq_ignore_ascii_case(&key));
        field.map_or(key, |(field, _)| (*field).to_owned())
    };
    object
        .into_iter()
        .filter(|(_, value)| *value != Value::Null)
        .map(|(key, value)| (name(key), value))
        .collect()
}

struct Members<'u> {
    members: vec::IntoIter<(String, Value)>,
    current: Option<(String, Value)>,
    /// Fields of the struct that the members belong to; `None` if they belong to a map, which takes any.
    fields: Option<&'static [&'static str]>,
    unknown: &'u RefCell<Vec<UnknownAttribute>>,
}

impl<'de> de::MapAccess<'de> for Members<'_> {
    type Error = AttributeError;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, AttributeError> {
        self.current = self.members.next();
        let Some((key, _)) = &self.current else { return Ok(None) };
        let key: StringDeserializer<AttributeError> = key.clone().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, AttributeError> {
        let (key, value) = self.current.take().unwrap_or_default();
        // A struct with `#[serde(flatten)]` is read as a map.
        if let Some(fields) = self.fields.filter(|fields| !fields.contains(&&*key)) {
            let path = vec![PathSegment::Key(key.clone())];
            self.unknown.borrow_mut().push(UnknownAttribute { path, fields });
        }
        within(PathSegment::Key(key), value, self.unknown, seed)
    }
}

/// Deserializes what stands at a segment, and completes the paths of what is wrong or unknown in it.
fn within<'de, T: de::DeserializeSeed<'de>>(
    segment: PathSegment,
    value: Value,
    unknown: &RefCell<Vec<UnknownAttribute>>,
    seed: T,
) -> Result<T::Value, AttributeError> {
    let before = unknown.borrow().len();
    let result = seed.deserialize(Attribute { value, unknown });
    for inner in &mut unknown.borrow_mut()[before..] {
        inner.path.push(segment.clone());
    }
    result.map_err(|error| error.within(segment))
}

struct Elements<'u> {
    values: vec::IntoIter<Value>,
    index: usize,
    unknown: &'u RefCell<Vec<UnknownAttribute>>,
}

impl<'de> de::SeqAccess<'de> for Elements<'_> {
    type Error = AttributeError;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, AttributeError> {
        let Some(value) = self.values.next() else {
            return Ok(None);
        };
        let index = self.index;
        self.index += 1;
        within(PathSegment::Index(index), value, self.unknown, seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.values.len())
    }
}

impl<'de> de::Deserialize<'de> for Value {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;
        impl<'de> Visitor<'de> for AnyValue {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_none<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_some<D: de::Deserializer<'de>>(self, value: D) -> Result<Value, D::Error> {
                de::Deserialize::deserialize(value)
            }
            fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
                Ok(truth.into())
            }
            fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
                Ok(number.into())
            }
            fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
                Ok(number.into())
            }
            fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
                Ok(number.into())
            }
            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(text.into())
            }
            fn visit_string<E>(self, text: String) -> Result<Value, E> {
                Ok(text.into())
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut values: A) -> Result<Value, A::Error> {
                let mut list = Vec::new();
                while let Some(value) = values.next_element()? {
                    list.push(value);
                }
                Ok(Value::List(list))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
                let mut object = Object::new();
                while let Some((key, value)) = members.next_entry()? {
                    object.insert(key, value);
                }
                Ok(Value::Object(object))
            }
        }
        deserializer.deserialize_any(AnyValue)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Motor {
        max_rpm: Option<f64>,
        ticks: u16,
        offset: i64,
        pins: Pins,
        names: Vec<String>,
        mode: Mode,
        free: Value,
        by_name: BTreeMap<String, u8>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    struct Pins {
        pwm: String,
        dir: Option<String>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        #[default]
        Plain,
        Stepped {
            steps: u32,
        },
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Flat {
        name: String,
        #[serde(flatten)]
        rest: Rest,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Rest {
        count: u8,
        ratio: f64,
    }

    fn json<T: DeserializeOwned>(json: serde_json::Value) -> Result<T, String> {
        let Value::Object(object) = Value::from(json) else {
            panic!("an object is wanted")
        };
        let read = read(object).map_err(|error| error.to_string());
        read.map(|(value, _)| value)
    }

    #[test]
    fn whole_doubles_fit_integers_and_null_is_absent() {
        let motor: Motor = json(serde_json::json!({
            "MAX_rpm": 100, "ticks": 4.0, "offset": -7, "pins": {"pwm": "1", "dir": null}, "names": null,
            "mode": {"stepped": {"steps": 8.0}}, "free": {"x": [1.5]}, "by_name": {"a": 1}, "unknown": true,
        }))
        .unwrap();
        let expected = Motor {
            max_rpm: Some(100.0),
            ticks: 4,
            offset: -7,
            pins: Pins {
                pwm: "1".into(),
                dir: None,
            },
            names: Vec::new(),
            mode: Mode::Stepped { steps: 8 },
            free: Value::Object(crate::object! { "x" => vec![1.5] }),
            by_name: BTreeMap::from([("a".into(), 1)]),
        };
        assert_eq!(motor, expected);
    }

    #[test]
    fn flattened_members_take_whole_doubles_too() {
        let flat: Flat = json(serde_json::json!({"name": "x", "count": 3, "ratio": 2})).unwrap();
        assert_eq!(
            flat,
            Flat {
                name: "x".into(),
                rest: Rest { count: 3, ratio: 2.0 }
            }
        );
    }

    #[test]
    fn no_attributes_are_wanted_and_some_are_given() {
        assert_eq!(json::<()>(serde_json::json!({"a": 1})), Ok(()));
    }

    #[test]
    fn an_error_names_the_whole_path() {
        for (attributes, text) in [
            (
                serde_json::json!({"ticks": 4.5}),
                "attribute `ticks`: invalid type: floating point `4.5`, expected u16",
            ),
            (
                serde_json::json!({"ticks": -1}),
                "attribute `ticks`: invalid value: integer `-1`, expected u16",
            ),
            (
                serde_json::json!({"ticks": 70000}),
                "attribute `ticks`: invalid value: integer `70000`, expected u16",
            ),
            (
                serde_json::json!({"ticks": "4"}),
                "attribute `ticks`: invalid type: string \"4\", expected u16",
            ),
            (
                serde_json::json!({"pins": {"dir": "2"}}),
                "attribute `pins.pwm` is missing",
            ),
            (
                serde_json::json!({"names": ["a", {"b": 1}]}),
                "attribute `names[1]`: invalid type: map, expected a string",
            ),
            (
                serde_json::json!({"mode": {"stepped": {"steps": "x"}}}),
                "attribute `mode.stepped.steps`: invalid type: string \"x\", expected u32",
            ),
            (
                serde_json::json!({"mode": "odd"}),
                "attribute `mode`: unknown variant `odd`, expected `plain` or `stepped`",
            ),
            (
                serde_json::json!({"mode": 3}),
                "attribute `mode`: a number where one of a few names belongs",
            ),
        ] {
            assert_eq!(json::<Motor>(attributes).unwrap_err(), text);
        }
    }

    #[test]
    fn a_type_becomes_an_object() {
        #[derive(serde::Serialize)]
        struct Answer {
            ok: bool,
            count: u8,
        }
        let object = to_object(&Answer { ok: true, count: 3 }).unwrap();
        assert_eq!(object, crate::object! { "ok" => true, "count" => 3 });
        assert!(to_object(&3).unwrap_err().message().contains("a number is no object"));
    }
}
