//! Vectors, poses and geometries, in the units of the wire: millimetres and degrees.
//!
//! The types are plain data. The feature `frames` brings what computes with them: conversions between the forms of an
//! orientation, `Transform`, and the arithmetic of [`Pose`].

#[cfg(feature = "frames")]
mod frames;
mod readings;
mod rotations;
#[cfg(feature = "frames")]
mod transform;

#[cfg(all(test, feature = "frames"))]
mod tests;

use bytes::Bytes;
use mainstay_proto::viam::common::v1 as wire;

pub use self::rotations::{
    AngularVelocity, AnyOrientation, AxisAngle, EulerAngles, OrientationVector, Quaternion, RotationMatrix,
};
#[cfg(feature = "frames")]
pub use self::transform::Transform;

/// Vector in three dimensions. The unit depends on its use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the axes name themselves")]
pub struct Vector3 {
    pub x: f64,
    pub y: f64,
    pub z: f64,
}

/// Geographic coordinates (WGS 84), in degrees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GeoPoint {
    /// Latitude in degrees, -90 to 90, north positive.
    pub latitude: f64,
    /// Longitude in degrees, -180 to 180, east positive.
    pub longitude: f64,
}

/// Orientation as the unit vector that the local Z axis points along, and a rotation about it ("orientation vector").
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Orientation {
    /// Unit vector, without unit.
    pub axis: Vector3,
    /// Rotation about `axis`, in degrees.
    pub theta: f64,
}

/// Position and orientation in a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pose {
    /// Position in millimetres.
    pub position: Vector3,
    /// Orientation.
    pub orientation: Orientation,
}

/// Solid at a pose.
#[derive(Clone, Debug, PartialEq)]
pub struct Geometry {
    /// Pose of its centre, in the frame of the component.
    pub center: Pose,
    /// Shape and size.
    pub shape: Shape,
    /// Label for people; may be empty.
    pub label: String,
}

/// Shape and size of a [`Geometry`].
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Sphere; a radius of 0 is a point.
    Sphere {
        /// Radius in millimetres.
        radius_mm: f64,
    },
    /// Box.
    Cuboid {
        /// Full length of each side, in millimetres.
        dims_mm: Vector3,
    },
    /// Cylinder with hemispherical ends.
    Capsule {
        /// Radius in millimetres.
        radius_mm: f64,
        /// Full length including both ends, in millimetres.
        length_mm: f64,
    },
    /// Triangle mesh.
    Mesh {
        /// File format, `ply` or `stl`.
        content_type: String,
        /// Contents of the file.
        bytes: Bytes,
    },
    /// Point cloud as a PCD file, coordinates in metres.
    PointCloud(Bytes),
}

impl Default for Orientation {
    fn default() -> Self {
        Self {
            axis: Vector3 { x: 0.0, y: 0.0, z: 1.0 },
            theta: 0.0,
        }
    }
}

impl From<wire::Vector3> for Vector3 {
    fn from(wire::Vector3 { x, y, z }: wire::Vector3) -> Self {
        Self { x, y, z }
    }
}

impl From<Vector3> for wire::Vector3 {
    fn from(Vector3 { x, y, z }: Vector3) -> Self {
        Self { x, y, z }
    }
}

impl From<wire::Orientation> for Orientation {
    fn from(
        wire::Orientation {
            o_x: x,
            o_y: y,
            o_z: z,
            theta,
        }: wire::Orientation,
    ) -> Self {
        Self {
            axis: Vector3 { x, y, z },
            theta,
        }
    }
}

impl From<Orientation> for wire::Orientation {
    fn from(
        Orientation {
            axis: Vector3 { x: o_x, y: o_y, z: o_z },
            theta,
        }: Orientation,
    ) -> Self {
        Self { o_x, o_y, o_z, theta }
    }
}

impl From<wire::Pose> for Pose {
    fn from(
        wire::Pose {
            x,
            y,
            z,
            o_x,
            o_y,
            o_z,
            theta,
        }: wire::Pose,
    ) -> Self {
        let axis = Vector3 { x: o_x, y: o_y, z: o_z };
        Self {
            position: Vector3 { x, y, z },
            orientation: Orientation { axis, theta },
        }
    }
}

impl From<Pose> for wire::Pose {
    fn from(
        Pose {
            position: Vector3 { x, y, z },
            orientation,
        }: Pose,
    ) -> Self {
        let wire::Orientation { o_x, o_y, o_z, theta } = orientation.into();
        Self {
            x,
            y,
            z,
            o_x,
            o_y,
            o_z,
            theta,
        }
    }
}

impl Geometry {
    /// Converts a geometry of the wire; `None` if it has no shape.
    pub(crate) fn from_wire(geometry: wire::Geometry) -> Option<Self> {
        use wire::geometry::GeometryType;
        let shape = match geometry.geometry_type? {
            GeometryType::Sphere(sphere) => Shape::Sphere {
                radius_mm: sphere.radius_mm,
            },
            GeometryType::Box(cuboid) => Shape::Cuboid {
                dims_mm: cuboid.dims_mm.unwrap_or_default().into(),
            },
            GeometryType::Capsule(capsule) => Shape::Capsule {
                radius_mm: capsule.radius_mm,
                length_mm: capsule.length_mm,
            },
            GeometryType::Mesh(mesh) => Shape::Mesh {
                content_type: mesh.content_type,
                bytes: mesh.mesh,
            },
            GeometryType::Pointcloud(cloud) => Shape::PointCloud(cloud.point_cloud),
        };
        let center = geometry.center.map_or_else(Pose::default, Pose::from);
        Some(Self {
            center,
            shape,
            label: geometry.label,
        })
    }
}

impl From<Geometry> for wire::Geometry {
    fn from(Geometry { center, shape, label }: Geometry) -> Self {
        use wire::geometry::GeometryType;
        let shape = match shape {
            Shape::Sphere { radius_mm } => GeometryType::Sphere(wire::Sphere { radius_mm }),
            Shape::Cuboid { dims_mm } => GeometryType::Box(wire::RectangularPrism {
                dims_mm: Some(dims_mm.into()),
            }),
            Shape::Capsule { radius_mm, length_mm } => GeometryType::Capsule(wire::Capsule { radius_mm, length_mm }),
            Shape::Mesh { content_type, bytes } => GeometryType::Mesh(wire::Mesh {
                content_type,
                mesh: bytes,
                ..Default::default()
            }),
            Shape::PointCloud(point_cloud) => GeometryType::Pointcloud(wire::PointCloud { point_cloud }),
        };
        // Peers fail on a geometry without a centre, so it is always there.
        Self {
            center: Some(center.into()),
            label,
            geometry_type: Some(shape),
        }
    }
}
