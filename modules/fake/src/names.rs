//! Names of resources in robot configurations: an empty one means that there is none, as peers have it.

use serde::{Deserialize, Deserializer, de::IntoDeserializer};

/// Deserializes a handle of a resource from its name, and nothing from an empty one.
pub(crate) fn named<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    let name = name.filter(|name| !name.is_empty());
    name.map(|name| T::deserialize(name.into_deserializer())).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_name_is_none_and_the_wrong_kind_is_refused() {
        for (json, expected) in [
            ("\"left\"", Some(Some("left".to_owned()))),
            ("\"\"", Some(None)),
            ("null", Some(None)),
            ("2", None),
        ] {
            let read = named::<String, _>(&mut serde_json::Deserializer::from_str(json));
            assert_eq!(read.ok(), expected, "{json}");
        }
    }
}
