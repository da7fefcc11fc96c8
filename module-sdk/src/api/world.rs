//! Poses in named frames, obstacles, and poses on the globe, as services exchange them.

use bytes::Bytes;
use mainstay_proto::viam::common::v1 as common;

use crate::{
    Object,
    spatial::{GeoPoint, Geometry, Orientation, Pose},
    wire::{Malformed, Message, Wire},
};

/// Pose, and the frame that it is measured in.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(common::PoseInFrame)]
pub struct PoseInFrame {
    /// Name of the frame, such as `world` or a component.
    #[message(reference_frame)]
    pub frame: String,
    /// The pose.
    pub pose: Pose,
    /// Of a goal: how far it may be missed.
    #[message(goal_cloud)]
    pub tolerance: Option<PoseTolerance>,
}

/// How far a goal may be missed: a tolerance for each number of a pose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(common::PoseCloud)]
#[allow(missing_docs, reason = "the numbers of a pose")]
pub struct PoseTolerance {
    pub x: f64,
    pub y: f64,
    pub z: f64,
    pub o_x: f64,
    pub o_y: f64,
    pub o_z: f64,
    pub theta: f64,
}

/// Solids in a named frame.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(common::GeometriesInFrame, default)]
pub struct GeometriesInFrame {
    /// Name of the frame.
    #[message(reference_frame)]
    pub frame: String,
    /// The solids.
    pub geometries: Vec<Geometry>,
}

/// Object found in a point cloud.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(common::PointCloudObject)]
pub struct PointCloudObject {
    /// Its points, as a PCD file, in metres.
    pub point_cloud: Bytes,
    /// Solids around it, in millimetres.
    pub geometries: GeometriesInFrame,
}

/// Frame beyond those of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(common::Transform)]
pub struct Transform {
    /// Name of the frame.
    #[message(reference_frame)]
    pub frame: String,
    /// Its pose in the frame that it hangs on.
    #[message(pose_in_observer_frame)]
    pub pose: PoseInFrame,
    /// Solid at that place.
    #[message(physical_object)]
    pub geometry: Option<Geometry>,
    /// Identifier; empty where transforms do not come and go one by one.
    pub uuid: Bytes,
    /// What else is known of it, such as a colour.
    pub metadata: Object,
}

/// What a planner must know beyond the machine.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(common::WorldState)]
pub struct WorldState {
    /// Things in the way.
    pub obstacles: Vec<GeometriesInFrame>,
    /// More frames.
    pub transforms: Vec<Transform>,
}

/// Solids at a place on the globe.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(common::GeoGeometry)]
pub struct GeoGeometry {
    /// The place.
    pub location: GeoPoint,
    /// The solids, in millimetres from that place.
    pub geometries: Vec<Geometry>,
}

/// Pose on the globe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(common::GeoPose)]
pub struct GeoPose {
    /// Place.
    pub location: GeoPoint,
    /// Altitude in metres.
    #[message(altitude)]
    pub altitude_m: Option<f64>,
    /// Rotation.
    pub orientation: Option<GeoOrientation>,
}

/// Rotation on the globe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GeoOrientation {
    /// Degrees clockwise from north.
    Heading(f64),
    /// In all three dimensions.
    Orientation(Orientation),
}

impl Wire<common::geo_pose::Orientation> for GeoOrientation {
    fn into_wire(self) -> common::geo_pose::Orientation {
        match self {
            Self::Heading(degrees) => common::geo_pose::Orientation::Heading(degrees),
            Self::Orientation(vector) => common::geo_pose::Orientation::OrientationVector(vector.into_wire()),
        }
    }

    fn from_wire(wire: common::geo_pose::Orientation, _: &'static str) -> Result<Self, Malformed> {
        Ok(match wire {
            common::geo_pose::Orientation::Heading(degrees) => Self::Heading(degrees),
            common::geo_pose::Orientation::OrientationVector(vector) => Self::Orientation(vector.into()),
        })
    }
}
