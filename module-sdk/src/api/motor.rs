//! `rdk:component:motor`: rotary motors.

use mainstay_proto::viam::component::motor::v1;

use crate::{Object, Resource, Result, api, wire::Message};

/// Rotary motor (`rdk:component:motor`). Positive values turn forward. A new command replaces the running one.
///
/// All methods, as you write them; only the first four and those that the motor can do are needed:
///
/// ```
/// use mainstay_module::{api::motor::{Powered, Properties}, prelude::*};
/// # #[derive(Default)]
/// # struct Wheel { power: std::sync::Mutex<f64> }
/// # impl Wheel {
/// #     fn power(&self) -> f64 { *self.power.lock().unwrap() }
/// #     async fn turn(&self, rpm: f64, to: f64) -> Result<()> { Ok(()) }
/// # }
/// # impl Resource for Wheel {}
///
/// #[async_trait]
/// impl Motor for Wheel {
///     async fn set_power(&self, power: f64, extra: &Object) -> Result<()> {
///         *self.power.lock().unwrap() = power.clamp(-1.0, 1.0);
///         Ok(())
///     }
///     async fn stop(&self, extra: &Object) -> Result<()> {
///         self.set_power(0.0, extra).await
///     }
///     async fn powered(&self, extra: &Object) -> Result<Powered> {
///         Ok(Powered { on: self.power() != 0.0, power: self.power() })
///     }
///     async fn is_moving(&self) -> Result<bool> {
///         Ok(self.power() != 0.0)
///     }
///
///     async fn properties(&self, extra: &Object) -> Result<Properties> {
///         Ok(Properties { position_reporting: true })
///     }
///     async fn position(&self, extra: &Object) -> Result<f64> {
///         Ok(0.25)
///     }
///     async fn go_for(&self, rpm: f64, revolutions: f64, extra: &Object) -> Result<()> {
///         let start = self.position(extra).await?;
///         self.turn(rpm.abs(), start + revolutions * rpm.signum()).await
///     }
///     async fn go_to(&self, rpm: f64, position: f64, extra: &Object) -> Result<()> {
///         self.turn(rpm.abs(), position).await
///     }
///     async fn set_rpm(&self, rpm: f64, extra: &Object) -> Result<()> {
///         self.set_power(rpm / 100.0, extra).await
///     }
///     async fn reset_zero_position(&self, offset: f64, extra: &Object) -> Result<()> {
///         Err(Error::failed_precondition("the encoder has an absolute zero"))
///     }
/// }
/// ```
#[api("rdk:component:motor", v1::MotorService { DoCommand, GetStatus, GetGeometries }, stop = stop)]
pub trait Motor: Resource {
    /// Turns with a fraction of full power, -1 to 1, until the next command. Returns at once.
    #[rpc(SetPower { power_pct: power })]
    async fn set_power(&self, power: f64, extra: &Object) -> Result<()>;

    /// Turns by a number of revolutions at `rpm` and returns when done. The direction is the product of both signs.
    #[rpc(GoFor, optional)]
    async fn go_for(&self, rpm: f64, revolutions: f64, extra: &Object) -> Result<()>;

    /// Turns to a position, in revolutions from zero, and returns when it is reached. The sign of `rpm` is ignored.
    #[rpc(GoTo { position_revolutions: position }, optional)]
    async fn go_to(&self, rpm: f64, position: f64, extra: &Object) -> Result<()>;

    /// Turns at a speed, in revolutions per minute, until the next command. Returns at once.
    #[rpc(SetRPM, optional)]
    async fn set_rpm(&self, rpm: f64, extra: &Object) -> Result<()>;

    /// Redefines the zero so that the current position is `offset`, in revolutions.
    #[rpc(ResetZeroPosition, optional)]
    async fn reset_zero_position(&self, offset: f64, extra: &Object) -> Result<()>;

    /// Returns the position in revolutions from zero.
    #[rpc(GetPosition -> position, optional)]
    async fn position(&self, extra: &Object) -> Result<f64>;

    /// Returns the optional features of the motor; none by default.
    #[rpc(GetProperties)]
    async fn properties(&self, extra: &Object) -> Result<Properties> {
        let _ = extra;
        Ok(Properties::default())
    }

    /// Stops at once. Idempotent; returns when the motor has accepted the command. Also called before the resource is
    /// closed.
    #[rpc(Stop)]
    async fn stop(&self, extra: &Object) -> Result<()>;

    /// Returns whether the motor is powered, and the power.
    #[rpc(IsPowered)]
    async fn powered(&self, extra: &Object) -> Result<Powered>;

    /// Returns whether the motor is moving now. Must not wait.
    #[rpc(IsMoving -> is_moving)]
    async fn is_moving(&self) -> Result<bool>;
}

/// Optional features of a motor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::GetPropertiesResponse)]
pub struct Properties {
    /// True if [`Motor::position`] is supported.
    pub position_reporting: bool,
}

/// Power state of a motor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(v1::IsPoweredResponse)]
pub struct Powered {
    /// True if the motor is powered.
    #[message(is_on)]
    pub on: bool,
    /// Fraction of full power, -1 to 1.
    #[message(power_pct)]
    pub power: f64,
}
