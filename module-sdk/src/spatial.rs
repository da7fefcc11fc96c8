//! Places, directions and shapes, in the units of the wire: millimetres and degrees.

use bytes::Bytes;
use mainstay_proto::viam::common::v1 as wire;

/// Three numbers along the axes of a frame. The unit is that of the place where it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the axes name themselves")]
pub struct Vector3 {
    pub x: f64,
    pub y: f64,
    pub z: f64,
}

/// A place on Earth, in degrees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GeoPoint {
    /// Degrees, north is positive.
    pub latitude: f64,
    /// Degrees, east is positive.
    pub longitude: f64,
}

/// A direction as the unit vector that the local Z axis points to, and a turn about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Orientation {
    /// The unit vector.
    pub axis: Vector3,
    /// Degrees about `axis`.
    pub theta: f64,
}

/// A place (mm) with a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pose {
    /// Millimetres.
    pub position: Vector3,
    /// Where it looks.
    pub orientation: Orientation,
}

/// A solid with a place.
#[derive(Clone, Debug, PartialEq)]
pub struct Geometry {
    /// The middle, in the frame of the component.
    pub center: Pose,
    /// The form.
    pub shape: Shape,
    /// A name for people; may be empty.
    pub label: String,
}

/// The form of a [`Geometry`].
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A ball; a radius of 0 is a point.
    Sphere {
        /// Millimetres.
        radius_mm: f64,
    },
    /// A box.
    Cuboid {
        /// The whole length of each side, in millimetres.
        dims_mm: Vector3,
    },
    /// A cylinder with round ends.
    Capsule {
        /// Millimetres.
        radius_mm: f64,
        /// The whole length with both ends, in millimetres.
        length_mm: f64,
    },
    /// Triangles.
    Mesh {
        /// `ply` or `stl`.
        content_type: String,
        /// The file.
        bytes: Bytes,
    },
    /// Points, as a PCD file (coordinates in metres).
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
    /// Reads a geometry; one without a form says nothing and is left out.
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
