//! The ways of writing an orientation down, as plain data. All of them mean the rotation that takes the axes of the parent
//! frame to the local axes; with the feature `frames` each converts to and from a [`Quaternion`].

use super::{Orientation, Vector3};

/// Quaternion `w + xi + yj + zk`. Its length does not matter, and neither does its sign.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the usual names of these numbers")]
pub struct Quaternion {
    pub w: f64,
    pub x: f64,
    pub y: f64,
    pub z: f64,
}

/// Orientation vector like [`Orientation`], with its angle in radians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OrientationVector {
    /// Vector that the local Z axis points along, without unit.
    pub axis: Vector3,
    /// Rotation about `axis`, in radians.
    pub theta: f64,
}

/// Euler angles in radians: a rotation by `yaw` about Z, then by `pitch` about the new Y, then by `roll` about the new X.
/// The same three about the fixed axes are applied in the order roll, pitch, yaw.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EulerAngles {
    /// Rotation about X, in radians.
    pub roll: f64,
    /// Rotation about Y, in radians.
    pub pitch: f64,
    /// Rotation about Z, in radians.
    pub yaw: f64,
}

/// Rotation about one axis ("R4AA").
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AxisAngle {
    /// Axis of the rotation, without unit.
    pub axis: Vector3,
    /// Angle in radians, counter-clockwise when the axis points at the observer.
    pub theta: f64,
}

/// Rotation matrix: its columns are the local axes. `0[row][column]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RotationMatrix(pub [[f64; 3]; 3]);

/// Angular velocity about X, Y and Z in degrees per second, as sensors return it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AngularVelocity(pub Vector3);

/// Orientation in whichever form it came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AnyOrientation {
    /// Orientation vector, in degrees.
    Degrees(Orientation),
    /// Orientation vector, in radians.
    Radians(OrientationVector),
    /// Euler angles.
    Euler(EulerAngles),
    /// Quaternion.
    Quaternion(Quaternion),
    /// Axis and angle.
    AxisAngle(AxisAngle),
}

impl Default for Quaternion {
    /// Returns the rotation that changes nothing.
    fn default() -> Self {
        Self {
            w: 1.0,
            x: 0.0,
            y: 0.0,
            z: 0.0,
        }
    }
}

impl Default for OrientationVector {
    fn default() -> Self {
        Orientation::default().into()
    }
}

impl Default for AxisAngle {
    fn default() -> Self {
        Self {
            axis: Vector3 { x: 0.0, y: 0.0, z: 1.0 },
            theta: 0.0,
        }
    }
}

impl Default for RotationMatrix {
    fn default() -> Self {
        Self([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    }
}

impl From<Orientation> for OrientationVector {
    fn from(Orientation { axis, theta }: Orientation) -> Self {
        Self {
            axis,
            theta: theta.to_radians(),
        }
    }
}

impl From<OrientationVector> for Orientation {
    fn from(OrientationVector { axis, theta }: OrientationVector) -> Self {
        Self {
            axis,
            theta: theta.to_degrees(),
        }
    }
}

macro_rules! any {
    ($($form:ident => $variant:ident),* $(,)?) => {
        $(impl From<$form> for AnyOrientation {
            fn from(form: $form) -> Self { Self::$variant(form) }
        })*
    };
}

any! {
    Orientation => Degrees,
    OrientationVector => Radians,
    EulerAngles => Euler,
    Quaternion => Quaternion,
    AxisAngle => AxisAngle,
}
