//! Frames and shapes as a config describes them. Lengths are millimetres, angles radians.

/// The place of a part in the frame system.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The frame it hangs in, for example `world`.
    pub parent: String,
    /// Name of the frame. `None`: the name of the resource.
    pub id: Option<String>,
    /// Translation from the parent's origin, in mm along x, y, z.
    pub translation: [f64; 3],
    /// Orientation against the parent.
    pub orientation: Orientation,
    /// Geometry of what the frame is fixed to.
    pub geometry: Option<Geometry>,
}

/// A rotation as the config writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Orientation {
    /// No rotation.
    #[default]
    None,
    /// Direction of the z axis, and the turn around it. The config has it in degrees or in radians.
    Vector {
        /// Direction of the z axis; any length but zero.
        axis: [f64; 3],
        /// Turn around that direction, in radians.
        theta: f64,
    },
    /// A turn of `theta` radians around `axis`.
    AxisAngles {
        /// Axis: any length but zero, unless `theta` is zero.
        axis: [f64; 3],
        /// Angle in radians.
        theta: f64,
    },
    /// Turns around the own z (yaw), then y (pitch), then x axis (roll), in radians.
    EulerAngles {
        /// Around x.
        roll: f64,
        /// Around y.
        pitch: f64,
        /// Around z.
        yaw: f64,
    },
    /// w, x, y, z; any length but zero.
    Quaternion([f64; 4]),
}

/// A shape and where it sits in the frame of its part.
#[derive(Clone, Debug, PartialEq)]
pub struct Geometry {
    /// Shape.
    pub shape: Shape,
    /// Translation from the frame's origin to the centre of the shape, in mm.
    pub translation: [f64; 3],
    /// Orientation against the frame.
    pub orientation: Orientation,
    /// Label. May be empty.
    pub label: String,
}

/// A shape, in mm.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Edge lengths along x, y, z.
    Box([f64; 3]),
    /// A ball of this radius.
    Sphere(f64),
    /// A cylinder with round ends: radius and whole length.
    Capsule {
        /// Radius of the ends.
        radius: f64,
        /// Length from end to end.
        length: f64,
    },
    /// No extent at all.
    Point,
    /// A surface of triangles.
    Mesh {
        /// The content of a file.
        data: Vec<u8>,
        /// Kind of file, for example `ply`.
        content_type: String,
        /// Path that it came from. May be empty.
        file_path: String,
    },
}
