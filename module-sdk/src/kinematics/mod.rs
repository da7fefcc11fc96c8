//! Kinematic models of arms, gantries and grippers (feature `frames`): read from files, asked where each part is.
//!
//! ```
//! use mainstay_module::kinematics::Mechanism;
//!
//! let file = r#"{
//!     "name": "lift",
//!     "links": [{"id": "base", "parent": "world", "translation": {"x": 0, "y": 0, "z": 100}}],
//!     "joints": [{"id": "lift", "type": "prismatic", "parent": "base", "axis": {"x": 0, "y": 0, "z": 1}, "min": 0, "max": 250}]
//! }"#;
//! let lift = Mechanism::from_sva(file).unwrap();
//! assert_eq!(lift.end_pose(&[50.0]).unwrap().position().z, 150.0);
//! assert_eq!(
//!     lift.check(None, &[300.0]).unwrap_err().message(),
//!     "joint 0 needs to be within range [0, 250] and cannot be moved to 300"
//! );
//! assert_eq!(lift.to_kinematics().file, file.as_bytes()); // What `Arm::kinematics` returns.
//! ```
//!
//! A mechanism is a tree of named frames below `world`. Each is at a pose in its parent; those that are joints turn or
//! slide from there. Joint positions are in degrees or millimetres, in the order from the base to the tip (where the tree
//! branches: breadth first, siblings by name), without those that follow another joint.
//!
//! URDF is read with `roxmltree`, one crate that knows the line of every node; `urdf-rs` would bring three readers of XML and
//! `regex` for a few elements, and its errors tell no place.

mod forward;
mod generate;
mod geometry;
mod json;
mod sva;
mod tree;
mod urdf;
mod xml;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;

pub use crate::api::kinematics::{Kinematics, KinematicsFormat, Mesh, MimicJoint};
use crate::spatial::{Geometry, Transform, Vector3};

/// Name of the root of every tree.
pub const WORLD: &str = "world";

/// Mechanism of links and joints.
#[derive(Clone, Debug, PartialEq)]
pub struct Mechanism {
    name: String,
    /// Parents before children.
    frames: Vec<Frame>,
    /// Index of each frame's parent; `None` below `world`.
    parents: Vec<Option<usize>>,
    /// Indexes of the joints that have a position of their own, in the order of positions.
    joints: Vec<usize>,
    /// Of each frame that is a joint: which position it takes, times what, plus what.
    drives: Vec<Option<Drive>>,
    /// Index of the end effector's frame; `None` if there are no frames.
    end: Option<usize>,
    /// Whether the file names the end.
    output_named: bool,
    source: Source,
}

/// Frame of a mechanism: a link, or a joint.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Name, unique in the mechanism.
    pub id: String,
    /// Name of the frame that it hangs on; [`WORLD`] for the first.
    pub parent: String,
    /// Pose in the parent; of a joint, in its zero position.
    pub origin: Transform,
    /// How it moves; `None` for a link.
    pub joint: Option<Joint>,
    /// Its solid, in the frame of the parent: a link's body reaches from there to its own frame. Of a joint, in the frame
    /// that has moved.
    pub geometry: Option<Geometry>,
}

/// Motion of a joint.
#[derive(Clone, Debug, PartialEq)]
pub struct Joint {
    /// What it does.
    pub kind: JointKind,
    /// Axis that it turns about or slides along, a unit vector.
    pub axis: Vector3,
    /// Least position, in degrees or millimetres; minus infinity if there is none.
    pub min: f64,
    /// Greatest position, in degrees or millimetres; infinity if there is none.
    pub max: f64,
    /// Highest speed per second; `None` if unlimited. 0 is immobile.
    pub max_velocity: Option<f64>,
    /// Highest acceleration per second squared; `None` if unlimited.
    pub max_acceleration: Option<f64>,
    /// Joint that it follows.
    pub mimic: Option<MimicJoint>,
}

/// What a joint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JointKind {
    /// Turns; its position is in degrees.
    Revolute,
    /// Slides; its position is in millimetres.
    Prismatic,
}

/// Why a file is no kinematic model: where, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KinematicsError {
    /// Place in the file, such as ``joints[2] (`elbow`)`` or `line 7`.
    pub place: String,
    /// What is wrong.
    pub cause: String,
}

/// What the mechanism was read from.
#[derive(Clone, Debug, Default, PartialEq)]
struct Source {
    format: KinematicsFormat,
    file: Bytes,
    meshes: BTreeMap<String, Mesh>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Drive {
    position: usize,
    multiplier: f64,
    offset: f64,
}

impl Mechanism {
    /// Creates a mechanism from its frames, in any order. Its file is made of them, as SVA.
    ///
    /// # Errors
    /// The frame and what is wrong with it: names that are there twice or not at all, circles, several ends.
    pub fn new(name: impl Into<String>, frames: Vec<Frame>) -> Result<Self, KinematicsError> {
        let mut mechanism = tree::assemble(name.into(), frames, None)?;
        mechanism.source = Source {
            format: KinematicsFormat::Sva,
            file: generate::sva(&mechanism).into(),
            meshes: BTreeMap::new(),
        };
        Ok(mechanism)
    }

    /// Reads a model in JSON, of links and joints (SVA) or of Denavit-Hartenberg parameters.
    ///
    /// # Errors
    /// The place in the file and what is wrong there.
    pub fn from_sva(file: impl Into<Bytes>) -> Result<Self, KinematicsError> {
        let file = file.into();
        let mut mechanism = sva::read(&file)?;
        mechanism.source = Source {
            format: KinematicsFormat::Sva,
            file,
            meshes: BTreeMap::new(),
        };
        Ok(mechanism)
    }

    /// Reads a model in URDF, and takes its meshes, by the path that it gives, from `meshes`; those that are not there are
    /// left out.
    ///
    /// # Errors
    /// The place in the file and what is wrong there.
    pub fn from_urdf(file: impl Into<Bytes>, meshes: BTreeMap<String, Mesh>) -> Result<Self, KinematicsError> {
        let file = file.into();
        let mut mechanism = urdf::read(&file, &meshes)?;
        mechanism.source = Source {
            format: KinematicsFormat::Urdf,
            file,
            meshes,
        };
        Ok(mechanism)
    }

    /// Reads what a resource reports of itself. Without a file it is a mechanism without frames.
    ///
    /// # Errors
    /// The place in the file and what is wrong there.
    pub fn from_kinematics(kinematics: Kinematics) -> Result<Self, KinematicsError> {
        match kinematics.format {
            KinematicsFormat::Sva => Self::from_sva(kinematics.file),
            KinematicsFormat::Urdf => Self::from_urdf(kinematics.file, kinematics.meshes),
            KinematicsFormat::Unspecified if kinematics.file.is_empty() => {
                tree::assemble(String::new(), Vec::new(), None)
            }
            KinematicsFormat::Unspecified => Err(KinematicsError::at(
                "format",
                "unable to parse file of type UNSPECIFIED",
            )),
        }
    }

    /// Creates the model of a gantry of one axis, X: a base at x = -50 mm and a carriage that slides from 0 to `length_mm`.
    ///
    /// # Errors
    /// `length_mm must be positive, got …`.
    pub fn gantry(name: impl Into<String>, length_mm: f64) -> Result<Self, KinematicsError> {
        generate::gantry(name.into(), length_mm)
    }

    /// Returns the name that the file gives; may be empty.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns all frames, parents before children.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Returns the names and motions of the joints, in the order of positions.
    pub fn joints(&self) -> impl Iterator<Item = (&str, &Joint)> {
        self.joints.iter().filter_map(|index| {
            let frame = &self.frames[*index];
            Some((frame.id.as_str(), frame.joint.as_ref()?))
        })
    }

    /// Returns the number of joint positions (degrees of freedom).
    #[must_use]
    pub fn dof(&self) -> usize {
        self.joints.len()
    }

    /// Returns the name of the end effector's frame; [`WORLD`] if there are no frames.
    #[must_use]
    pub fn end(&self) -> &str {
        self.end.map_or(WORLD, |index| &self.frames[index].id)
    }
}

impl KinematicsError {
    fn at(place: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self {
            place: place.to_string(),
            cause: cause.to_string(),
        }
    }
}

impl fmt::Display for KinematicsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kinematics, {}: {}", self.place, self.cause)
    }
}

impl std::error::Error for KinematicsError {}
