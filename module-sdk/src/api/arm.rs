//! `rdk:component:arm`: arms with joints. Values of joints are listed from the base to the tip, in degrees for joints
//! that turn and in millimetres for those that slide.

mod trajectory;

use std::{collections::BTreeMap, time::Duration};

use mainstay_proto::viam::{common::v1 as common, component::arm::v1};

use super::Streaming;
pub use super::kinematics::{Kinematics, Mesh};
use crate::{
    Object, Resource, Result, api,
    spatial::Pose,
    wire::{Malformed, Message, Wire},
};

/// Arm (`rdk:component:arm`). A move returns when it is done; the next one, or a stop, ends it before.
///
/// ```
/// use mainstay_module::{prelude::*, spatial::Pose};
/// # struct Picker;
/// # impl Picker { async fn turn(&self, degrees: &[f64]) -> Result<()> { Ok(()) } }
/// # impl Resource for Picker {}
///
/// #[async_trait]
/// impl Arm for Picker {
///     async fn end_position(&self, extra: &Object) -> Result<Pose> {
///         Ok(Pose::default())
///     }
///     async fn joint_positions(&self, extra: &Object) -> Result<Vec<f64>> {
///         Ok(vec![0.0; 6])
///     }
///     async fn move_to_position(&self, pose: Pose, extra: &Object) -> Result<()> {
///         Err(Error::unimplemented("this arm takes joint positions alone"))
///     }
///     async fn move_to_joint_positions(&self, positions: &[f64], extra: &Object) -> Result<()> {
///         self.turn(positions).await
///     }
///     async fn stop(&self, extra: &Object) -> Result<()> {
///         Ok(())
///     }
///     async fn is_moving(&self) -> Result<bool> {
///         Ok(false)
///     }
/// }
/// ```
#[api("rdk:component:arm", v1::ArmService { DoCommand, GetStatus, GetGeometries }, stop = stop)]
pub trait Arm: Resource {
    /// Returns the pose of the end effector in the frame of the arm's base.
    #[rpc(GetEndPosition -> pose)]
    async fn end_position(&self, extra: &Object) -> Result<Pose>;

    /// Returns the value of each joint.
    #[rpc(GetJointPositions -> positions)]
    async fn joint_positions(&self, extra: &Object) -> Result<Vec<f64>>;

    /// Moves the end effector to a pose in the frame of the arm's base.
    #[rpc(MoveToPosition { to: pose })]
    async fn move_to_position(&self, pose: Pose, extra: &Object) -> Result<()>;

    /// Moves each joint to a value. `positions` has one for each joint.
    #[rpc(MoveToJointPositions)]
    async fn move_to_joint_positions(&self, positions: &[f64], extra: &Object) -> Result<()>;

    /// Moves through several sets of joint positions, in this order. By default one move after the other, without regard
    /// to `options`.
    #[rpc(MoveThroughJointPositions)]
    async fn move_through_joint_positions(
        &self,
        positions: &[Vec<f64>],
        options: Option<MoveOptions>,
        extra: &Object,
    ) -> Result<()> {
        let _ = options;
        for positions in positions {
            self.move_to_joint_positions(positions, extra).await?;
        }
        Ok(())
    }

    /// Follows a trajectory while it comes in, and returns when its last point is reached. The first point is at time 0
    /// and at rest; times grow. A batch is acknowledged when it is taken from `points`.
    #[rpc(duplex MoveThroughJointPositionsStreamed, optional, serve = trajectory::serve, call = trajectory::call)]
    async fn follow_trajectory(&self, points: Streaming<Vec<TrajectoryPoint>>, extra: &Object) -> Result<()>;

    /// Stops at once. Also called before the resource is closed.
    #[rpc(Stop)]
    async fn stop(&self, extra: &Object) -> Result<()>;

    /// Returns whether the arm is moving now. Must not wait.
    #[rpc(IsMoving -> is_moving)]
    async fn is_moving(&self) -> Result<bool>;

    /// Returns the kinematics. Meshes to plan with and to look at are wanted if so said.
    #[rpc(common::GetKinematics {
        include_collision_meshes: collision_meshes, include_visual_meshes: visual_meshes
    }, optional)]
    async fn kinematics(&self, collision_meshes: bool, visual_meshes: bool, extra: &Object) -> Result<Kinematics>;

    /// Returns a mesh for each part, to look at.
    #[rpc(common::Get3DModels -> models, optional)]
    async fn models_3d(&self, extra: &Object) -> Result<BTreeMap<String, Mesh>>;

    /// Enters or leaves the mode in which the arm is moved by hand, for a number of seconds, or without limit if that is 0.
    #[rpc(SetManualMode { manual_mode: on, enabled_for: seconds }, optional)]
    async fn set_manual_mode(&self, on: bool, seconds: i32, extra: &Object) -> Result<()>;

    /// Returns whether the arm is in the mode in which it is moved by hand.
    #[rpc(GetManualMode -> manual_mode, optional)]
    async fn manual_mode(&self, extra: &Object) -> Result<bool>;

    /// Returns the optional features; none by default.
    #[rpc(GetProperties)]
    async fn properties(&self, extra: &Object) -> Result<Properties> {
        let _ = extra;
        Ok(Properties::default())
    }
}

/// Optional features of an arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::GetPropertiesResponse)]
pub struct Properties {
    /// True if [`Arm::set_manual_mode`] is supported.
    #[message(support_manual_mode)]
    pub manual_mode: bool,
    /// True if [`Arm::move_to_position`] is supported.
    #[message(support_cartesian_commands)]
    pub cartesian_commands: bool,
}

/// Ceilings of a move; absent or 0 for none. A list of one value for each joint counts before the value for all.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::MoveOptions)]
pub struct MoveOptions {
    /// Speed of the joints, in degrees per second.
    pub max_vel_degs_per_sec: Option<f64>,
    /// Acceleration of the joints, in degrees per second squared.
    pub max_acc_degs_per_sec2: Option<f64>,
    /// Speed of each joint.
    pub max_vel_degs_per_sec_joints: Vec<f64>,
    /// Acceleration of each joint.
    pub max_acc_degs_per_sec2_joints: Vec<f64>,
    /// Speed of the end effector, in metres per second.
    #[message(max_tcp_speed)]
    pub max_tcp_speed_m_per_sec: Option<f64>,
}

/// Point of a trajectory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrajectoryPoint {
    /// Time since the start.
    pub time: Duration,
    /// Value of each joint.
    pub positions: Vec<f64>,
    /// Velocity of each joint, per second.
    pub velocities: Option<Vec<f64>>,
    /// Acceleration of each joint, per second squared.
    pub accelerations: Option<Vec<f64>>,
}

/// Lists of joint values, each a message of its own.
macro_rules! joints {
    ($($message:ident),*) => {
        $(impl Wire<v1::$message> for Vec<f64> {
            fn into_wire(self) -> v1::$message { v1::$message { values: self } }
            fn from_wire(wire: v1::$message, _: &'static str) -> Result<Self, Malformed> { Ok(wire.values) }
        })*
    };
}

joints!(JointPositions, JointVelocities, JointAccelerations);

impl Wire<Option<v1::JointPositions>> for Vec<f64> {
    fn into_wire(self) -> Option<v1::JointPositions> {
        Some(self.into_wire())
    }

    fn from_wire(wire: Option<v1::JointPositions>, field: &'static str) -> Result<Self, Malformed> {
        wire.map(|joints| joints.values)
            .ok_or_else(|| Malformed::missing(field))
    }
}

impl Wire<v1::TrajectoryPoint> for TrajectoryPoint {
    fn into_wire(self) -> v1::TrajectoryPoint {
        let constrained = self.velocities.is_some() || self.accelerations.is_some();
        let constraints = constrained.then(|| v1::trajectory_point::KinematicConstraints {
            velocities: self.velocities.into_wire(),
            accelerations: self.accelerations.into_wire(),
        });
        v1::TrajectoryPoint {
            time: Some(self.time.into_wire()),
            positions: self.positions.into_wire(),
            constraints,
        }
    }

    fn from_wire(wire: v1::TrajectoryPoint, _: &'static str) -> Result<Self, Malformed> {
        let constraints = wire.constraints.unwrap_or_default();
        Ok(Self {
            time: Wire::from_wire(wire.time.unwrap_or_default(), "time")?,
            positions: Wire::from_wire(wire.positions, "positions")?,
            velocities: Wire::from_wire(constraints.velocities, "velocities")?,
            accelerations: Wire::from_wire(constraints.accelerations, "accelerations")?,
        })
    }
}
