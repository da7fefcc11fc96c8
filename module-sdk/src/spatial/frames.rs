//! Conversions between the forms of an orientation, by way of a unit [`Quaternion`] (feature `frames`).
//!
//! **Orientation vectors.** The axis (x, y, z) is where the local Z points; `theta` turns about it. In the usual terms
//! that is the rotation `Rz(longitude) · Ry(latitude) · Rz(theta)`, with `latitude = acos z` and
//! `longitude = atan2(y, x)`: Z is tilted down the meridian and turned to its place, and theta counts from the meridian.
//! At a pole there is no meridian, so longitude is 0 and theta alone says how far X turns: (0, 0, 1, 90) is a quarter
//! turn to the left, (0, 0, -1, 0) a half turn about Y.
//!
//! Viam's clients take every axis with `1 - |z| ≤ 10⁻⁴` for a pole, 0.81° wide: there they write the axis as it is,
//! with a theta that counts as if longitude were 0 (measured, `viam.spatialmath` of the Python SDK). Theta is therefore
//! written and read in the same way here, as `theta + longitude` near +Z and `theta - longitude` near -Z, which loses
//! nothing: heading and tilt survive a round trip, and a client gets the heading right. An axis within
//! 10⁻⁷ of a pole is written as that pole, since what is left there is mostly the noise of arithmetic.
//!
//! **Vectors without length.** Peers send an orientation of all zeros for none, so a zero axis counts as +Z, and a zero
//! quaternion or rotation axis as no rotation. What is not a number stays so.

use nalgebra::{Matrix3, Rotation3, UnitQuaternion, Vector3 as Column};

use super::{
    AnyOrientation, AxisAngle, EulerAngles, Orientation, OrientationVector, Quaternion, RotationMatrix, Vector3,
};

/// Width of what Viam's clients take for a pole of orientation vectors, as `1 - |z|`.
const POLE: f64 = 1e-4;
/// Largest distance from the Z axis, as a fraction of the length, that is taken for noise.
const NOISE: f64 = 1e-7;
/// Largest cosine of a pitch at which roll and yaw cannot be told apart.
const GIMBAL_LOCK: f64 = 1e-9;

impl Quaternion {
    /// Converts a unit quaternion of nalgebra.
    #[must_use]
    pub fn from_unit(unit: UnitQuaternion<f64>) -> Self {
        let [x, y, z, w] = unit.coords.data.0[0];
        Self { w, x, y, z }
    }

    /// Returns the unit quaternion of the same direction, as nalgebra has it. A quaternion of length 0 is no rotation.
    #[must_use]
    pub fn unit(self) -> UnitQuaternion<f64> {
        let Self { w, x, y, z } = self;
        let quaternion = nalgebra::Quaternion::new(w, x, y, z);
        if quaternion.norm() == 0.0 {
            UnitQuaternion::identity()
        } else {
            UnitQuaternion::new_normalize(quaternion)
        }
    }

    /// Returns the angle of the rotation that leads from this orientation to the other, in degrees, 0 to 180.
    #[must_use]
    pub fn angle_to_degrees(self, other: Self) -> f64 {
        self.unit().angle_to(&other.unit()).to_degrees()
    }
}

impl From<OrientationVector> for Quaternion {
    fn from(OrientationVector { axis, theta }: OrientationVector) -> Self {
        let Vector3 { x, y, z } = unit_axis(axis);
        let (latitude, longitude) = (x.hypot(y).atan2(z), y.atan2(x));
        let theta = if is_pole(z) {
            theta - longitude * z.signum()
        } else {
            theta
        };
        Self::from_unit(about_z(longitude) * about_y(latitude) * about_z(theta))
    }
}

impl From<Quaternion> for OrientationVector {
    fn from(quaternion: Quaternion) -> Self {
        let unit = quaternion.unit();
        let axis = unit * Column::z();
        let (x, y, z) = (axis.x, axis.y, axis.z);
        if x.hypot(y) <= NOISE {
            // Rz(theta), after a half turn about Y below.
            let upright = if z < 0.0 {
                about_y(std::f64::consts::PI).inverse() * unit
            } else {
                unit
            };
            return Self {
                axis: Vector3 {
                    x: 0.0,
                    y: 0.0,
                    z: z.signum(),
                },
                theta: folded(2.0 * upright.k.atan2(upright.w)),
            };
        }
        let (latitude, longitude) = (x.hypot(y).atan2(z), y.atan2(x));
        let rest = (about_z(longitude) * about_y(latitude)).inverse() * unit;
        let theta = 2.0 * rest.k.atan2(rest.w);
        let theta = if is_pole(z) {
            theta + longitude * z.signum()
        } else {
            theta
        };
        Self {
            axis: Vector3 { x, y, z },
            theta: folded(theta),
        }
    }
}

impl From<Orientation> for Quaternion {
    fn from(orientation: Orientation) -> Self {
        OrientationVector::from(orientation).into()
    }
}

impl From<Quaternion> for Orientation {
    fn from(quaternion: Quaternion) -> Self {
        OrientationVector::from(quaternion).into()
    }
}

impl From<EulerAngles> for Quaternion {
    fn from(EulerAngles { roll, pitch, yaw }: EulerAngles) -> Self {
        let about_x = UnitQuaternion::from_axis_angle(&Column::x_axis(), roll);
        Self::from_unit(about_z(yaw) * about_y(pitch) * about_x)
    }
}

impl From<Quaternion> for EulerAngles {
    /// Roll and yaw are within ±π, pitch within ±π/2. With a pitch of ±π/2 roll and yaw are one rotation, and roll is 0.
    fn from(quaternion: Quaternion) -> Self {
        let RotationMatrix([[m00, m01, _], [m10, m11, _], [m20, m21, m22]]) = quaternion.into();
        let cosine = m00.hypot(m10);
        let pitch = (-m20).atan2(cosine);
        let (roll, yaw) = if cosine <= GIMBAL_LOCK {
            (0.0, (-m01).atan2(m11))
        } else {
            (m21.atan2(m22), m10.atan2(m00))
        };
        Self { roll, pitch, yaw }
    }
}

impl From<AxisAngle> for Quaternion {
    fn from(AxisAngle { axis, theta }: AxisAngle) -> Self {
        let Vector3 { x, y, z } = axis;
        let axis = Column::new(x, y, z);
        let norm = axis.norm();
        if norm == 0.0 {
            return Self::default();
        }
        let (sine, w) = (theta / 2.0).sin_cos();
        let part = axis * (sine / norm);
        Self {
            w,
            x: part.x,
            y: part.y,
            z: part.z,
        }
    }
}

impl From<Quaternion> for AxisAngle {
    /// Theta is 0 to π. The axis of no rotation is +Z.
    fn from(quaternion: Quaternion) -> Self {
        let unit = quaternion.unit();
        let sign = if unit.w < 0.0 { -1.0 } else { 1.0 };
        let part = unit.imag() * sign;
        let sine = part.norm();
        if sine == 0.0 {
            return Self::default();
        }
        let axis = part / sine;
        Self {
            axis: axis.into(),
            theta: 2.0 * sine.atan2(unit.w.abs()),
        }
    }
}

impl From<RotationMatrix> for Quaternion {
    /// A matrix that is a little off, as after many multiplications, gives the nearest rotation.
    fn from(RotationMatrix(rows): RotationMatrix) -> Self {
        let matrix = Matrix3::from_fn(|row, column| rows[row][column]);
        Self::from_unit(UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(
            matrix,
        )))
    }
}

impl From<Quaternion> for RotationMatrix {
    fn from(quaternion: Quaternion) -> Self {
        let matrix = quaternion.unit().to_rotation_matrix();
        Self([0, 1, 2].map(|row| [0, 1, 2].map(|column| matrix[(row, column)])))
    }
}

impl From<AnyOrientation> for Quaternion {
    fn from(orientation: AnyOrientation) -> Self {
        match orientation {
            AnyOrientation::Degrees(form) => form.into(),
            AnyOrientation::Radians(form) => form.into(),
            AnyOrientation::Euler(form) => form.into(),
            AnyOrientation::Quaternion(form) => form,
            AnyOrientation::AxisAngle(form) => form.into(),
        }
    }
}

impl From<AnyOrientation> for Orientation {
    fn from(orientation: AnyOrientation) -> Self {
        match orientation {
            AnyOrientation::Degrees(form) => form,
            AnyOrientation::Radians(form) => form.into(),
            other => Quaternion::from(other).into(),
        }
    }
}

impl From<Column<f64>> for Vector3 {
    fn from(column: Column<f64>) -> Self {
        Self {
            x: column.x,
            y: column.y,
            z: column.z,
        }
    }
}

impl From<Vector3> for Column<f64> {
    fn from(Vector3 { x, y, z }: Vector3) -> Self {
        Self::new(x, y, z)
    }
}

fn unit_axis(axis: Vector3) -> Vector3 {
    let column = Column::from(axis);
    let norm = column.norm();
    if norm == 0.0 {
        Column::z().into()
    } else {
        (column / norm).into()
    }
}

fn is_pole(z: f64) -> bool {
    1.0 - z.abs() <= POLE
}

/// Returns the same angle within ±π.
fn folded(radians: f64) -> f64 {
    use std::f64::consts::{PI, TAU};
    if radians > PI {
        radians - TAU
    } else if radians < -PI {
        radians + TAU
    } else {
        radians
    }
}

fn about_y(radians: f64) -> UnitQuaternion<f64> {
    UnitQuaternion::from_axis_angle(&Column::y_axis(), radians)
}

fn about_z(radians: f64) -> UnitQuaternion<f64> {
    UnitQuaternion::from_axis_angle(&Column::z_axis(), radians)
}
