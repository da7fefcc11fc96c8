//! Poses that are composed, inverted and compared (feature `frames`).

use std::ops::{Mul, MulAssign};

use nalgebra::{Isometry3, Point3, Translation3};

use super::{Pose, Quaternion, Vector3};

/// Rigid motion from one frame to another: what a [`Pose`] means, in the form that is quick to compute with.
///
/// `a * b` is `b` seen from the parent of `a`: with a camera at `a` and an object at `b` in the camera's frame, `a * b` is
/// where the object is in the frame in which the camera is.
///
/// ```
/// use mainstay_module::spatial::{Orientation, Pose, Transform, Vector3};
///
/// let turned = Pose {
///     position: Vector3 { x: 100.0, y: 0.0, z: 0.0 },
///     orientation: Orientation { theta: 90.0, ..Orientation::default() },
/// };
/// let ahead = Transform::translation(Vector3 { x: 50.0, y: 0.0, z: 0.0 });
/// let seen = Pose::from(Transform::from(turned) * ahead);
/// assert!((seen.position.y - 50.0).abs() < 1e-9);
/// assert!((seen.orientation.theta - 90.0).abs() < 1e-9);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform(Isometry3<f64>);

impl Transform {
    /// Creates a transform from a position in millimetres and an orientation in any form that converts to a quaternion.
    #[must_use]
    pub fn new(position_mm: Vector3, orientation: impl Into<Quaternion>) -> Self {
        let Vector3 { x, y, z } = position_mm;
        Self(Isometry3::from_parts(
            Translation3::new(x, y, z),
            orientation.into().unit(),
        ))
    }

    /// Returns the transform that changes nothing.
    #[must_use]
    pub fn identity() -> Self {
        Self(Isometry3::identity())
    }

    /// Creates a transform that only shifts, in millimetres.
    #[must_use]
    pub fn translation(position_mm: Vector3) -> Self {
        Self::new(position_mm, Quaternion::default())
    }

    /// Creates a transform that only turns.
    #[must_use]
    pub fn rotation(orientation: impl Into<Quaternion>) -> Self {
        Self::new(Vector3::default(), orientation)
    }

    /// Returns the position in millimetres.
    #[must_use]
    pub fn position(&self) -> Vector3 {
        self.0.translation.vector.into()
    }

    /// Returns the orientation, of which [`Quaternion`] converts to every other form.
    #[must_use]
    pub fn orientation(&self) -> Quaternion {
        Quaternion::from_unit(self.0.rotation)
    }

    /// Returns the way back: the parent frame as seen from the local one.
    #[must_use]
    pub fn inverse(&self) -> Self {
        Self(self.0.inverse())
    }

    /// Returns `other` as seen from this frame, where both are seen from the same parent: `a * a.relative(b)` is `b`.
    #[must_use]
    pub fn relative(&self, other: &Self) -> Self {
        Self(self.0.inv_mul(&other.0))
    }

    /// Converts a point of the local frame to the parent's, in millimetres.
    #[must_use]
    pub fn transform_point(&self, point_mm: Vector3) -> Vector3 {
        let Vector3 { x, y, z } = point_mm;
        (self.0 * Point3::new(x, y, z)).coords.into()
    }

    /// Turns a direction of the local frame into the parent's, without shifting it.
    #[must_use]
    pub fn transform_direction(&self, direction: Vector3) -> Vector3 {
        (self.0.rotation * nalgebra::Vector3::from(direction)).into()
    }

    /// Returns the transform at `fraction` of the way to the other: on a straight line, turning evenly about one axis the
    /// shorter way round (slerp). 0 is this one and 1 the other; other fractions go beyond. Of two that face opposite ways,
    /// both directions are as short, and one is taken.
    #[must_use]
    pub fn interpolate(&self, other: &Self, fraction: f64) -> Self {
        let (from, to) = (self.0.translation.vector, other.0.translation.vector);
        // The rotation between the two as axis and angle, so that none is too large for it.
        let turn = super::AxisAngle::from(Quaternion::from_unit(self.0.rotation.rotation_to(&other.0.rotation)));
        let part = super::AxisAngle {
            theta: turn.theta * fraction,
            ..turn
        };
        // `rotation_to` leads on in the parent's frame.
        let rotation = Quaternion::from(part).unit() * self.0.rotation;
        Self(Isometry3::from_parts((from + (to - from) * fraction).into(), rotation))
    }

    /// Returns the distance between the two positions, in millimetres.
    #[must_use]
    pub fn distance_mm(&self, other: &Self) -> f64 {
        (self.0.translation.vector - other.0.translation.vector).norm()
    }

    /// Returns the angle between the two orientations, in degrees, 0 to 180.
    #[must_use]
    pub fn angle_degrees(&self, other: &Self) -> f64 {
        self.0.rotation.angle_to(&other.0.rotation).to_degrees()
    }

    /// True if the two are at most so far apart, in millimetres and degrees. False if a number is not one.
    #[must_use]
    pub fn is_near(&self, other: &Self, tolerance_mm: f64, tolerance_degrees: f64) -> bool {
        self.distance_mm(other) <= tolerance_mm && self.angle_degrees(other) <= tolerance_degrees
    }

    /// Returns the isometry of nalgebra, in millimetres.
    #[must_use]
    pub fn isometry(&self) -> &Isometry3<f64> {
        &self.0
    }
}

impl Default for Transform {
    fn default() -> Self {
        Self::identity()
    }
}

impl Mul for Transform {
    type Output = Self;
    fn mul(self, inner: Self) -> Self {
        // Renormalised: a long chain would drift.
        let product = self.0 * inner.0;
        Self(Isometry3::from_parts(
            product.translation,
            nalgebra::UnitQuaternion::new_normalize(product.rotation.into_inner()),
        ))
    }
}

impl MulAssign for Transform {
    fn mul_assign(&mut self, inner: Self) {
        *self = *self * inner;
    }
}

impl From<Isometry3<f64>> for Transform {
    fn from(isometry: Isometry3<f64>) -> Self {
        Self(isometry)
    }
}

impl From<Pose> for Transform {
    fn from(Pose { position, orientation }: Pose) -> Self {
        Self::new(position, orientation)
    }
}

impl From<Transform> for Pose {
    fn from(transform: Transform) -> Self {
        Self {
            position: transform.position(),
            orientation: transform.orientation().into(),
        }
    }
}

impl Pose {
    /// Returns `inner`, a pose in the frame of this one, as seen from this one's parent.
    #[must_use]
    pub fn compose(self, inner: Self) -> Self {
        (Transform::from(self) * Transform::from(inner)).into()
    }

    /// Returns the way back: the parent's frame as seen from this pose.
    #[must_use]
    pub fn inverse(self) -> Self {
        Transform::from(self).inverse().into()
    }

    /// Returns `other` as seen from this pose, where both are seen from the same parent: `a.compose(a.relative(b))` is `b`.
    #[must_use]
    pub fn relative(self, other: Self) -> Self {
        Transform::from(self).relative(&other.into()).into()
    }

    /// Converts a point of the frame of this pose to its parent's, in millimetres.
    #[must_use]
    pub fn transform_point(self, point_mm: Vector3) -> Vector3 {
        Transform::from(self).transform_point(point_mm)
    }

    /// Returns the pose at `fraction` of the way to the other, as [`Transform::interpolate`].
    #[must_use]
    pub fn interpolate(self, other: Self, fraction: f64) -> Self {
        Transform::from(self).interpolate(&other.into(), fraction).into()
    }

    /// True if the two are at most so far apart, in millimetres and degrees.
    #[must_use]
    pub fn is_near(self, other: Self, tolerance_mm: f64, tolerance_degrees: f64) -> bool {
        Transform::from(self).is_near(&other.into(), tolerance_mm, tolerance_degrees)
    }
}
