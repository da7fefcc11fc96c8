//! Members of JSON objects, whose names count in either case, with the place where they are.

use serde_json::{Map, Value};

use super::KinematicsError;
use crate::spatial::{
    AnyOrientation, AxisAngle, EulerAngles, Orientation, OrientationVector, Quaternion, Transform, Vector3,
};

/// JSON object and where it is.
#[derive(Clone, Debug)]
pub(super) struct Members<'a> {
    members: &'a Map<String, Value>,
    pub place: String,
}

impl<'a> Members<'a> {
    pub(super) fn new(value: &'a Value, place: String) -> Result<Self, KinematicsError> {
        match value {
            Value::Object(members) => Ok(Self { members, place }),
            other => Err(KinematicsError::at(
                place,
                format!("{} where an object is wanted", kind(other)),
            )),
        }
    }

    pub(super) fn wrong(&self, cause: impl std::fmt::Display) -> KinematicsError {
        KinematicsError::at(&self.place, cause)
    }

    /// Returns the member of this name, in this case or another. Null is none.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        let exact = self.members.get(name);
        let any = || {
            self.members
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        };
        exact.or_else(any).filter(|value| !value.is_null())
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<Self>, KinematicsError> {
        let place = format!("{}.{name}", self.place);
        self.get(name).map(|value| Self::new(value, place)).transpose()
    }

    /// Returns the elements of a list; none if it is not there.
    pub(super) fn list(&self, name: &str) -> Result<&'a [Value], KinematicsError> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(other) => Err(self.wrong(format!("`{name}` is {}, not a list", kind(other)))),
        }
    }

    /// Returns the objects of a list, whose places name them by index and `id`.
    pub(super) fn objects(&self, name: &str) -> Result<Vec<Self>, KinematicsError> {
        let element = |(index, value): (usize, &'a Value)| {
            let mut members = Members::new(value, format!("{name}[{index}]"))?;
            if let Some(Value::String(id)) = members.get("id") {
                members.place = format!("{name}[{index}] (`{id}`)");
            }
            Ok(members)
        };
        self.list(name)?.iter().enumerate().map(element).collect()
    }

    /// Returns a text; empty if it is not there.
    pub(super) fn text(&self, name: &str) -> Result<&'a str, KinematicsError> {
        match self.get(name) {
            None => Ok(""),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(self.wrong(format!("`{name}` is {}, not a text", kind(other)))),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, KinematicsError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64().filter(|number| number.is_finite())),
            Some(other) => Err(self.wrong(format!("`{name}` is {}, not a number", kind(other)))),
        }
    }

    /// Returns the vector of `x`, `y` and `z` of this object; what is not there is 0.
    pub(super) fn vector(&self) -> Result<Vector3, KinematicsError> {
        let part = |name| Ok(self.number(name)?.unwrap_or_default());
        Ok(Vector3 {
            x: part("x")?,
            y: part("y")?,
            z: part("z")?,
        })
    }

    /// Returns the transform of the members `translation` and `orientation`; what is not there is identity.
    pub(super) fn transform(&self) -> Result<Transform, KinematicsError> {
        let translation = self.object("translation")?.map(|vector| vector.vector()).transpose()?;
        let orientation = match self.object("orientation")? {
            Some(orientation) => orientation.orientation()?,
            None => Quaternion::default(),
        };
        Ok(Transform::new(translation.unwrap_or_default(), orientation))
    }

    /// Reads `{"type", "value"}`. No type means no rotation.
    fn orientation(&self) -> Result<Quaternion, KinematicsError> {
        let kind = self.text("type")?;
        if kind.is_empty() {
            return Ok(Quaternion::default());
        }
        let value = self.object("value")?.ok_or_else(|| self.wrong("`value` is missing"))?;
        let part = |name| Ok(value.number(name)?.unwrap_or_default());
        let axis = || {
            let axis = value.vector()?;
            if axis == Vector3::default() {
                return Err(value.wrong("the vector has no direction"));
            }
            Ok(axis)
        };
        let theta = part("th")?;
        let form = match kind {
            "ov_degrees" => AnyOrientation::from(Orientation { axis: axis()?, theta }),
            "ov_radians" => OrientationVector { axis: axis()?, theta }.into(),
            "axis_angles" if theta == 0.0 => Quaternion::default().into(),
            "axis_angles" => AxisAngle { axis: axis()?, theta }.into(),
            "euler_angles" => EulerAngles {
                roll: part("roll")?,
                pitch: part("pitch")?,
                yaw: part("yaw")?,
            }
            .into(),
            "quaternion" => {
                let Vector3 { x, y, z } = value.vector()?;
                let quaternion = Quaternion { w: part("w")?, x, y, z };
                if [quaternion.w, x, y, z] == [0.0; 4] {
                    return Err(value.wrong("the quaternion has no length"));
                }
                quaternion.into()
            }
            other => return Err(self.wrong(format!("`{other}` is no type of orientations"))),
        };
        Ok(form.into())
    }
}

/// Returns what a value is, for errors.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
