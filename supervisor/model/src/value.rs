//! Free-form values of a config: attributes, commands, key sets.

use std::collections::BTreeMap;

/// The fields of a free-form map.
pub type Object = BTreeMap<String, Value>;

/// A free-form value, with the types that JSON has. Numbers may be infinite or no number, as YAML can write them.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Number.
    Number(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A map.
    Map(Object),
}
