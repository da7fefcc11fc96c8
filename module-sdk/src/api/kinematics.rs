//! Kinematics as arms, gantries and grippers report them, and meshes.

use std::collections::BTreeMap;

use bytes::Bytes;
use mainstay_proto::viam::common::v1 as common;

use crate::{
    spatial::{Geometry, Orientation, Vector3},
    wire::{Malformed, Message, Wire},
};

/// Kinematics of a resource: a file that says which links and joints it has, and the same as a model.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(common::GetKinematicsResponse)]
pub struct Kinematics {
    /// Format of `file`.
    pub format: KinematicsFormat,
    /// Contents of the file; empty if there is none.
    #[message(kinematics_data)]
    pub file: Bytes,
    /// Meshes that a URDF file mentions, by the path that it gives.
    #[message(meshes_by_urdf_filepath)]
    pub meshes: BTreeMap<String, Mesh>,
    /// The model, which clients since 2026 read; older ones read the file.
    pub model: Option<KinematicModel>,
}

/// Format of a kinematics file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Message)]
#[message(common::KinematicsFileFormat)]
pub enum KinematicsFormat {
    /// No file.
    #[default]
    Unspecified,
    /// JSON with links and joints, or with Denavit-Hartenberg parameters.
    Sva,
    /// Unified robot description format, XML.
    Urdf,
}

/// Triangle mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Message)]
#[message(common::Mesh)]
pub struct Mesh {
    /// File format, `ply` or `stl`.
    pub content_type: String,
    /// Contents of the file.
    #[message(mesh)]
    pub bytes: Bytes,
    /// Path of the file that it came from, for people.
    #[message(original_file_source_path_diagnostic)]
    pub source: Option<String>,
}

/// Links and joints of a mechanism.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(common::KinematicModel, default)]
pub struct KinematicModel {
    /// Name of the model.
    pub name: String,
    /// Rigid bodies.
    pub links: Vec<Link>,
    /// Joints between them.
    pub joints: Vec<Joint>,
    /// Names of the frames at which it ends; one at most.
    pub output_frames: Vec<String>,
    /// What the controller can do.
    pub properties: KinematicProperties,
}

/// Rigid body of a mechanism.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(common::KinematicLink)]
pub struct Link {
    /// Name, unique in the model.
    pub id: String,
    /// Link or joint that it hangs on.
    pub parent: String,
    /// Its pose in the frame of `parent`.
    pub pose: LinkPose,
    /// Solids to plan with.
    pub collision: Vec<Geometry>,
    /// Solids to look at.
    pub visual: Vec<Geometry>,
}

/// Pose of a link in the frame of its parent.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(common::LinkPose, default)]
pub struct LinkPose {
    /// Translation in millimetres.
    pub translation: Vector3,
    /// Rotation; none if absent.
    pub orientation: Option<LinkOrientation>,
}

/// Rotation of a link, in one of four notations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LinkOrientation {
    /// Unit quaternion.
    #[allow(missing_docs, reason = "the usual names")]
    Quaternion { w: f64, x: f64, y: f64, z: f64 },
    /// Orientation vector, `theta` in degrees.
    OrientationVector(Orientation),
    /// Euler angles, in radians.
    #[allow(missing_docs, reason = "the usual names")]
    EulerAngles { roll: f64, pitch: f64, yaw: f64 },
    /// Axis and the angle about it, in radians.
    #[allow(missing_docs, reason = "the usual names")]
    AxisAngles { axis: Vector3, theta: f64 },
}

/// Joint of a mechanism.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(common::KinematicJoint)]
pub struct Joint {
    /// Name, unique in the model.
    pub id: String,
    /// Link that it hangs on.
    pub parent: String,
    /// Kind of motion.
    #[message(r#type)]
    pub kind: JointType,
    /// Axis of the motion, a unit vector.
    pub axis: Vector3,
    /// Limits; none if absent.
    pub limits: Option<JointLimits>,
    /// Joint that it follows.
    pub mimic: Option<MimicJoint>,
    /// Solid that moves with it.
    pub geometry: Option<Geometry>,
}

/// Kind of a joint's motion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[message(common::JointType)]
pub enum JointType {
    /// Turns, within limits. Its value is in degrees.
    Revolute,
    /// Slides. Its value is in millimetres.
    Prismatic,
    /// Turns without end.
    Continuous,
}

/// Limits of a joint: degrees or millimetres, and these per second and per second squared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(common::JointLimits)]
#[allow(missing_docs, reason = "the fields name themselves")]
pub struct JointLimits {
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub max_velocity: Option<f64>,
    pub max_acceleration: Option<f64>,
}

/// Joint that follows another: its value is `multiplier * other + offset`.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(common::MimicJoint)]
pub struct MimicJoint {
    /// Name of the other joint.
    pub joint: String,
    /// Factor.
    pub multiplier: f64,
    /// Offset in the unit of this joint.
    pub offset: f64,
}

/// What the controller of a mechanism can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(common::KinematicProperties, default)]
pub struct KinematicProperties {
    /// Commands per second.
    pub operating_freq_hz: Option<f64>,
    /// Highest speed of the end effector.
    pub max_linear_tcp_speed_mm_per_sec: Option<f64>,
}

impl Wire<common::link_pose::Orientation> for LinkOrientation {
    fn into_wire(self) -> common::link_pose::Orientation {
        use common::link_pose::Orientation as Choice;
        match self {
            Self::Quaternion { w, x, y, z } => Choice::Quaternion(common::Quaternion { w, x, y, z }),
            Self::OrientationVector(vector) => Choice::OrientationVector(vector.into_wire()),
            Self::EulerAngles { roll, pitch, yaw } => Choice::EulerAngles(common::EulerAngles { roll, pitch, yaw }),
            Self::AxisAngles {
                axis: Vector3 { x: rx, y: ry, z: rz },
                theta,
            } => Choice::AxisAngles(common::AxisAngles { rx, ry, rz, theta }),
        }
    }

    fn from_wire(wire: common::link_pose::Orientation, _: &'static str) -> Result<Self, Malformed> {
        use common::link_pose::Orientation as Choice;
        Ok(match wire {
            Choice::Quaternion(common::Quaternion { w, x, y, z }) => Self::Quaternion { w, x, y, z },
            Choice::OrientationVector(vector) => Self::OrientationVector(vector.into()),
            Choice::EulerAngles(common::EulerAngles { roll, pitch, yaw }) => Self::EulerAngles { roll, pitch, yaw },
            Choice::AxisAngles(common::AxisAngles { rx, ry, rz, theta }) => Self::AxisAngles {
                axis: Vector3 { x: rx, y: ry, z: rz },
                theta,
            },
        })
    }
}
