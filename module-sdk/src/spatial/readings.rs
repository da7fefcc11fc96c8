//! Orientations and angular velocities among readings: objects whose `_type` tells clients what they are.
//!
//! | `_type` | Members | Here |
//! |---|---|---|
//! | `orientation_vector_degrees` | `theta` (degrees), `ox`, `oy`, `oz` | [`Orientation`] |
//! | `orientation_vector_radians` | `theta` (radians), `ox`, `oy`, `oz` | [`OrientationVector`] |
//! | `euler` | `roll`, `pitch`, `yaw` (radians) | [`EulerAngles`] |
//! | `quat` | `r`, `i`, `j`, `k` | [`Quaternion`] |
//! | `r4aa` | `theta` (radians), `rx`, `ry`, `rz` | [`AxisAngle`] |
//! | `angular_velocity` | `x`, `y`, `z` (degrees per second) | [`AngularVelocity`] |
//!
//! Clients look at the values of a reading itself, not at what lies deeper in lists and objects. The form that most of them
//! recognise is [`Orientation`]; it needs all its members, because some peers crash on a tagged object that lacks one.

use super::{
    AngularVelocity, AnyOrientation, AxisAngle, EulerAngles, Orientation, OrientationVector, Quaternion, Vector3,
};
use crate::{Object, Value, object};

impl From<Orientation> for Value {
    fn from(Orientation { axis, theta }: Orientation) -> Self {
        vector("orientation_vector_degrees", axis, theta)
    }
}

impl From<OrientationVector> for Value {
    fn from(OrientationVector { axis, theta }: OrientationVector) -> Self {
        vector("orientation_vector_radians", axis, theta)
    }
}

impl From<EulerAngles> for Value {
    fn from(EulerAngles { roll, pitch, yaw }: EulerAngles) -> Self {
        Self::Object(object! { "_type" => "euler", "roll" => roll, "pitch" => pitch, "yaw" => yaw })
    }
}

impl From<Quaternion> for Value {
    fn from(Quaternion { w, x, y, z }: Quaternion) -> Self {
        Self::Object(object! { "_type" => "quat", "r" => w, "i" => x, "j" => y, "k" => z })
    }
}

impl From<AxisAngle> for Value {
    fn from(AxisAngle { axis, theta }: AxisAngle) -> Self {
        let Vector3 { x, y, z } = axis;
        Self::Object(object! { "_type" => "r4aa", "theta" => theta, "rx" => x, "ry" => y, "rz" => z })
    }
}

impl From<AnyOrientation> for Value {
    fn from(orientation: AnyOrientation) -> Self {
        match orientation {
            AnyOrientation::Degrees(form) => form.into(),
            AnyOrientation::Radians(form) => form.into(),
            AnyOrientation::Euler(form) => form.into(),
            AnyOrientation::Quaternion(form) => form.into(),
            AnyOrientation::AxisAngle(form) => form.into(),
        }
    }
}

impl From<AngularVelocity> for Value {
    fn from(AngularVelocity(Vector3 { x, y, z }): AngularVelocity) -> Self {
        Self::Object(object! { "_type" => "angular_velocity", "x" => x, "y" => y, "z" => z })
    }
}

impl Value {
    /// Decodes an object whose `_type` is one of the five forms of orientations in readings; `None` for others and for an
    /// object that lacks a member. [`Value::as_vector3`] decodes angular velocities.
    #[must_use]
    pub fn as_orientation(&self) -> Option<AnyOrientation> {
        let members = self.as_object()?;
        let number = |name: &str| members.get(name)?.as_f64();
        let axis = |x, y, z| {
            Some(Vector3 {
                x: number(x)?,
                y: number(y)?,
                z: number(z)?,
            })
        };
        Some(match members.get("_type")?.as_str()? {
            "orientation_vector_degrees" => AnyOrientation::Degrees(Orientation {
                axis: axis("ox", "oy", "oz")?,
                theta: number("theta")?,
            }),
            "orientation_vector_radians" => AnyOrientation::Radians(OrientationVector {
                axis: axis("ox", "oy", "oz")?,
                theta: number("theta")?,
            }),
            "euler" => AnyOrientation::Euler(EulerAngles {
                roll: number("roll")?,
                pitch: number("pitch")?,
                yaw: number("yaw")?,
            }),
            "quat" => AnyOrientation::Quaternion(Quaternion {
                w: number("r")?,
                x: number("i")?,
                y: number("j")?,
                z: number("k")?,
            }),
            "r4aa" => AnyOrientation::AxisAngle(AxisAngle {
                axis: axis("rx", "ry", "rz")?,
                theta: number("theta")?,
            }),
            _ => return None,
        })
    }
}

fn vector(kind: &str, Vector3 { x, y, z }: Vector3, theta: f64) -> Value {
    let members: Object = object! { "_type" => kind, "theta" => theta, "ox" => x, "oy" => y, "oz" => z };
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_as_it_was_written_and_not_without_a_member() {
        let axis = Vector3 { x: 0.6, y: 0.0, z: 0.8 };
        let (w, x, y, z) = (0.1, 0.2, 0.3, 0.4);
        let forms = [
            AnyOrientation::Degrees(Orientation { axis, theta: 90.0 }),
            AnyOrientation::Radians(OrientationVector { axis, theta: 1.5 }),
            AnyOrientation::Euler(EulerAngles {
                roll: x,
                pitch: y,
                yaw: z,
            }),
            AnyOrientation::Quaternion(Quaternion { w, x, y, z }),
            AnyOrientation::AxisAngle(AxisAngle { axis, theta: -1.0 }),
        ];
        for form in forms {
            let Value::Object(members) = Value::from(form) else {
                panic!("no object")
            };
            assert_eq!(Value::Object(members.clone()).as_orientation(), Some(form));
            for missing in members.keys() {
                let mut members = members.clone();
                members.remove(missing);
                assert_eq!(Value::Object(members).as_orientation(), None, "without {missing}");
            }
        }
    }

    #[test]
    fn an_angular_velocity_is_a_vector_and_no_orientation() {
        let velocity = Vector3 { x: 1.0, y: 2.0, z: 3.0 };
        let value = Value::from(AngularVelocity(velocity));
        assert_eq!(value.as_vector3(), Some(velocity));
        assert_eq!(value.as_orientation(), None);
        assert_eq!(value.as_object().unwrap()["_type"].as_str(), Some("angular_velocity"));
        assert_eq!(Value::from(3).as_orientation(), None);
    }
}
