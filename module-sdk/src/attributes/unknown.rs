//! Attributes that a model does not know: what they are called, and which were meant.

use std::fmt;

use super::{Path, PathSegment};

/// Attribute that the model's type has no field for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownAttribute {
    /// Path from the innermost segment outwards.
    pub(super) path: Vec<PathSegment>,
    /// Fields of the struct in which it stands.
    pub(super) fields: &'static [&'static str],
}

impl fmt::Display for UnknownAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = Path(&self.path);
        write!(f, "attribute `{path}` is not known to this model and has no effect; ")?;
        let meant = match self.path.first() {
            Some(PathSegment::Key(name)) => nearest(name, self.fields),
            _ => None,
        };
        match (meant, self.fields) {
            (Some(field), _) => write!(f, "did you mean `{field}`?"),
            (None, []) => f.write_str("it takes none"),
            (None, fields) => write!(f, "known are `{}`", fields.join("`, `")),
        }
    }
}

/// Returns the field that a person most likely meant: at most a third of the letters differ.
fn nearest(name: &str, fields: &[&'static str]) -> Option<&'static str> {
    let plain = |text: &str| -> String {
        let letters = text.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).take(80);
        letters.flat_map(char::to_lowercase).collect()
    };
    let name = plain(name);
    let limit = name.chars().count().max(3) / 3;
    let distances = fields
        .iter()
        .map(|field| (strsim::osa_distance(&name, &plain(field)), *field));
    let near = distances.filter(|(distance, _)| *distance <= limit);
    near.min_by_key(|(distance, _)| *distance).map(|(_, field)| field)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, de::DeserializeOwned};

    use crate::{Object, Value, attributes::read};

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "read alone")]
    struct Pins {
        pwm: String,
        dir: Option<String>,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "read alone")]
    struct Flat {
        name: String,
        #[serde(flatten)]
        pins: Pins,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "read alone")]
    struct Free {
        free: Value,
        by_name: BTreeMap<String, Value>,
    }

    fn unknown<T: DeserializeOwned>(attributes: Object) -> Vec<String> {
        let (_, unknown) = read::<T>(attributes).unwrap();
        unknown.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn attributes_that_no_field_takes_are_named_with_the_nearest() {
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "read alone")]
        struct Rover {
            #[serde(alias = "board")]
            board_name: Option<String>,
            motors: Option<Vec<Pins>>,
        }
        let text =
            |path: &str, rest: &str| format!("attribute `{path}` is not known to this model and has no effect; {rest}");
        for (attributes, expected) in [
            (
                crate::object! { "board_nmae" => "pi" },
                vec![text("board_nmae", "did you mean `board_name`?")],
            ),
            (crate::object! { "Board" => "pi", "wheels" => Value::Null }, vec![]),
            (
                crate::object! { "wheels" => crate::object! { "left" => 1 } },
                vec![text("wheels", "known are `board`, `board_name`, `motors`")],
            ),
            (
                crate::object! { "motors" => vec![crate::object! { "pwm" => "1", "DIRR" => "2", "PWM" => "3" }] },
                vec![
                    text("motors[0].DIRR", "did you mean `dir`?"),
                    text("motors[0].PWM", "did you mean `pwm`?"),
                ],
            ),
        ] {
            assert_eq!(unknown::<Rover>(attributes), expected);
        }
        assert_eq!(
            unknown::<()>(crate::object! { "a" => 1, "b" => Value::Null }),
            [text("a", "it takes none")]
        );
    }

    #[test]
    fn a_type_that_takes_any_name_knows_all() {
        let flat = crate::object! { "name" => "x", "pwm" => "3", "else" => 1 };
        assert_eq!(unknown::<Flat>(flat.clone()), Vec::<String>::new());
        assert_eq!(unknown::<BTreeMap<String, Value>>(flat.clone()), Vec::<String>::new());
        let inside = crate::object! { "free" => flat.clone(), "by_name" => flat };
        assert_eq!(unknown::<Free>(inside), Vec::<String>::new());
    }
}
