//! `rdk:component:gripper`: hands.

use mainstay_proto::viam::{common::v1 as common, component::gripper::v1};

use super::kinematics::Kinematics;
use crate::{Object, Resource, Result, api, wire::Message};

/// Gripper (`rdk:component:gripper`).
///
/// ```
/// use mainstay_module::{api::gripper::{Grabbed, Gripper, Holding}, prelude::*};
/// # struct Hand;
/// # impl Resource for Hand {}
///
/// #[async_trait]
/// impl Gripper for Hand {
///     async fn open(&self, extra: &Object) -> Result<()> {
///         Ok(())
///     }
///     async fn grab(&self, extra: &Object) -> Result<Grabbed> {
///         Ok(Grabbed { success: true, ..Grabbed::default() })
///     }
///     async fn is_holding_something(&self, extra: &Object) -> Result<Holding> {
///         Ok(Holding { something: true, meta: object! { "newtons" => 4.5 } })
///     }
///     async fn stop(&self, extra: &Object) -> Result<()> {
///         Ok(())
///     }
///     async fn is_moving(&self) -> Result<bool> {
///         Ok(false)
///     }
/// }
/// ```
#[api("rdk:component:gripper", v1::GripperService { DoCommand, GetStatus, GetGeometries }, stop = stop)]
pub trait Gripper: Resource {
    /// Opens, and returns when done.
    #[rpc(Open)]
    async fn open(&self, extra: &Object) -> Result<()>;

    /// Closes, and returns whether it caught something.
    #[rpc(Grab)]
    async fn grab(&self, extra: &Object) -> Result<Grabbed>;

    /// Returns whether it holds something, and what else the model knows.
    #[rpc(IsHoldingSomething)]
    async fn is_holding_something(&self, extra: &Object) -> Result<Holding>;

    /// Returns the value of each joint, in the units of the model.
    #[rpc(GetCurrentInputs -> values, optional)]
    async fn current_inputs(&self, extra: &Object) -> Result<Vec<f64>>;

    /// Moves each joint to a value, and returns when done.
    #[rpc(GoToInputs, optional)]
    async fn go_to_inputs(&self, values: &[f64], extra: &Object) -> Result<()>;

    /// Stops at once. Also called before the resource is closed.
    #[rpc(Stop)]
    async fn stop(&self, extra: &Object) -> Result<()>;

    /// Returns whether the gripper is moving now. Must not wait.
    #[rpc(IsMoving -> is_moving)]
    async fn is_moving(&self) -> Result<bool>;

    /// Returns the kinematics. Meshes to plan with and to look at are wanted if so said.
    #[rpc(common::GetKinematics {
        include_collision_meshes: collision_meshes, include_visual_meshes: visual_meshes
    }, optional)]
    async fn kinematics(&self, collision_meshes: bool, visual_meshes: bool, extra: &Object) -> Result<Kinematics>;
}

/// Outcome of a grab.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::GrabResponse)]
pub struct Grabbed {
    /// True if it caught something.
    pub success: bool,
    /// What else the model knows. Servers of peers do not pass it on.
    pub extra: Object,
}

/// Whether a gripper holds something.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::IsHoldingSomethingResponse)]
pub struct Holding {
    /// True if it does.
    #[message(is_holding_something)]
    pub something: bool,
    /// What else the model knows.
    pub meta: Object,
}
