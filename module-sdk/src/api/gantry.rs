//! `rdk:component:gantry`: linear axes. Lists have one value for each axis.

use mainstay_proto::viam::{common::v1 as common, component::gantry::v1};

use super::kinematics::Kinematics;
use crate::{Object, Resource, Result, api};

/// Gantry, which moves along linear axes (`rdk:component:gantry`). A new command replaces the running one.
///
/// ```
/// use mainstay_module::{api::gantry::Gantry, prelude::*};
/// # struct Rail;
/// # impl Resource for Rail {}
///
/// #[async_trait]
/// impl Gantry for Rail {
///     async fn position(&self, extra: &Object) -> Result<Vec<f64>> {
///         Ok(vec![120.0])
///     }
///     async fn move_to_position(
///         &self, positions_mm: &[f64], speeds_mm_per_sec: &[f64], extra: &Object,
///     ) -> Result<()> {
///         match positions_mm {
///             [0.0..=500.0] => Ok(()),
///             _ => Err(Error::invalid_argument("one position, 0 to 500 mm")),
///         }
///     }
///     async fn home(&self, extra: &Object) -> Result<bool> {
///         Ok(true)
///     }
///     async fn lengths(&self, extra: &Object) -> Result<Vec<f64>> {
///         Ok(vec![500.0])
///     }
///     async fn stop(&self, extra: &Object) -> Result<()> {
///         Ok(())
///     }
///     async fn is_moving(&self) -> Result<bool> {
///         Ok(false)
///     }
/// }
/// ```
#[api("rdk:component:gantry", v1::GantryService { DoCommand, GetStatus, GetGeometries }, stop = stop)]
pub trait Gantry: Resource {
    /// Returns the position on each axis in millimetres.
    #[rpc(GetPosition -> positions_mm)]
    async fn position(&self, extra: &Object) -> Result<Vec<f64>>;

    /// Moves to a position on each axis, and returns when it is reached. `speeds_mm_per_sec` is empty for the model's own
    /// speeds.
    #[rpc(MoveToPosition)]
    async fn move_to_position(&self, positions_mm: &[f64], speeds_mm_per_sec: &[f64], extra: &Object) -> Result<()>;

    /// Runs to the ends of the axes to find the zero; returns whether that is known now.
    #[rpc(Home -> homed)]
    async fn home(&self, extra: &Object) -> Result<bool>;

    /// Returns the length of each axis in millimetres.
    #[rpc(GetLengths -> lengths_mm)]
    async fn lengths(&self, extra: &Object) -> Result<Vec<f64>>;

    /// Stops at once. Also called before the resource is closed.
    #[rpc(Stop)]
    async fn stop(&self, extra: &Object) -> Result<()>;

    /// Returns whether the gantry is moving now. Must not wait.
    #[rpc(IsMoving -> is_moving)]
    async fn is_moving(&self) -> Result<bool>;

    /// Returns the kinematics. Meshes to plan with and to look at are wanted if so said.
    #[rpc(common::GetKinematics {
        include_collision_meshes: collision_meshes, include_visual_meshes: visual_meshes
    }, optional)]
    async fn kinematics(&self, collision_meshes: bool, visual_meshes: bool, extra: &Object) -> Result<Kinematics>;
}
