//! `rdk:component:base`: things that drive. Y points forward, and a positive turn about Z is to the left.

use mainstay_proto::viam::component::base::v1;

use crate::{Object, Resource, Result, api, spatial::Vector3, wire::Message};

/// Base, which drives (`rdk:component:base`). A new command replaces the running one.
///
/// ```
/// use mainstay_module::{api::base::{Base, Properties}, prelude::*, spatial::Vector3};
/// # struct Rover;
/// # impl Rover { async fn drive(&self, mm: f64, degrees: f64) -> Result<()> { Ok(()) } }
/// # impl Resource for Rover {}
///
/// #[async_trait]
/// impl Base for Rover {
///     async fn move_straight(&self, distance_mm: i64, mm_per_sec: f64, extra: &Object) -> Result<()> {
///         self.drive(distance_mm as f64 * mm_per_sec.signum(), 0.0).await
///     }
///     async fn spin(&self, angle_deg: f64, degs_per_sec: f64, extra: &Object) -> Result<()> {
///         self.drive(0.0, angle_deg * degs_per_sec.signum()).await
///     }
///     async fn set_power(&self, linear: Vector3, angular: Vector3, extra: &Object) -> Result<()> {
///         Ok(())
///     }
///     async fn set_velocity(&self, linear: Vector3, angular: Vector3, extra: &Object) -> Result<()> {
///         Err(Error::unimplemented("this base does not know its speed"))
///     }
///     async fn stop(&self, extra: &Object) -> Result<()> {
///         Ok(())
///     }
///     async fn is_moving(&self) -> Result<bool> {
///         Ok(false)
///     }
///     async fn properties(&self, extra: &Object) -> Result<Properties> {
///         Ok(Properties { width_meters: 0.3, ..Properties::default() })
///     }
/// }
/// ```
#[api("rdk:component:base", v1::BaseService { DoCommand, GetStatus, GetGeometries }, stop = stop)]
pub trait Base: Resource {
    /// Drives straight for a distance and returns when done. The direction is the product of both signs; 0 in either stops.
    #[rpc(MoveStraight)]
    async fn move_straight(&self, distance_mm: i64, mm_per_sec: f64, extra: &Object) -> Result<()>;

    /// Turns on the spot by an angle, to the left if positive, and returns when done. A speed of 0 stops.
    #[rpc(Spin)]
    async fn spin(&self, angle_deg: f64, degs_per_sec: f64, extra: &Object) -> Result<()>;

    /// Drives with fractions of full power, -1 to 1: `linear.y` forward, `angular.z` to the left, until the next command.
    /// Returns at once.
    #[rpc(SetPower)]
    async fn set_power(&self, linear: Vector3, angular: Vector3, extra: &Object) -> Result<()>;

    /// Drives at a velocity: `linear` in millimetres per second, `angular` in degrees per second, on the axes of
    /// [`set_power`](Self::set_power), until the next command. Returns at once.
    #[rpc(SetVelocity)]
    async fn set_velocity(&self, linear: Vector3, angular: Vector3, extra: &Object) -> Result<()>;

    /// Stops at once. Also called before the resource is closed.
    #[rpc(Stop)]
    async fn stop(&self, extra: &Object) -> Result<()>;

    /// Returns whether the base is moving now. Must not wait.
    #[rpc(IsMoving -> is_moving)]
    async fn is_moving(&self) -> Result<bool>;

    /// Returns the dimensions of the base.
    #[rpc(GetProperties)]
    async fn properties(&self, extra: &Object) -> Result<Properties>;
}

/// Dimensions of a base, in metres.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(v1::GetPropertiesResponse)]
pub struct Properties {
    /// Distance between the left and the right wheels.
    pub width_meters: f64,
    /// Smallest radius of a turn; 0 if it turns on the spot.
    pub turning_radius_meters: f64,
    /// Circumference of a wheel.
    pub wheel_circumference_meters: f64,
}
