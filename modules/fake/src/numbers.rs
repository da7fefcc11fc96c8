//! Integers of robot configurations: fractions are truncated, as peers do.

use serde::{Deserialize, Deserializer, de::Error};

/// Deserializes an integer; `2.9` counts as 2.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    // The cast cuts, and saturates at the ends.
    f64::deserialize(deserializer).map(|number| number as i64)
}

/// Deserializes an unsigned integer; `2.9` counts as 2.
pub(crate) fn natural<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = whole(deserializer)?;
    u64::try_from(number).map_err(|_| D::Error::custom(format_args!("{number} must not be below 0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_cut_off_and_the_wrong_kind_is_refused() {
        for (json, expected) in [
            ("2", Some(2)),
            ("2.9", Some(2)),
            ("-2.9", Some(-2)),
            ("\"2\"", None),
            ("true", None),
        ] {
            assert_eq!(
                whole(&mut serde_json::Deserializer::from_str(json)).ok(),
                expected,
                "{json}"
            );
        }
        for (json, expected) in [("2.9", Some(2)), ("-0.5", Some(0)), ("-1", None)] {
            assert_eq!(
                natural(&mut serde_json::Deserializer::from_str(json)).ok(),
                expected,
                "{json}"
            );
        }
    }
}
