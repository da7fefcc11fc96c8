//! `rdk:component:servo`: motors that turn to an angle.

use mainstay_proto::viam::component::servo::v1;

use crate::{Object, Resource, Result, api};

/// Servo (`rdk:component:servo`).
///
/// ```
/// use mainstay_module::{api::servo::Servo, prelude::*};
/// # struct Rudder;
/// # impl Resource for Rudder {}
///
/// #[async_trait]
/// impl Servo for Rudder {
///     async fn move_to(&self, angle_deg: u32, extra: &Object) -> Result<()> {
///         Ok(())
///     }
///     async fn position(&self, extra: &Object) -> Result<u32> {
///         Ok(90)
///     }
///     async fn stop(&self, extra: &Object) -> Result<()> {
///         Ok(())
///     }
///     async fn is_moving(&self) -> Result<bool> {
///         Ok(false)
///     }
/// }
/// ```
#[api("rdk:component:servo", v1::ServoService { DoCommand, GetStatus, GetGeometries }, stop = stop)]
pub trait Servo: Resource {
    /// Turns to an angle, mostly 0 to 180 degrees, and returns when it is reached.
    #[rpc(Move)]
    async fn move_to(&self, angle_deg: u32, extra: &Object) -> Result<()>;

    /// Returns the angle in degrees.
    #[rpc(GetPosition -> position_deg)]
    async fn position(&self, extra: &Object) -> Result<u32>;

    /// Stops at once. Also called before the resource is closed.
    #[rpc(Stop)]
    async fn stop(&self, extra: &Object) -> Result<()>;

    /// Returns whether the servo is moving now. Must not wait.
    #[rpc(IsMoving -> is_moving)]
    async fn is_moving(&self) -> Result<bool>;
}
